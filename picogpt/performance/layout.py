"""Where the weights lie in memory: an order that one row at a time reads faster than that of the files.

    params = for_decoding(params)  # the same params; 124M's take a tenth of a second

A row times a weight is as fast as the memory where the weight has long rows in memory, and slower where they are
short. Those of the files are as long as a layer's output, which is short in the second layer of the feed-forward
network, or as long as its input, which is short in the embedding when it is the output projection.
"""

from __future__ import annotations

import math
import mmap
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.cache import Allocate
from picogpt.performance.threads import each
from picogpt.performance.thresholds import LONG_CACHE
from picogpt.types import Array, Params

HUGE = 1 << 22  # bytes from which on memory is asked for in huge pages
N_ROWS = 64  # copied at a time: their column is a line of the cache or more in the copy


class Embedding:
    """A matrix that is kept twice: by rows, for `m[ids]`, and by columns, which is its transpose `m.T`."""

    def __init__(self, rows: Array, columns: Array) -> None:
        self.rows, self.T = rows, columns
        self.shape = rows.shape

    def __getitem__(self, ids: Any) -> Array:  # [...] -> [..., n_columns]
        return self.rows[ids]


class Untied(Embedding):
    """An embedding and an output layer that are two matrices: m[ids] reads `rows`, and x @ m.T multiplies by `head`."""

    def __init__(self, rows: Any, head: Any, columns: Any = None) -> None:
        super().__init__(rows, head.T if columns is None else columns)
        self.head = head


def for_decoding(params: Params) -> Params:
    """The same params, with copies of half of the weights; int8 weights are left as they are.

    Copies of read-only weights, which no one can change, are kept as long as the weights are: a model that was loaded
    is arranged once.
    """
    wte = params["wte"]
    head = wte.head if isinstance(wte, Untied) else wte
    if not isinstance(head, np.ndarray):
        return params
    blocks = []
    for block in params["blocks"]:
        c_proj = block["mlp"]["c_proj"]
        c_proj = {**c_proj, "w": kept_transposed(c_proj["w"]).T}
        blocks.append({**block, "mlp": {**block["mlp"], "c_proj": c_proj}})
    columns = kept_transposed(head)
    arranged = Untied(wte.rows, head, columns) if isinstance(wte, Untied) else Embedding(wte, columns)
    return {**params, "wte": arranged, "blocks": blocks}


KEPT: dict[int, Array] = {}  # id of a read-only weight -> its transposed copy


def kept_transposed(w: Array) -> Array:  # [n_rows, n_columns] -> [n_columns, n_rows]
    """`transposed(w)`, made once where w is read-only."""
    if not is_read_only(w):
        return transposed(w)
    if id(w) not in KEPT:
        KEPT[id(w)] = transposed(w)
        weakref.finalize(w, KEPT.pop, id(w), None)
    return KEPT[id(w)]


def is_read_only(w: Any) -> bool:
    """Whether neither the array nor what it is a view of can be written to."""
    return not isinstance(w, np.ndarray) or (not w.flags.writeable and is_read_only(w.base))


def transposed(w: Array) -> Array:  # [n_rows, n_columns] -> [n_columns, n_rows]
    """A copy of wᵀ in C order."""
    copy = np.empty(w.shape[::-1], w.dtype)

    def work(start: int) -> None:
        copy[:, start : start + N_ROWS] = w[start : start + N_ROWS].T

    each(work, range(0, len(w), N_ROWS))
    return copy


def cache_memory(
    shape: tuple[int, ...], dtype: npt.DTypeLike, empty: Allocate = np.empty
) -> Array:  # [..., n_ctx, d_head]
    """Memory for a `KVCache`. Long heads lie in it as [d_head, n_ctx]: one query reads a few long rows the fastest."""
    *heads, n_ctx, d_head = shape
    if n_ctx <= LONG_CACHE:
        return empty(shape, dtype)
    # | 16: rows that start a multiple of 4 KB apart would evict each other from the cache
    return empty((*heads, d_head, n_ctx | 16), dtype)[..., :n_ctx].swapaxes(-1, -2)


def own_pages(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array in pages of its own, which the system has back as soon as the array is gone.

    Arrays of many sizes that come and go leave gaps between them in the process's heap, so that it grows.
    """
    n, dtype = math.prod(shape), np.dtype(dtype)
    memory = mmap.mmap(-1, max(1, n * dtype.itemsize))
    if len(memory) >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):  # as NumPy does
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, n).reshape(shape)
