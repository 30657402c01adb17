"""picogpt's own layout for int8 weights: Hugging Face's `config.json`, and `int8.safetensors`.

The tensors have the names of our tree. A quantized `blocks.0.attn.c_attn.w` is two of them: `….w.q`, the int8 rows
`[n_out, n_in]`, and `….w.scale [n_out]`; likewise `wte.q [n_vocab, n_embd]` and `wte.scale`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from picogpt.checkpoints import huggingface
from picogpt.checkpoints.names import Shape, check_finite, check_shapes, flatten, nest, param_shapes
from picogpt.checkpoints.safetensors import read_safetensors, widen, write_safetensors
from picogpt.checkpoints.variants import as_config_says, config_of, without_options
from picogpt.checksums import write_checksums
from picogpt.errors import PicoGPTError
from picogpt.files import read_object
from picogpt.performance.int8 import Int8Columns, Int8Rows, is_quantized, quantize_params
from picogpt.performance.layout import Untied
from picogpt.tokenizers import tokenizer_files
from picogpt.tokenizers.ends import Ends
from picogpt.types import HParams, Params

WEIGHTS = "int8.safetensors"
Q, SCALE = ".q", ".scale"


def find(place: Path) -> Path | None:
    """The file that tells this layout."""
    return path if (path := place / WEIGHTS).is_file() else None


def read_hparams(path: Path) -> HParams:
    """The model's five numbers, from the config beside `path`."""
    return huggingface.read_hparams(path.with_name(huggingface.CONFIG))


def weight_files(directory: Path) -> list[Path]:
    return [directory / WEIGHTS]


def stored_shapes(hparams: HParams) -> dict[str, Shape]:
    """What the file holds: name -> shape."""
    shapes: dict[str, Shape] = {}
    for path, shape in param_shapes(hparams).items():
        if is_quantized(path):
            rows = shape if path == "wte" else shape[::-1]
            shapes |= {path + Q: rows, path + SCALE: rows[:1]}
        else:
            shapes[path] = shape
    return shapes


def read_params(directory: Path, hparams: HParams) -> Params:
    """The parameters, views of the mapped file. Raises `PicoGPTError` when the file does not hold exactly them."""
    path = directory / WEIGHTS
    stored = read_safetensors(path)
    check_shapes({name: tensor.shape for name, tensor in stored.items()}, stored_shapes(hparams), str(path))

    def param(name: str) -> Any:
        if not is_quantized(name):
            return widen(stored[name])
        q = stored[name + Q]
        if q.code != "I8":
            raise PicoGPTError(f"{q.place} is stored as {q.code}, not I8; convert the model again")
        rows = Int8Rows(q.data.view(np.int8).reshape(q.shape), widen(stored[name + SCALE]))
        return rows if name == "wte" else rows.T

    params = nest({name: param(name) for name in param_shapes(hparams)})
    return as_config_says(params, hparams["n_head"], read_object(directory / huggingface.CONFIG))


def write(directory: Path, hparams: HParams, params: Params, *, ends: Ends = (None, ())) -> None:
    """Quantize `params`, and write `config.json` and `int8.safetensors`, each whole or not at all, and checksums.

    Raises `PicoGPTError` for params that are not finite.
    """
    check_finite(params, "the model")
    tensors: dict[str, Any] = {}
    if isinstance(params["wte"], Untied):
        raise PicoGPTError("int8 files have no place for an output layer of its own; load the model with --dtype int8")
    for path, param in flatten(without_options(quantize_params(params))).items():
        if isinstance(param, Int8Rows | Int8Columns):
            rows = param if isinstance(param, Int8Rows) else param.T
            tensors |= {path + Q: rows.q, path + SCALE: rows.scale}
        else:
            tensors[path] = param
    shapes = stored_shapes(hparams)
    check_shapes({name: tensor.shape for name, tensor in tensors.items()}, shapes, "params")
    write_safetensors(directory / WEIGHTS, {name: tensors[name] for name in shapes})
    huggingface.write_config(directory, hparams, config_of(params), "int8", ends)
    write_checksums(directory, [huggingface.CONFIG, WEIGHTS, *tokenizer_files(directory)])
