"""Text to token ids in files that are mapped, not loaded; the loss on the part kept for validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from picogpt.errors import PicoGPTError
from picogpt.files import replacing
from picogpt.training.backprop import cross_entropy
from picogpt.training.windows import all_windows
from picogpt.types import Array, Ids

TRAIN_SHARE = 0.9  # of the characters; the rest is for validation


def split_text(text: str) -> tuple[str, str]:
    """The first 90 % of the characters to train on, and the last 10 % to validate with."""
    n_train = int(TRAIN_SHARE * len(text))
    return text[:n_train], text[n_train:]


def write_ids(path: Path, ids: list[int], n_vocab: int) -> None:
    """The ids one after another, in 16 bits each where the vocabulary allows it, else in 32."""
    with replacing(path) as file:
        file.write(np.array(ids, id_type(n_vocab)).tobytes())


def map_ids(path: Path, n_vocab: int) -> Ids:
    """What `write_ids` wrote, memory-mapped: a page is read when a window needs it.

    Raises `PicoGPTError` when the file is missing, or holds something else than ids below `n_vocab`.
    """
    if not path.is_file() or not path.stat().st_size:
        raise PicoGPTError(f"{path} is missing or empty; start the run again")
    dtype = id_type(n_vocab)
    if path.stat().st_size % dtype.itemsize:
        raise PicoGPTError(f"{path} is damaged: {path.stat().st_size} bytes are no whole number of ids")
    ids = np.memmap(path, dtype, mode="r")
    if (largest := int(ids.max())) >= n_vocab:
        raise PicoGPTError(f"{path} is damaged: it has the id {largest}, but the vocabulary has {n_vocab}")
    return ids


def id_type(n_vocab: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2" if n_vocab <= 1 << 16 else "<u4")


def validation_loss(forward: Callable[[Ids], Array], ids: Ids, n_ctx: int) -> float:
    """The mean loss in nats a token over all of `ids` but the first, in windows of `n_ctx`.

    `forward` gives a model's logits: ids [n_seq] -> [n_seq, n_vocab].
    """
    total = 0.0
    for inputs, targets in all_windows(ids, n_ctx):
        loss, _ = cross_entropy(forward(inputs), targets)
        total += loss * len(targets)
    return total / (len(ids) - 1)


def bits_per_character(loss: float, n_tokens: int, n_characters: int) -> float:
    """A mean loss in nats a token over `n_tokens`, all but the first predicted, as bits for each character of them."""
    return loss * (n_tokens - 1) / math.log(2) / n_characters
