"""Hugging Face's layout: `config.json`, and `model.safetensors` or `pytorch_model.bin`, whole or in shards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.checkpoints.foreign import describe
from picogpt.checkpoints.names import (
    HPARAMS,
    N_INNER,
    check_hparams,
    check_shapes,
    huggingface_name,
    nest,
    param_shapes,
)
from picogpt.checkpoints.safetensors import CODES, Stored, read_safetensors, widen, write_safetensors
from picogpt.checkpoints.torch_file import read_torch
from picogpt.checkpoints.variants import as_config_says, check_config, config_of, named_arrays
from picogpt.checksums import write_checksums
from picogpt.errors import PicoGPTError, shown
from picogpt.files import inside, read_object, replacing
from picogpt.performance.layout import Untied
from picogpt.tokenizers import tokenizer_files
from picogpt.tokenizers.ends import Ends, entries
from picogpt.types import HParams, Params

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"  # what transformers wrote before 2023
INDEX = ".index.json"  # ends the name of the file that lists the shards
WEIGHT_NAMES = (WEIGHTS, WEIGHTS + INDEX, PICKLED, PICKLED + INDEX)
MOST_FILES = 1000

CONFIG_NAMES = {"n_vocab": "vocab_size", "n_ctx": "n_positions"}  # what the config calls otherwise than we do
PREFIX = "transformer."  # the body's name within GPT2LMHeadModel; files of GPT2Model go without
WRAPPERS = re.compile(r"(_orig_mod\.|module\.)*(transformer\.)?")  # of torch.compile, and of its data parallelism
OUTPUT = "lm_head.weight"  # the output layer, where it is stored: the embedding once more
BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # constants that old versions saved beside the weights

SUPPORTED: dict[str, tuple[Any, ...]] = {"model_type": ("gpt2",), "add_cross_attention": (False,)}


def find(place: Path) -> Path | None:
    """The config that tells this layout."""
    return path if (path := place / CONFIG).is_file() else None


def read_hparams(path: Path) -> HParams:
    """The model's numbers, from a `config.json` that describes a GPT-2 or a close relative; else `PicoGPTError`."""
    config = read_object(path)
    wrong = [
        f"{key} = {shown(config[key])} (not {' or '.join(map(repr, values))})"
        for key, values in SUPPORTED.items()
        if key in config and config[key] not in values
    ]
    if wrong:
        raise PicoGPTError(
            f"{path} describes a model that is not GPT-2's: {', '.join(wrong)}; transformers may read it"
        )
    check_config(config, str(path))
    theirs = {name: CONFIG_NAMES.get(name, name) for name in (*HPARAMS, N_INNER)}
    hparams = check_hparams({name: config[key] for name, key in theirs.items() if key in config}, str(path))
    if hparams.get(N_INNER) == 4 * hparams["n_embd"]:
        del hparams[N_INNER]
    return hparams


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights, present or not."""
    for name in WEIGHT_NAMES:
        if (directory / name).is_file():
            return shards(directory / name) if name.endswith(INDEX) else [directory / name]
    return [directory / WEIGHTS]


def shards(index: Path) -> list[Path]:
    """The files that an index names."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise PicoGPTError(f"{index} has no weight_map, which says what file each weight is in")
    names = {str(name) for name in weight_map.values()}
    if len(names) > MOST_FILES:
        raise PicoGPTError(f"{index} names {len(names):,} files of weights; more than {MOST_FILES:,} are not read")
    return sorted(inside(index.parent, name, index) for name in names)


def read_params(directory: Path, hparams: HParams) -> Params:
    """The parameters in float32. Raises `PicoGPTError` when the files do not hold exactly the model's parameters."""
    paths = weight_files(directory)
    if not any(path.is_file() for path in paths) and (description := describe(directory)):
        raise PicoGPTError(f"{directory} has no weights that are read here: {description}")
    return params_of(read_tensors(paths), hparams, read_object(directory / CONFIG), directory)


def params_of(stored: Mapping[str, Stored], hparams: HParams, config: Mapping[str, Any], source: Path) -> Params:
    """The parameters that the tensors of `source` are, by their names without prefix, with what a config says."""
    check_params(stored, hparams, source)
    flat = {path: widen(stored[huggingface_name(path)]) for path in param_shapes(hparams)}
    params = as_config_says(nest(flat), hparams["n_head"], config)
    if config.get("tie_word_embeddings", True) is False:
        if OUTPUT not in stored:
            raise PicoGPTError(
                f"{source} has a config that says that the output layer is untied, but there is no {OUTPUT}"
            )
        return {**params, "wte": Untied(params["wte"], widen(stored[OUTPUT]))}
    if OUTPUT in stored and not np.array_equal(widen(stored[OUTPUT]), flat["wte"]):
        raise PicoGPTError(
            f"{source} has an {OUTPUT} that is not wte.weight, though its config ties the two "
            f"(tie_word_embeddings); which of them is meant is not known"
        )
    return params


def is_tied(stored: Mapping[str, Stored]) -> bool:
    """Whether the output layer is the embedding once more, where no config says so."""
    if OUTPUT not in stored or "wte.weight" not in stored:
        return True
    return np.array_equal(widen(stored[OUTPUT]), widen(stored["wte.weight"]))


def read_tensors(paths: Iterable[Path]) -> dict[str, Stored]:
    """The tensors of all the files, by their names without prefix. Raises `PicoGPTError` where one is there twice."""
    tensors: dict[str, Stored] = {}
    for path in paths:
        # a file that is still being fetched has an ending of its own
        stored = read_safetensors(path) if ".safetensors" in path.name else read_torch(path).tensors()
        for name, tensor in bare_names(stored, path).items():
            if tensors.setdefault(name, tensor) is not tensor:
                raise PicoGPTError(f"{path} has {shown(name)}, which is stored already; download or copy it again")
    return tensors


def bare_names(stored: Mapping[str, Stored], path: Path) -> dict[str, Stored]:
    """The tensors by their names without prefix. Raises `PicoGPTError` where two are called alike."""
    bare = {WRAPPERS.sub("", name, count=1): tensor for name, tensor in stored.items()}
    if len(bare) < len(stored):
        raise PicoGPTError(f"{path} has a weight twice, with a prefix and without; download or copy it again")
    return bare


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
    """Write `config.json` and `model.safetensors`, each whole or not at all, and checksums of these and the vocabulary.

    `dtype` is float32, float16 or bfloat16. `ends` are the id that stands before a text and those that end one, which
    are read from the config. Raises `PicoGPTError` when `params` do not fit `hparams`, and for weights beyond
    float16's range.
    """
    if dtype not in CODES:
        raise PicoGPTError(f"weights cannot be stored as {dtype}; choose from {', '.join(CODES)}")
    flat = named_arrays(hparams, params)
    check_range(flat, dtype)
    names = {path: PREFIX + huggingface_name(path) for path in param_shapes(hparams)}
    if "lm_head" in flat:
        names["lm_head"] = OUTPUT
    write_safetensors(directory / WEIGHTS, {name: flat[path] for path, name in names.items()}, dtype)
    write_config(directory, hparams, config_of(params), dtype, ends)
    write_checksums(directory, [CONFIG, WEIGHTS, *tokenizer_files(directory)])


def check_range(flat: Mapping[str, Any], dtype: str) -> None:
    """Raise `PicoGPTError` for weights that float16 cannot hold, of which int8 has its scales."""
    largest = float(np.finfo(np.float16).max)
    if dtype in ("float16", "int8") and any(np.abs(array).max() > largest for array in flat.values()):
        raise PicoGPTError(f"a weight is larger than float16's {largest:.0f}; use bfloat16 or float32")


def write_config(directory: Path, hparams: HParams, options: Mapping[str, Any], dtype: str, ends: Ends) -> None:
    """`options` are what `config_of` says of the parameters."""
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **options,
        **{CONFIG_NAMES.get(name, name): value for name, value in hparams.items()},
        **entries(*ends),
        "dtype": dtype,
    }
    with replacing(directory / CONFIG) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())
