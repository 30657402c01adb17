"""Token ids as the trainer reads them: a file that is mapped, not loaded, and the windows that are cut from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt import model
from picogpt.model import Params, hidden_states
from picogpt.training.backprop import Ids

TRAIN_SHARE = 0.9  # of the characters; the rest is for validation


def split_text(text: str) -> tuple[str, str]:
    """The first 90 % of the characters to train on, and the last 10 % to validate with."""
    n_train = int(TRAIN_SHARE * len(text))
    return text[:n_train], text[n_train:]


def random_windows(ids: Ids, n_windows: int, n_ctx: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Inputs and targets [n_windows, n_ctx] from random places of `ids`: the target is the id that follows."""
    starts = rng.integers(0, len(ids) - n_ctx, n_windows)
    windows = ids[starts[:, None] + np.arange(n_ctx + 1)].astype(np.int64)
    return windows[:, :-1], windows[:, 1:]


def all_windows(ids: Ids, n_ctx: int) -> Iterator[tuple[Ids, Ids]]:
    """Inputs and targets of every window of `n_ctx` tokens, none overlapping, the last one shorter.

    Each token but the very first is a target once.
    """
    for start in range(0, len(ids) - 1, n_ctx):
        window = ids[start : start + n_ctx + 1].astype(np.int64)
        yield window[:-1], window[1:]


def validation_loss(params: Params, ids: Ids, n_head: int) -> float:
    """The mean loss in nats a token over all of `ids`, cut into windows of the model's context."""
    total = 0.0
    for inputs, targets in all_windows(ids, len(params["wpe"])):
        x = hidden_states(inputs, **params, n_head=n_head)
        logits = x @ params["wte"].T
        logits -= np.max(logits, axis=-1, keepdims=True)
        log_probs = logits[np.arange(len(targets)), targets] - np.log(np.sum(np.exp(logits), axis=-1))
        total -= float(np.sum(log_probs, dtype=np.float64))
    return total / (len(ids) - 1)
