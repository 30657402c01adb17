"""What tells one model from another: a digest of all that it has learned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.checkpoints.names import flatten
from picogpt.performance.int8 import Int8Columns, Int8Rows
from picogpt.performance.layout import Embedding, Untied
from picogpt.types import Params


def fingerprint(params: Params) -> str:
    """SHA-256, in hexadecimal, over the path, shape, dtype and bytes of every parameter, in the order of the paths.

    It is the same whichever files the weights came from, as long as they are the same numbers. Reads every weight:
    0.7 s for 124M.
    """
    digest = hashlib.sha256()
    for path, param in sorted(flatten(params).items()):
        for array in arrays(param):
            digest.update(f"{path} {list(array.shape)} {array.dtype.str}\n".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def arrays(param: Any) -> Iterator[npt.NDArray[Any]]:
    """The arrays that a parameter is kept in: one, or an int8 matrix and its scales, or an output layer besides."""
    if isinstance(param, Untied):
        yield from (*arrays(param.rows), *arrays(param.head))
    elif isinstance(param, Embedding):
        yield param.rows
    elif isinstance(param, Int8Columns | Int8Rows):
        rows = param.T if isinstance(param, Int8Columns) else param
        yield from (rows.q, rows.scale)
    elif hasattr(param, "shape"):
        yield param
    else:  # an epsilon, an activation
        yield np.array(getattr(param, "__name__", repr(param)).encode())
