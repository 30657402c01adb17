"""Weights in one byte each: a quarter of float32's memory.

    params = quantize_params(params)  # everything else stays as it is

Each output of a layer has a scale of its own, the largest of its weights being ±127, as in Dettmers et al. 2022,
"LLM.int8()"; but the activations stay float32. `Int8Rows` is just what `model.py` asks of a weight.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.performance.layout import Untied
from picogpt.performance.threads import each
from picogpt.performance.thresholds import INT8_FEW_PARTS, INT8_PART
from picogpt.types import Array, Params


class Scratch(threading.local):
    """Memory that a thread keeps: to get new pages from the operating system takes longer than to fill them."""

    memory = np.empty(0, np.float32)

    def matrix(self, n_rows: int, n_columns: int) -> Array:  # [n_rows, n_columns]
        """Whatever was left there."""
        size = n_rows * n_columns
        if self.memory.size < size:
            self.memory = np.empty(size, np.float32)
        return self.memory[:size].reshape(n_rows, n_columns)


SCRATCH = Scratch()


class Int8Rows:
    """A float32 matrix that is kept as int8 rows `q [n_rows, n_columns]` times a `scale [n_rows]`.

    Read it by rows, `m[ids]`, or multiply by it transposed, `x @ m.T`: a row is then the weights of one output.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, q: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]) -> None:
        self.q, self.scale = q, scale
        self.shape: tuple[int, int] = (q.shape[0], q.shape[1])

    @classmethod
    def nearest(cls, w: Array) -> Int8Rows:  # [n_rows, n_columns]
        """The int8 matrix nearest to `w`; no weight moves by more than half its row's scale.

        Raises `PicoGPTError` for numbers that are not finite.
        """
        largest = np.maximum(w.max(axis=1), -w.min(axis=1))
        if not np.isfinite(largest).all():
            raise PicoGPTError("weights that are not finite have no int8 form")
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        q = w / scale[:, None]
        return cls(np.rint(q, out=q).astype(np.int8, order="C"), scale)

    @property
    def T(self) -> Int8Columns:  # noqa: N802 (NumPy's name)
        return Int8Columns(self)

    def __getitem__(self, ids: Any) -> Array:  # [...] -> [..., n_columns]
        return self.q[ids] * self.scale[ids, None]


class Int8Columns:
    """The transpose of `Int8Rows`: a weight `[n_in, n_out]`."""

    __array_ufunc__ = None  # x @ w asks `__rmatmul__` instead of making an array of w

    def __init__(self, rows: Int8Rows) -> None:
        self.T = rows
        self.shape = rows.shape[::-1]

    def __rmatmul__(self, x: Array) -> Array:  # [..., n_in] -> [..., n_out]
        """x @ w, a part of the outputs at a time: int8 to float32 into a buffer, from there BLAS multiplies it."""
        q, scale = self.T.q, self.T.scale
        n_in, n_out = self.shape
        y = np.empty((*x.shape[:-1], n_out), x.dtype)
        if not y.size:
            return y
        step = max(1, INT8_PART // n_in)

        def multiply(start: int) -> None:
            part = SCRATCH.matrix(step, n_in)[: n_out - start]
            np.copyto(part, q[start : start + step])
            np.matmul(x, part.T, out=y[..., start : start + step])

        starts = range(0, n_out, step)
        each(multiply, starts, len(starts) > INT8_FEW_PARTS)
        y *= scale
        return y


def is_quantized(path: str) -> bool:
    """Whether the parameter at this dotted path becomes int8: the layers' weights and the token embedding."""
    return path == "wte" or path.endswith(".w")


def quantize_params(params: Params) -> Params:
    """`params` with the layers' weights and the token embedding in int8; positions, biases and norms stay float32.

    Params that are int8 already are returned as they are.
    """
    wte = params["wte"]
    if isinstance(wte, Int8Rows) or (isinstance(wte, Untied) and isinstance(wte.head, Int8Rows)):
        return params

    def int8(layers: Params) -> Params:
        return {
            name: {"w": Int8Rows.nearest(p["w"].T).T, "b": p["b"]} if isinstance(p, dict) else p
            for name, p in layers.items()
        }

    blocks = [{**block, "attn": int8(block["attn"]), "mlp": int8(block["mlp"])} for block in params["blocks"]]
    if isinstance(wte, Untied):
        return {**params, "wte": Untied(Int8Rows.nearest(wte.rows), Int8Rows.nearest(wte.head)), "blocks": blocks}
    return {**params, "wte": Int8Rows.nearest(wte), "blocks": blocks}
