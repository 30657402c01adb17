"""Large arrays, worked on in parts that stay in the processor's cache, side by side.

A formula in NumPy walks through memory once for every operator. Over a long prompt's hidden layer (12 MB) each walk
reads and writes main memory; over a part of it that fits the cache only the first one does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec

import numpy as np

from picogpt.performance.threads import each
from picogpt.performance.thresholds import FEW_ROWS
from picogpt.types import Array

P = ParamSpec("P")


def by_rows(f: Callable[..., Array], *xs: Array, n_rows: int) -> Array:  # [n, ...] each -> [n, n_out]
    """f(*xs), where f maps every row by itself, computed in parts of at most `n_rows` rows.

    Up to twice `n_rows` are one part; more are an even number of parts, so that two threads end together.
    """
    n = len(xs[0])
    if n <= 2 * n_rows:
        return f(*xs)
    y = np.empty((n, f(*(x[:0] for x in xs)).shape[1]), xs[0].dtype)
    n_parts = 2 * math.ceil(n / (2 * n_rows))
    step = math.ceil(n / n_parts)

    def work(start: int) -> None:
        y[start : start + step] = f(*(x[start : start + step] for x in xs))

    each(work, range(0, n, step), n > FEW_ROWS)
    return y


def rowwise(
    n_rows: int,
) -> Callable[[Callable[Concatenate[Array, P], Array]], Callable[Concatenate[Array, P], Array]]:
    """Make a function that maps every row of a matrix by itself take any array of rows (the last axis), in parts.

    The result is that of all rows at once, up to rounding; the function itself stays at hand as `__wrapped__`.
    """

    def in_parts(f: Callable[Concatenate[Array, P], Array]) -> Callable[Concatenate[Array, P], Array]:
        def part_by_part(x: Array, /, *args: P.args, **kwargs: P.kwargs) -> Array:  # [..., n_in] -> [..., n_out]
            y = by_rows(lambda part: f(part, *args, **kwargs), x.reshape(-1, x.shape[-1]), n_rows=n_rows)
            return y.reshape(*x.shape[:-1], y.shape[1])

        return update_wrapper(part_by_part, f)

    return in_parts
