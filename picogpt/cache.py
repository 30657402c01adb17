"""The key-value cache: what attention has already computed about the past, so that it is computed once.

The arrays are allocated at full length at the start (the operating system hands out the pages only as they
are written), so a step writes its own keys and values and copies nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError

Array = npt.NDArray[np.floating[Any]]


class LayerPast(NamedTuple):
    """One layer's part of the cache, as a block sees it: keys and values `[..., n_head, n_ctx, d_head]`."""

    k: Array
    v: Array
    length: int

    def extend(self, k: Array, v: Array) -> tuple[Array, Array]:
        """Write new keys and values `[..., n_head, n_seq, d_head]` behind the past; return views of it all."""
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
    ) -> None:
        self.kv: Array = np.empty((n_layer, 2, *batch, n_head, n_ctx, d_head), dtype)
        self.length = 0

    @classmethod
    def for_params(
        cls, params: dict[str, Any], n_head: int, batch: tuple[int, ...] = (), n_ctx: int | None = None
    ) -> KVCache:
        """An empty cache that fits `params`, with room for `n_ctx` positions (default: all the model has)."""
        n_positions, n_embd = params["wpe"].shape
        n_ctx = n_positions if n_ctx is None else min(n_ctx, n_positions)
        return cls(len(params["blocks"]), n_head, n_ctx, n_embd // n_head, batch, params["wpe"].dtype)

    @property
    def n_ctx(self) -> int:
        return int(self.kv.shape[-2])

    def layers(self, n_new: int) -> list[LayerPast]:
        """Each layer's view, with room for `n_new` more positions; raises `PicoGPTError` when there is none."""
        if self.length + n_new > self.n_ctx:
            raise PicoGPTError(
                f"{self.length + n_new} tokens do not fit into a cache of {self.n_ctx} positions; "
                f"use a shorter input or a larger cache"
            )
        return [LayerPast(k, v, self.length) for k, v in self.kv]
