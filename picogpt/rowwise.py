"""Large arrays, worked on in parts that stay in the cache.

A formula in NumPy walks through memory once for every operator. Over a long prompt's hidden layer (12 MB) each walk
reads and writes main memory; over a part of it that fits the cache only the first one does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
P = ParamSpec("P")

PART_SIZE = 1 << 16  # numbers in one part: 256 KB of float32, so that a part and a temporary or two fit a core's cache


def rowwise(f: Callable[Concatenate[Array, P], Array]) -> Callable[Concatenate[Array, P], Array]:
    """Make `f`, which maps each row (the last axis) by itself to a row of the same length, work part by part.

    The result is that of `f`, bit for bit; `f` itself stays at hand as `__wrapped__`.
    """

    def part_by_part(x: Array, /, *args: P.args, **kwargs: P.kwargs) -> Array:  # [..., n] -> [..., n]
        if x.size <= PART_SIZE:
            return f(x, *args, **kwargs)
        rows = x.reshape(-1, x.shape[-1])
        result = np.empty_like(rows)
        step = max(1, PART_SIZE // rows.shape[1])
        for start in range(0, len(rows), step):
            result[start : start + step] = f(rows[start : start + step], *args, **kwargs)
        return result.reshape(x.shape)

    return update_wrapper(part_by_part, f)
