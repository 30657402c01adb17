"""What other models of GPT-2's family put in the place of its gelu."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from picogpt.model import gelu
from picogpt.types import Array

# erf(x) = x P(x²) / Q(x²) where |x| < 4, and ±1 beyond: relative error 2e-9, fitted by least squares whose weights
# were moved towards the largest errors (Lawson 1961)
ERF_P = (
    1.128379169e00,
    1.852280445e-01,
    5.431701940e-02,
    3.850214505e-03,
    3.794885066e-04,
    4.680960373e-06,
    -1.318418927e-08,
)
ERF_Q = (1.0, 4.974874922e-01, 1.139658553e-01, 1.546288106e-02, 1.307531185e-03, 6.307459237e-05)
ERF_IS_ONE = 4.0


def erf(x: Array) -> Array:  # [...] -> [...]
    """The error function, to the last bit of float32: it is worked out in float64 and rounded once."""
    y = np.clip(x.astype(np.float64), -ERF_IS_ONE, ERF_IS_ONE)
    t = y * y
    y *= horner(ERF_P, t)
    y /= horner(ERF_Q, t)
    return np.where(np.abs(x) < ERF_IS_ONE, y, np.sign(x)).astype(x.dtype)


def horner(coefficients: tuple[float, ...], t: Array) -> Array:
    """The polynomial with these coefficients, the constant first."""
    *rest, last = coefficients
    y = np.full_like(t, last)
    for coefficient in reversed(rest):
        y *= t
        y += coefficient
    return y


def gelu_erf(x: Array) -> Array:  # [...] -> [...]
    """x times the normal distribution's share below x, as Hendrycks & Gimpel 2016 define it; GPT-2's is close to it."""
    return 0.5 * x * (1 + erf(x * np.sqrt(0.5, dtype=x.dtype)))


def relu(x: Array) -> Array:  # [...] -> [...]
    return np.maximum(x, 0)


def silu(x: Array) -> Array:  # [...] -> [...]
    """x times its logistic function; tanh cannot overflow where exp would."""
    return 0.5 * x * (1 + np.tanh(0.5 * x))


# transformers' names, which are those of configs
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu_new": gelu,
    "gelu_pytorch_tanh": gelu,
    "gelu_fast": gelu,
    "gelu": gelu_erf,
    "relu": relu,
    "silu": silu,
    "swish": silu,
}
