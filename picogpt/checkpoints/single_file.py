"""What layouts that are a single file share: how it is found in a directory, and where its vocabulary is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from picogpt.checkpoints.huggingface import WEIGHT_NAMES
from picogpt.errors import PicoGPTError, listed
from picogpt.tokenizers import ByteLevelBPE, Tokenizer, load_tokenizer, vocabulary_files

GPT2_SIZES = (50257, 50304)  # of GPT-2's vocabulary: its own, and rounded up


def find(place: Path, is_one: Callable[[Path], bool], usual: tuple[str, ...] = ()) -> Path | None:
    """The file that `place` is, or that it holds and that has a `usual` name or is alone.

    None where there is no such file, or weights of Hugging Face's lie beside it. Raises `PicoGPTError` for several.
    """
    if place.is_file():
        return place if is_one(place) else None
    if not place.is_dir() or any((place / name).is_file() for name in WEIGHT_NAMES):
        return None
    found = sorted(path for path in place.iterdir() if path.is_file() and is_one(path))
    named = [place / name for name in usual if place / name in found]
    if len(found) > 1 and not named:
        names = listed(path.name for path in found)
        raise PicoGPTError(f"{place} holds several checkpoints, {names}; give the path of one of them")
    return next(iter(named + found), None)


def read_encoder(path: Path, n_vocab: int, others: str = "") -> Tokenizer:
    """The vocabulary beside the file, or GPT-2's own where the size is right. `others` are for the message."""
    if vocabulary_files(path.parent):
        return load_tokenizer(path.parent)
    if n_vocab in GPT2_SIZES:
        return ByteLevelBPE.gpt2()
    raise PicoGPTError(
        f"{path} has {n_vocab} tokens and no vocabulary beside it; copy {others}vocab.json and merges.txt there"
    )
