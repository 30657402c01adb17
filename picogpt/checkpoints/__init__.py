"""Checkpoints on the disk: formats -> flat `{name: array}` -> one table of names -> nested params.

A layout is a set of files in one directory, or a single file. One of them tells it: a config, or the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Literal

from picogpt.checkpoints import foreign, gguf, huggingface, int8, llmc, nanogpt, openai
from picogpt.checkpoints.gguf import write as write_gguf
from picogpt.checkpoints.huggingface import write as write_huggingface
from picogpt.checkpoints.int8 import write as write_int8
from picogpt.checkpoints.llmc import write as write_llmc
from picogpt.checkpoints.names import check_finite, flatten, n_params, nest, non_finite, param_shapes
from picogpt.checkpoints.openai import write as write_openai
from picogpt.errors import PicoGPTError, reason
from picogpt.tokenizers import ByteLevelBPE, CharTokenizer, Tokenizer, fit, load_tokenizer
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
    "read_encoder",
    "read_hparams",
    "weight_files",
    "write_gguf",
    "write_huggingface",
    "write_int8",
    "write_llmc",
    "write_openai",
]

Layout = Literal["openai", "int8", "gguf", "llmc", "nanogpt", "huggingface"]
LAYOUTS: dict[Layout, ModuleType] = {  # in the order in which they are looked for
    "openai": openai,
    "int8": int8,  # before Hugging Face's, whose config it has too
    # single files, beside which a config may lie, but no weights of Hugging Face's
    "gguf": gguf,
    "llmc": llmc,
    "nanogpt": nanogpt,
    "huggingface": huggingface,
}
SINGLE_FILES = (gguf, llmc, nanogpt)


@contextmanager
def readable() -> Iterator[None]:
    """Files that the system does not let us read are bad input."""
    try:
        yield
    except OSError as error:
        raise PicoGPTError(f"cannot read {reason(error)}") from error


def recognise(place: Path) -> tuple[Layout, Path]:
    """Which layout a directory or a file has, and the file that tells it. Raises `PicoGPTError` when it has none."""
    with readable():
        for name, reader in LAYOUTS.items():
            if (path := reader.find(place)) is not None:
                return name, path
    raise PicoGPTError(foreign.explain(place))


def layout(place: Path) -> Layout:
    """Which layout the directory or file has. Raises `PicoGPTError` when it has none that is known."""
    name, _ = recognise(place)
    return name


def weight_files(place: Path) -> list[Path]:
    """The files that hold the model's weights, whether they are there or not."""
    with readable():
        return LAYOUTS[layout(place)].weight_files(place)


def is_complete(place: Path) -> bool:
    """Whether the directory or file holds a model, and all of its weights."""
    try:
        with readable():
            return all(path.is_file() for path in weight_files(place))
    except PicoGPTError:
        return False


def read_hparams(place: Path) -> HParams:
    """`n_vocab n_ctx n_embd n_head n_layer`, without touching the weights."""
    name, path = recognise(place)
    with readable():
        return LAYOUTS[name].read_hparams(path)


def read_encoder(place: Path, n_vocab: int | None = None) -> Tokenizer:
    """The tokenizer of a model of `n_vocab` ids: what a checkpoint that is a single file says; else the directory's.

    Raises `PicoGPTError` when it is missing, damaged, or larger than the model.
    """
    with readable():
        reader = next((reader for reader in SINGLE_FILES if reader.find(place)), None)
        if reader is None:
            return load_tokenizer(place, n_vocab)
        encoder: ByteLevelBPE | CharTokenizer = reader.read_encoder(place)
    if n_vocab is not None:
        fit(encoder, n_vocab, place)
    return encoder


def read_checkpoint(place: Path) -> tuple[HParams, Params]:
    """The model's hparams, and its params in float32, read-only where they are mapped from the file.

    Raises `PicoGPTError` when a file is missing, cut short or damaged, and one that lists them when parameters
    are missing, unexpected or mis-shaped. Of OpenAI's layout the checksums are checked, of the others, which have
    none, that every number is finite.
    """
    name, path = recognise(place)
    reader = LAYOUTS[name]
    with readable():
        hparams = reader.read_hparams(path)
        params = reader.read_params(place, hparams)
    if reader is not openai:  # whose checksums say that these are the numbers that were written
        check_finite(params, str(place))
    return hparams, params
