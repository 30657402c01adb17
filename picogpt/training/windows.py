"""Windows of tokens to train on: inputs, and as targets the same one token later.

`sliding_windows` are those of the courses, which `batches` groups; the trainer draws `random_windows`, and a loss over
a whole text is a mean over `all_windows`.

inputs, targets = sliding_windows(encoder.encode(text), max_length=4, stride=4)
for x, y in batches(inputs, targets, batch_size=8):
    ...
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.types import Ids


def inputs_and_targets(windows: Ids) -> tuple[Ids, Ids]:  # [..., n + 1] -> [..., n] twice
    """The same ids twice, as views: targets[..., j] follows inputs[..., j]."""
    return windows[..., :-1], windows[..., 1:]


def sliding_windows(
    ids: npt.ArrayLike, max_length: int, stride: int
) -> tuple[Ids, Ids]:  # [n] -> [n_windows, max_length] twice
    """Inputs and targets: windows of `max_length` ids, one every `stride` ids. targets[i, j] follows inputs[i, j].

    Both are read-only views: of an array, or of a memory-mapped file (`np.memmap`) of any size, nothing is copied. A
    window that would reach beyond the last id is left out. Raises `PicoGPTError` when no window fits.
    """
    ids = np.asarray(ids)
    if max_length < 1 or stride < 1:
        raise PicoGPTError(f"max_length and stride must be at least 1; they are {max_length} and {stride}")
    if ids.ndim != 1 or ids.size <= max_length:
        raise PicoGPTError(
            f"a window of {max_length} tokens and its targets need a row of {max_length + 1} ids; "
            f"the shape of these is {ids.shape}: use a longer text or a shorter window"
        )
    return inputs_and_targets(np.lib.stride_tricks.sliding_window_view(ids, max_length + 1)[::stride])


def random_windows(
    ids: Ids, n_windows: int, n_ctx: int, rng: np.random.Generator
) -> tuple[Ids, Ids]:  # [n] -> [n_windows, n_ctx] twice
    """Inputs and targets from places of `ids` that `rng` draws; raises `PicoGPTError` when no window fits."""
    inputs, targets = sliding_windows(ids, n_ctx, stride=1)
    starts = rng.integers(0, len(inputs), n_windows)
    return inputs[starts].astype(np.int64), targets[starts].astype(np.int64)


def all_windows(ids: Ids, n_ctx: int) -> Iterator[tuple[Ids, Ids]]:  # [n] -> [n_ctx] twice, again and again
    """Inputs and targets of windows that do not overlap; the last one may be shorter.

    Each id but the first is a target once.
    """
    for start in range(0, len(ids) - 1, n_ctx):
        yield inputs_and_targets(ids[start : start + n_ctx + 1].astype(np.int64))


def batches(
    inputs: Ids,
    targets: Ids,
    batch_size: int,
    *,
    shuffle: bool = False,
    drop_last: bool = False,
    rng: np.random.Generator | None = None,
) -> Iterator[tuple[Ids, Ids]]:  # [n_windows, max_length] twice -> [batch_size, max_length] twice, again and again
    """Each window once, in order or, with `shuffle`, in an order that `rng` draws.

    The last batch has what is left over, and with `drop_last` is left out if that is less than `batch_size`. Only a
    shuffled batch is a copy. Raises `PicoGPTError` for shuffling without `rng` and for a batch_size below 1.
    """
    if batch_size < 1:
        raise PicoGPTError(f"batch_size must be at least 1; it is {batch_size}")
    if shuffle and rng is None:
        raise PicoGPTError("to shuffle, give a random generator: rng=np.random.default_rng(seed)")
    n = len(inputs) - len(inputs) % batch_size if drop_last else len(inputs)
    starts = range(0, n, batch_size)
    if rng is None or not shuffle:
        return ((inputs[i : i + batch_size], targets[i : i + batch_size]) for i in starts)
    rows = rng.permutation(len(inputs))
    return ((inputs[rows[i : i + batch_size]], targets[rows[i : i + batch_size]]) for i in starts)
