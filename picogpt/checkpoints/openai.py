"""OpenAI's layout: `hparams.json`, and a TensorFlow checkpoint that the file `checkpoint` names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from picogpt.checkpoints.names import (
    Shape,
    check_hparams,
    check_shapes,
    nest,
    openai_name,
    param_shapes,
)
from picogpt.checkpoints.tf_bundle import data_paths, index_path, read_bundle, read_index, write_bundle
from picogpt.checkpoints.variants import named_arrays, require_plain
from picogpt.checksums import write_checksums
from picogpt.errors import PicoGPTError
from picogpt.files import check_size, inside, read_object, replacing, require_files
from picogpt.tokenizers import tokenizer_files
from picogpt.types import HParams, Params

HPARAMS = "hparams.json"
CHECKPOINT = "checkpoint"
PREFIX = "model.ckpt"
OPTIMIZER = re.compile(r"global_step|beta[12]_power(_\d+)?|.*/(Adam|Adam_1|Momentum|ExponentialMovingAverage)")
CHECKPOINT_SIZE = 1 << 16  # bytes; TensorFlow lists the last few checkpoints in it


def find(place: Path) -> Path | None:
    """The file that tells this layout."""
    return path if (path := place / HPARAMS).is_file() else None


def read_hparams(path: Path) -> HParams:
    """The five numbers in an `hparams.json`."""
    return check_hparams(read_object(path), str(path))


def read_prefix(path: Path) -> Path:
    """What the checkpoint's files begin with, beside the file `checkpoint` at `path`, which names them.

    It may say where they once were: a path from another machine's root stands for its last part.
    """
    require_files([path])
    check_size(path, CHECKPOINT_SIZE)
    found = re.search(r'^model_checkpoint_path: *"(.+)"', path.read_text(encoding="utf-8", errors="replace"), re.M)
    if not found:
        raise PicoGPTError(f'{path} has no line like model_checkpoint_path: "{PREFIX}"; download or copy it again')
    prefix = PureWindowsPath(found[1])  # which knows both systems' roots
    return inside(path.parent, prefix.name if prefix.anchor else found[1], path)


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights, present or not."""
    checkpoint = directory / CHECKPOINT
    if not checkpoint.is_file():
        return [checkpoint]
    prefix = read_prefix(checkpoint)
    index = index_path(prefix)
    if not index.is_file():
        return [checkpoint, index]
    return [checkpoint, index, *data_paths(prefix, read_index(index).n_shards)]


def stored_shape(path: str, shape: Shape) -> Shape:
    """OpenAI's weights are convolutions of width 1: `[1, n_in, n_out]`."""
    return (1, *shape) if path.endswith(".w") else shape


def read_params(directory: Path, hparams: HParams) -> Params:
    """The parameters as read-only views of the mapped files. Raises `PicoGPTError` when they are not the model's."""
    prefix = read_prefix(directory / CHECKPOINT)
    tensors = read_bundle(prefix, leave_out=OPTIMIZER)
    check_params({name: tensor.shape for name, tensor in tensors.items()}, hparams, index_path(prefix))
    return nest({path: tensors[openai_name(path)].reshape(shape) for path, shape in param_shapes(hparams).items()})


def optimizer_variables(directory: Path) -> list[str]:
    """What training left in the checkpoint besides the model; it is not loaded."""
    names = read_index(index_path(read_prefix(directory / CHECKPOINT))).entries
    return [name for name in names if OPTIMIZER.fullmatch(name)]


def check_params(found: Mapping[str, Shape], hparams: HParams, source: Path) -> None:
    """Raise `PicoGPTError` when the tensors of `source`, name -> shape, are not the model's parameters."""
    expected = {openai_name(path): stored_shape(path, shape) for path, shape in param_shapes(hparams).items()}
    check_shapes(found, expected, str(source))


def write(directory: Path, hparams: HParams, params: Params, prefix: str = PREFIX) -> None:
    """Write `hparams.json`, `checkpoint` and the TensorFlow checkpoint in float32, each file whole or not at all.

    `prefix` is what the checkpoint's own files are called. A prefix that is new in the directory keeps the model that
    is there whole until the file `checkpoint`, written after them, names the new one. The last file is the list of
    checksums, of these and of the vocabulary.
    """
    require_plain(hparams, params, "OpenAI's layout")
    flat, shapes = named_arrays(hparams, params), param_shapes(hparams)
    with replacing(directory / HPARAMS) as file:
        file.write(json.dumps(hparams).encode())
    write_bundle(
        directory / prefix,
        {openai_name(path): flat[path].reshape(stored_shape(path, shape)) for path, shape in shapes.items()},
    )
    with replacing(directory / CHECKPOINT) as file:
        file.write(f'model_checkpoint_path: "{prefix}"\nall_model_checkpoint_paths: "{prefix}"\n'.encode())
    weights = [index_path(directory / prefix), *data_paths(directory / prefix, 1)]
    names = [HPARAMS, CHECKPOINT, *(path.name for path in weights), *tokenizer_files(directory)]
    write_checksums(directory, names)
