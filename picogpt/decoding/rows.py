"""The rows of a batch while they are written: token ids, and how far the model has read them.

Rows of different lengths stand right-aligned in one array of ids, so that every row's next token has the same
column. A pass reads the columns that the cache does not hold yet: at first all of the prompts, then the newest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from picogpt.cache import KVCache
from picogpt.decoding.ranges import check_range
from picogpt.errors import PicoGPTError
from picogpt.model import as_ids
from picogpt.performance import hidden_states, project
from picogpt.performance.layout import cache_memory, for_decoding
from picogpt.performance.thresholds import MANY_TOKENS
from picogpt.types import Array, Ids, Params

MORE_COLUMNS = 1024  # that rows have at first, beyond their prompts


class Rows:
    """The rows that are still being written, and how far the model has read them.

    `ids [n_rows, n_columns]` is filled up to column `end`, and grows as it fills; row i begins at column `first[i]`,
    and the model sees it from column `window[i]`. Position 0 of the cache is column `origin`.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], params: Params, n_head: int, n_tokens: int) -> None:
        self.n_head, self.n_ctx = n_head, len(params["wpe"])
        check_prompts(prompts, self.n_ctx, n_tokens)
        self.params = for_decoding(params) if n_tokens >= MANY_TOKENS else params
        self.n_prompt = self.end = max(map(len, prompts), default=0)
        self.first = np.array([self.end - len(prompt) for prompt in prompts], np.int64)
        self.window = self.first
        self.origin = 0
        self.n_end = self.end + n_tokens  # the column at which no row goes on
        self.row_ids = np.arange(len(prompts))  # the caller's number of each row
        self.ids = np.zeros((len(prompts), min(self.n_end, self.end + MORE_COLUMNS)), np.int64)
        for row, begin, prompt in zip(self.ids, self.first, prompts, strict=True):
            row[begin : self.end] = prompt
        self.cache = KVCache.for_params(params, n_head, (len(prompts),), self.n_end, cache_memory)

    @property
    def exact(self) -> bool:
        """Whether the next logits are bit for bit those of reading one token after another."""
        return True

    def exact_logits(self) -> Array:  # [n_rows, n_vocab]
        """The next logits once more, computed so that they are exact."""
        raise AssertionError("these rows are exact already")

    def next_logits(self) -> Array:  # [n_rows, n_vocab]
        self.make_room()
        return self.read(self.end)[:, 0]

    def read(self, end: int, n_last: int = 1) -> Array:  # [n_rows, n_last, n_vocab]
        """Read what the cache does not hold yet, up to column `end`; the logits after the last of these columns."""
        new = self.ids[:, self.origin + self.cache.length : end]
        x = hidden_states(new, **self.params, n_head=self.n_head, cache=self.cache, n_pad=self.n_pad())
        return project(x[:, -n_last:], self.params["wte"])

    def n_pad(self) -> Ids | None:  # [n_rows]
        """Columns between position 0 of the cache and each row's window; None where there are none."""
        n_pad = self.window - self.origin
        return n_pad if n_pad.any() else None

    def so_far(self) -> list[Ids]:
        """Each row's prompt and continuation."""
        return [row[begin : self.end] for row, begin in zip(self.ids, self.first.tolist(), strict=True)]

    def written(self) -> Ids:  # [n_rows, n_written]
        return self.ids[:, self.n_prompt : self.end]

    def lengths(self) -> Ids:  # [n_rows]
        return self.end - self.first

    def append(self, chosen: Ids) -> None:
        self.write(chosen[:, None])
        self.end += 1

    def write(self, ids: Ids) -> None:  # [n_rows, n]
        """Put ids into the columns from `end` on."""
        missing = self.end + ids.shape[1] - self.ids.shape[1]
        if missing > 0:
            more = np.zeros((len(self.ids), missing + self.end), np.int64)  # doubled, so that it seldom grows
            self.ids = np.concatenate([self.ids, more], axis=1)
        self.ids[:, self.end : self.end + ids.shape[1]] = ids

    def make_room(self) -> None:
        """Where the next pass would exceed n_ctx: full rows continue after the last half of their window."""
        if self.end - self.origin <= self.n_ctx:
            return
        full = self.end - self.window > self.n_ctx
        if full.any():  # positions are learned, so a window that moved must be read again
            self.window = np.where(full, self.end - max(self.n_ctx // 2, 1), self.window)
            self.cache.length = 0
        else:  # a longer row has ended and left pads before all others
            self.cache.trim(int(self.window.min()) - self.origin)
        self.origin = int(self.window.min())

    def repeat(self, n: int) -> None:
        """Every row n times, one after the other."""
        self.row_ids = (self.row_ids[:, None] * n + np.arange(n)).ravel()
        self.ids, self.first, self.window = (x.repeat(n, axis=0) for x in (self.ids, self.first, self.window))
        self.cache = self.cache.repeat(n)

    def keep(self, running: Sequence[bool] | npt.NDArray[np.bool_]) -> None:
        """Drop the other rows. Gaps are filled from the end, so that few rows move."""
        if all(running):
            return
        kept = np.flatnonzero(running)
        rows = np.arange(len(kept))
        rows[np.logical_not(running[: len(kept)])] = kept[kept >= len(kept)]
        self.row_ids, self.ids, self.first, self.window = (
            x[rows] for x in (self.row_ids, self.ids, self.first, self.window)
        )
        self.cache.select(rows)


def check_logits(logits: Array, params: Params) -> None:
    """Raises `PicoGPTError` for logits that are not all finite: nothing can be chosen by them."""
    if not np.isfinite(logits).all():
        from picogpt.checkpoints.names import explain_non_finite  # what reads models is not loaded without need

        raise explain_non_finite(params)


def check_prompts(prompts: Sequence[Sequence[int]], n_ctx: int, n_tokens: int) -> None:
    """Raises `PicoGPTError` for what no continuation can be decoded from."""
    check_range("the number of tokens", n_tokens)
    for prompt in map(as_ids, prompts):
        if not len(prompt):
            raise PicoGPTError("the prompt is empty; start from the end-of-text token to have text from nothing")
        if len(prompt) > n_ctx:
            raise PicoGPTError(
                f"the prompt has {len(prompt)} tokens, more than the model's context of {n_ctx}; shorten it"
            )
