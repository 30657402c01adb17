"""The key-value cache: what attention has already computed about the past, so that it is computed once.

The arrays are allocated at full length at the start, so a step writes its own keys and values and copies nothing.
Ask for no more positions than will be filled: a page of memory can be 2 MB large, so that every head's few positions
take as much as they ever could, and the operating system clears all of it first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.types import Array, Ids, Params

Allocate = Callable[[tuple[int, ...], npt.DTypeLike], Array]  # shape, dtype -> an array whose contents do not matter


class LayerPast(NamedTuple):
    """One layer's part of the cache, as a block sees it: keys and values `[..., n_head, n_ctx, d_head]`."""

    k: Array
    v: Array
    length: int

    def extend(self, k: Array, v: Array) -> tuple[Array, Array]:
        """Write new keys and values `[..., n_head, n_seq, d_head]` after the past; return views of it all."""
        end = self.length + k.shape[-2]
        self.k[..., self.length : end, :] = k
        self.v[..., self.length : end, :] = v
        return self.k[..., :end, :], self.v[..., :end, :]


class KVCache:
    """Keys and values of every layer, `kv` of shape `[n_layer, 2, *batch, n_head, n_ctx, d_head]`.

    `length` positions are filled. `batch` is `()` for one sequence without a batch axis, `(n_rows,)` for a batch.
    """

    def __init__(
        self,
        n_layer: int,
        n_head: int,
        n_ctx: int,
        d_head: int,
        batch: tuple[int, ...] = (),
        dtype: npt.DTypeLike = np.float32,
        allocate: Allocate = np.empty,
    ) -> None:
        self.kv = allocate((n_layer, 2, *batch, n_head, n_ctx, d_head), dtype)
        self.length = 0
        self.allocate = allocate

    @classmethod
    def for_params(
        cls,
        params: Params,
        n_head: int,
        batch: tuple[int, ...] = (),
        n_ctx: int | None = None,
        allocate: Allocate = np.empty,
    ) -> KVCache:
        """An empty cache that fits `params`, with room for `n_ctx` positions (default: all the model has)."""
        n_positions, n_embd = params["wpe"].shape
        n_ctx = n_positions if n_ctx is None else min(n_ctx, n_positions)
        return cls(len(params["blocks"]), n_head, n_ctx, n_embd // n_head, batch, params["wpe"].dtype, allocate)

    @property
    def n_ctx(self) -> int:
        return int(self.kv.shape[-2])

    def layers(self, n_new: int) -> list[LayerPast]:
        """Each layer's view, with room for `n_new` more positions; raises `PicoGPTError` when there is none."""
        self.check_room(n_new)
        return [LayerPast(k, v, self.length) for k, v in self.kv]

    def check_room(self, n_new: int) -> None:
        """Raises `PicoGPTError` unless `n_new` more positions fit."""
        if self.length + n_new > self.n_ctx:
            raise PicoGPTError(
                f"{self.length + n_new} tokens do not fit into a cache of {self.n_ctx} positions; "
                f"use a shorter input or a larger cache"
            )

    def repeat(self, n: int) -> KVCache:
        """A new cache in which every row occurs n times in a row; what is filled is copied."""
        n_layer, two, n_rows, n_head, n_ctx, d_head = self.kv.shape
        repeated = KVCache(n_layer, n_head, n_ctx, d_head, (n_rows * n,), self.kv.dtype, self.allocate)
        rows = repeated.kv.reshape(n_layer, two, n_rows, n, n_head, n_ctx, d_head)
        rows[..., : self.length, :] = self.kv[:, :, :, None, :, : self.length]
        repeated.length = self.length
        return repeated

    def select(self, rows: Sequence[int] | Ids, start: int = 0) -> None:
        """Make row i what row `rows[i]` was, and keep only as many rows as are named; some may be named twice.

        Only rows that change are copied, and of these only the filled positions from `start`: give the first
        position at which rows may differ.
        """
        old = np.asarray(rows)
        new = np.arange(len(old))
        moved = old != new
        if moved.any():
            filled = slice(start, self.length)
            for layer in self.kv:  # one layer at a time: the rows on their way are copied once in between
                layer[:, new[moved], :, filled] = layer[:, old[moved], :, filled]
        self.kv = self.kv[:, :, : len(old)]

    def trim(self, n: int) -> None:
        """Drop the first n positions: pads that no row needs any more."""
        for layer in self.kv:
            layer[..., : self.length - n, :] = layer[..., n : self.length, :].copy()
        self.length -= n
