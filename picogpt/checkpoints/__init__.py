"""Checkpoints on the disk: formats -> flat `{name: array}` -> one table of names -> nested params.

A layout is a set of files in one directory, recognised by its config: OpenAI's, or Hugging Face's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Literal

from picogpt.checkpoints import huggingface, int8, openai
from picogpt.checkpoints.huggingface import write as write_huggingface
from picogpt.checkpoints.int8 import write as write_int8
from picogpt.checkpoints.names import check_finite, flatten, n_params, nest, non_finite, param_shapes
from picogpt.checkpoints.openai import write as write_openai
from picogpt.errors import PicoGPTError, reason
from picogpt.types import HParams, Params

__all__ = [
    "LAYOUTS",
    "Layout",
    "check_finite",
    "flatten",
    "is_complete",
    "layout",
    "n_params",
    "nest",
    "non_finite",
    "param_shapes",
    "read_checkpoint",
    "read_hparams",
    "weight_files",
    "write_huggingface",
    "write_int8",
    "write_openai",
]

Layout = Literal["openai", "int8", "huggingface"]
LAYOUTS: dict[Layout, tuple[str, ModuleType]] = {  # name -> the file that tells it, and who reads it
    "openai": (openai.HPARAMS, openai),
    "int8": (int8.WEIGHTS, int8),  # which has Hugging Face's config too, so it is looked for first
    "huggingface": (huggingface.CONFIG, huggingface),
}


@contextmanager
def readable() -> Iterator[None]:
    """Files that the system does not let us read are bad input."""
    try:
        yield
    except OSError as error:
        raise PicoGPTError(f"cannot read {reason(error)}") from error


def layout(directory: Path) -> Layout:
    """Which layout the directory has. Raises `PicoGPTError` when it has neither."""
    for name, (config, _) in LAYOUTS.items():
        if (directory / config).is_file():
            return name
    raise PicoGPTError(
        f"{directory} holds no model: it has neither {openai.HPARAMS} (OpenAI's layout) "
        f"nor {huggingface.CONFIG} (Hugging Face's)"
    )


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the model's weights, whether they are there or not."""
    _, reader = LAYOUTS[layout(directory)]
    with readable():
        return reader.weight_files(directory)


def is_complete(directory: Path) -> bool:
    """Whether the directory holds a model, and all of its weights."""
    try:
        with readable():
            return all(path.is_file() for path in weight_files(directory))
    except PicoGPTError:
        return False


def read_hparams(directory: Path) -> HParams:
    """`n_vocab n_ctx n_embd n_head n_layer`, without touching the weights."""
    config, reader = LAYOUTS[layout(directory)]
    with readable():
        return reader.read_hparams(directory / config)


def read_checkpoint(directory: Path) -> tuple[HParams, Params]:
    """The model's hparams, and its params in float32, read-only where they are mapped from the file.

    Raises `PicoGPTError` when a file is missing, cut short or damaged, and one that lists them when parameters
    are missing, unexpected or mis-shaped. Of OpenAI's layout the checksums are checked, of the others, which have
    none, that every number is finite.
    """
    hparams = read_hparams(directory)
    _, reader = LAYOUTS[layout(directory)]
    with readable():
        params = reader.read_params(directory, hparams)
    if reader is not openai:  # whose checksums say that these are the numbers that were written
        check_finite(params, str(directory))
    return hparams, params
