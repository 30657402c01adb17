"""The generator's numbers against torch's own, bit for bit; the golden values are made by scripts/make_reference.py."""

from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt.errors import PicoGPTError
from picogpt.model import linear
from picogpt.training.torch_random import Generator, fma

GOLDEN = json.loads((Path(__file__).parents[1] / "data/torch_random.json").read_text(encoding="utf-8"))
SEEDS = list(GOLDEN["results"])


def arrays(made: Any) -> list[npt.NDArray[Any]]:
    """A layer's arrays, those torch makes; or the one array of any other call."""
    if isinstance(made, dict):
        return [made["w"], made["b"]] if made["b"].any() else [made["w"]]
    return [made]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_call_after_the_other_is_torchs(seed: str) -> None:
    """In one row, so that a call which takes too many bits, or forgets its spare normal number, shifts the rest."""
    generator = Generator(int(seed))
    for (name, args), expected in zip(GOLDEN["calls"], GOLDEN["results"][seed], strict=True):
        for got, values in zip(arrays(getattr(generator, name)(*args)), expected, strict=True):
            np.testing.assert_array_equal(got, values, err_msg=f"{name}{args}")
            assert got.dtype == (np.float32 if got.dtype.kind == "f" else np.int64)


@pytest.mark.parametrize("seed", SEEDS)
def test_many_normal_numbers_are_torchs_to_the_last_bit(seed: str) -> None:
    made = Generator(int(seed)).randn(GOLDEN["many"])
    assert hashlib.sha256(made.astype("<f4").tobytes()).hexdigest() == GOLDEN["digests"][seed]


def test_a_sum_near_a_tie_is_rounded_once() -> None:
    """(1 + ε)(1 − ε)/2 is just under half an ulp; in float64 the sum is the tie, which would be rounded up."""
    a, b, c = np.array([[1 + 2**-23], [2**-24 * (1 - 2**-23)], [1 + 2**-23]], np.float32)
    assert fma(a, b, c)[0] == c[0]
    assert np.float32(np.float64(a[0]) * np.float64(b[0]) + np.float64(c[0])) != c[0]
    assert fma(-a, b, -c)[0] == -c[0]


def test_fma_is_the_nearest_float_to_the_exact_sum() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 500)).astype(np.float32)
    c = (rng.standard_normal(500) * 2.0 ** rng.integers(-30, 30, 500)).astype(np.float32)
    for got, x, y, z in zip(fma(a, b, c).tolist(), a.tolist(), b.tolist(), c.tolist(), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        neighbours = [float(np.nextafter(np.float32(got), np.float32(side))) for side in (-math.inf, math.inf)]
        assert all(abs(Fraction(got) - exact) <= abs(Fraction(other) - exact) for other in neighbours)


def test_a_layer_without_bias_adds_nothing_and_takes_no_bits() -> None:
    with_bias, without = Generator(1), Generator(1)
    layer, bare = with_bias.linear(5, 3), without.linear(5, 3, bias=False)
    np.testing.assert_array_equal(layer["w"], bare["w"])
    x = np.eye(5, dtype=np.float32)
    np.testing.assert_array_equal(linear(x, **bare), bare["w"])
    np.testing.assert_array_equal(without.uniform(1 / math.sqrt(5), 3), layer["b"])


def test_what_cannot_be_drawn_is_refused() -> None:
    generator = Generator(0)
    for probs in ([0.5, -0.1], [math.nan, 1], [[1, 1], [0, 0]], [math.inf, 1]):
        with pytest.raises(PicoGPTError, match="probs must be finite"):
            generator.multinomial(np.array(probs), 1)
    with pytest.raises(PicoGPTError, match="4 different ones of 3"):
        generator.multinomial(np.ones(3), 4)
    with pytest.raises(PicoGPTError, match="no integer from 2"):
        generator.randint(2, 2, 3)
    with pytest.raises(PicoGPTError, match="permutation of -1"):
        generator.randperm(-1)
