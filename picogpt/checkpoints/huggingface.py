"""Hugging Face's layout: `config.json`, and `model.safetensors` whole or in shards that an index lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.checkpoints.names import (
    HPARAMS,
    check_hparams,
    check_shapes,
    flatten,
    huggingface_name,
    nest,
    param_shapes,
)
from picogpt.checkpoints.safetensors import CODES, Stored, read_safetensors, widen, write_safetensors
from picogpt.errors import PicoGPTError, shown
from picogpt.files import inside, read_object, replacing
from picogpt.tokenizers.ends import Ends, entries
from picogpt.types import HParams, Params

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

CONFIG_NAMES = {"n_vocab": "vocab_size", "n_ctx": "n_positions"}  # what the config calls otherwise than we do
PREFIX = "transformer."  # the body's name within GPT2LMHeadModel; files of GPT2Model go without
OUTPUT = "lm_head.weight"  # the output layer, where it is stored: the embedding once more
BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # constants that old versions saved beside the weights

# What `model.py` computes. A config that asks for something else would load and give wrong numbers.
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"),  # three names of the tanh form
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}


def read_hparams(path: Path) -> HParams:
    """The model's five numbers, from a `config.json` that describes a plain GPT-2; else `PicoGPTError`."""
    config = read_object(path)
    n_embd = config.get("n_embd")
    supported = SUPPORTED | {"n_inner": (None, 4 * n_embd if isinstance(n_embd, int) else None)}
    wrong = [
        f"{key} = {shown(config[key])} (not {' or '.join(map(shown, values))})"
        for key, values in supported.items()
        if key in config and config[key] not in values
    ]
    if wrong:
        raise PicoGPTError(f"{path} describes a model that is not GPT-2's: {', '.join(wrong)}")
    theirs = {name: CONFIG_NAMES.get(name, name) for name in HPARAMS}
    return check_hparams({name: config[key] for name, key in theirs.items() if key in config}, str(path))


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights, present or not."""
    index = directory / WEIGHTS_INDEX
    if (directory / WEIGHTS).is_file() or not index.is_file():
        return [directory / WEIGHTS]
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise PicoGPTError(f"{index} has no weight_map, which says what file each weight is in")
    return sorted({inside(directory, name, index) for name in weight_map.values()})


def read_params(directory: Path, hparams: HParams) -> Params:
    """The parameters in float32. Raises `PicoGPTError` when the files do not hold exactly the model's parameters."""
    stored = read_tensors(weight_files(directory))
    check_params(stored, hparams, directory)
    flat = {path: widen(stored[huggingface_name(path)]) for path in param_shapes(hparams)}
    if OUTPUT in stored and not np.array_equal(widen(stored[OUTPUT]), flat["wte"]):
        raise PicoGPTError(f"{directory} has an {OUTPUT} that is not wte.weight; GPT-2 ties the two")
    return nest(flat)


def read_tensors(paths: Iterable[Path]) -> dict[str, Stored]:
    """The tensors of all the files, by their names without prefix. Raises `PicoGPTError` where one is there twice."""
    tensors: dict[str, Stored] = {}
    for path in paths:
        for name, tensor in read_safetensors(path).items():
            if tensors.setdefault(name.removeprefix(PREFIX), tensor) is not tensor:
                raise PicoGPTError(f"{path} has {shown(name)}, which is stored already; download or copy it again")
    return tensors


def check_params(stored: Mapping[str, Stored], hparams: HParams, source: Path) -> None:
    """Raise `PicoGPTError` when the tensors of `source`, as `read_tensors` names them, are not the model's."""
    found = {name: tensor.shape for name, tensor in stored.items() if not BUFFER.fullmatch(name)}
    expected = {huggingface_name(path): shape for path, shape in param_shapes(hparams).items()}
    if OUTPUT in stored:
        expected[OUTPUT] = expected[huggingface_name("wte")]
    check_shapes(found, expected, str(source))


def write(
    directory: Path, hparams: HParams, params: Params, dtype: str = "float32", *, ends: Ends = (None, ())
) -> None:
    """Write `config.json` and `model.safetensors`, each whole or not at all.

    `dtype` is float32, float16 or bfloat16. `ends` are the id that stands before a text and those that end one, which
    are read from the config. Raises `PicoGPTError` when `params` do not fit `hparams`, and for weights beyond
    float16's range.
    """
    if dtype not in CODES:
        raise PicoGPTError(f"weights cannot be stored as {dtype}; choose from {', '.join(CODES)}")
    flat = flatten(params)
    shapes = param_shapes(hparams)
    check_shapes({path: array.shape for path, array in flat.items()}, shapes, "params")
    largest = float(np.finfo(np.float16).max)
    if dtype == "float16" and any(np.abs(array).max() > largest for array in flat.values()):
        raise PicoGPTError(f"a weight is larger than float16's {largest:.0f}; use bfloat16 or float32")
    write_safetensors(directory / WEIGHTS, {PREFIX + huggingface_name(path): flat[path] for path in shapes}, dtype)
    write_config(directory, hparams, dtype, ends)


def write_config(directory: Path, hparams: HParams, dtype: str, ends: Ends) -> None:
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        **{CONFIG_NAMES.get(name, name): value for name, value in hparams.items()},
        **entries(*ends),
        "dtype": dtype,
    }
    with replacing(directory / CONFIG) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())
