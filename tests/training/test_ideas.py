"""What stands before the ladder's rungs, held against its definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt.model import softmax
from picogpt.training import ideas
from picogpt.training.ideas import self_attention

Array = npt.NDArray[Any]

AVERAGES = [
    ideas.average_by_loops,
    ideas.average_by_matrix,
    ideas.average_by_softmax,
    ideas.average_by_attention,
]


@pytest.mark.parametrize("average", AVERAGES)
def test_four_ways_to_average_the_past_agree(average: Callable[[Array], Array]) -> None:
    x = np.random.default_rng(0).standard_normal((13, 5))
    expected = [x[: i + 1].mean(axis=0) for i in range(13)]
    np.testing.assert_allclose(average(x), expected, atol=1e-6)


@pytest.mark.parametrize("average", AVERAGES)
def test_the_past_is_the_positions_and_not_the_batchs(average: Callable[[Array], Array]) -> None:
    """By loops it was once the mean over the batch, of an array of the notes' shape [4, 8, 2], and nobody was told."""
    x = np.random.default_rng(0).standard_normal((3, 2, 13, 5))
    expected = [x[..., : i + 1, :].mean(axis=-2) for i in range(13)]
    np.testing.assert_allclose(average(x), np.stack(expected, axis=-2), atol=1e-6)


def linear_layers(rng: np.random.Generator) -> dict[str, Any]:
    return {name: {"w": rng.standard_normal((5, 3)), "b": rng.standard_normal(3)} for name in ("query", "key", "value")}


def test_self_attention_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    x, layers = rng.standard_normal((7, 5)), linear_layers(rng)
    q, k, v = (x @ layer["w"] + layer["b"] for layer in layers.values())
    scores = q @ k.T / math.sqrt(3)
    np.testing.assert_allclose(self_attention(x, **layers, causal=False), softmax(scores) @ v, atol=1e-12)
    scores[np.triu_indices(7, 1)] = -np.inf
    np.testing.assert_allclose(self_attention(x, **layers), softmax(scores) @ v, atol=1e-12)


def test_self_attention_gives_its_weights() -> None:
    rng = np.random.default_rng(0)
    x, layers = rng.standard_normal((2, 7, 5)), linear_layers(rng)
    seen: dict[str, Array] = {}
    y = self_attention(x, **layers, tap=lambda name, array: seen.setdefault(name, array))
    weights = seen["attn.pattern"]
    assert weights.shape == (2, 7, 7)
    assert not weights[:, *np.triu_indices(7, 1)].any()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(weights @ (x @ layers["value"]["w"] + layers["value"]["b"]), y, atol=1e-12)


def test_cross_attention_reads_all_of_its_source_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    x, source, layers = rng.standard_normal((7, 5)), rng.standard_normal((4, 5)), linear_layers(rng)
    q, k, v = (y @ layer["w"] + layer["b"] for y, layer in zip((x, source, source), layers.values(), strict=True))
    expected = softmax(q @ k.T / math.sqrt(3)) @ v
    np.testing.assert_allclose(self_attention(x, **layers, source=source), expected, atol=1e-12)
    np.testing.assert_allclose(self_attention(x, **layers, source=x), self_attention(x, **layers, causal=False))


def test_scaled_scores_keep_unit_variance() -> None:
    """Without the scale their variance is d, and the softmax looks at one key alone."""
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 500, 64))
    scores = q @ k.T
    assert scores.var() == pytest.approx(64, rel=0.05)
    assert (scores / math.sqrt(64)).var() == pytest.approx(1, rel=0.05)


def test_sinusoidal_positions_are_the_papers() -> None:
    table = ideas.sinusoidal_positions(13, 6)
    assert table.shape == (13, 6)
    for pos in (0, 1, 12):
        for i in range(3):
            angle = pos / 10000 ** (2 * i / 6)
            assert table[pos, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[pos, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)
