"""Large arrays, worked on in parts that stay in the cache, side by side.

A formula in NumPy walks through memory once for every operator. Over a long prompt's hidden layer (12 MB) each walk
reads and writes main memory; over a part of it that fits the cache only the first one does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec

import numpy as np
import numpy.typing as npt

from picogpt.threads import FEW_ROWS, each

Array = npt.NDArray[np.floating[Any]]
P = ParamSpec("P")


def rowwise(
    n_rows: int,
) -> Callable[[Callable[Concatenate[Array, P], Array]], Callable[Concatenate[Array, P], Array]]:
    """Make a function that maps every row of a matrix by itself take any array of rows (the last axis), in parts.

    Up to twice `n_rows` are one part; more are an even number of parts, so that two threads end together, with at most
    `n_rows` each. The result is that of all rows at once, but for rounding; the function itself stays at hand as
    `__wrapped__`.
    """

    def in_parts(f: Callable[Concatenate[Array, P], Array]) -> Callable[Concatenate[Array, P], Array]:
        def part_by_part(x: Array, /, *args: P.args, **kwargs: P.kwargs) -> Array:  # [..., n_in] -> [..., n_out]
            if x.ndim != 2:
                y = part_by_part(x.reshape(-1, x.shape[-1]), *args, **kwargs)
                return y.reshape(*x.shape[:-1], y.shape[1])
            if len(x) <= 2 * n_rows:
                return f(x, *args, **kwargs)
            y = np.empty((len(x), f(x[:0], *args, **kwargs).shape[1]), x.dtype)
            n_parts = 2 * math.ceil(len(x) / (2 * n_rows))
            step = math.ceil(len(x) / n_parts)

            def work(start: int) -> None:
                y[start : start + step] = f(x[start : start + step], *args, **kwargs)

            each(work, range(0, len(x), step), len(x) > FEW_ROWS)
            return y

        return update_wrapper(part_by_part, f)

    return in_parts
