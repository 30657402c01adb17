"""Transforms against transformers' processors (golden arrays), and the draw against the distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.decoding import sampling
from picogpt.decoding.sampling import Transform
from picogpt.errors import PicoGPTError

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "logits_processors.npz")
LOGITS, IDS = GOLDEN["logits"], GOLDEN["ids"]
N_ROWS, N_VOCAB = LOGITS.shape

# how the golden arrays are called -> our transform; the numbers in a name are its settings
BY_NAME: dict[str, Any] = {
    "temperature": lambda t: sampling.temperature(float(t)),
    "top_k": lambda k: sampling.top_k(int(k)),
    "top_p": lambda p: sampling.top_p(float(p)),
    "min_p": lambda p: sampling.min_p(float(p)),
    "typical_p": lambda p: sampling.typical_p(float(p)),
    "repetition_penalty": lambda p: sampling.repetition_penalty(float(p)),
    "no_repeat_ngram": lambda n: sampling.no_repeat_ngram(int(n)),
    "min_length": lambda n, _eos, eot: sampling.min_length(int(n), int(eot)),
}


def from_name(name: str) -> Transform:
    kind = next(kind for kind in BY_NAME if name.startswith(kind + "_"))
    transform: Transform = BY_NAME[kind](*name.removeprefix(kind + "_").split("_"))
    return transform


@pytest.mark.parametrize("name", sorted(set(GOLDEN.files) - {"logits", "ids"}))
def test_equals_transformers(name: str) -> None:
    before = LOGITS.copy()
    result = from_name(name)(LOGITS, IDS)
    np.testing.assert_allclose(result, GOLDEN[name], rtol=1e-6, atol=1e-6)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(LOGITS, before)  # a transform never changes its input


def test_top_p_keeps_the_token_that_crosses_p() -> None:
    """OpenAI's own sampler drops it."""
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]]))
    kept = np.isfinite(sampling.top_p(0.6)(logits, []))
    np.testing.assert_array_equal(kept, [[True, True, False, False]])


def test_top_p_below_every_probability_keeps_the_best() -> None:
    kept = np.isfinite(sampling.top_p(1e-9)(LOGITS, []))
    np.testing.assert_array_equal(kept.sum(axis=-1), 1)
    np.testing.assert_array_equal(kept.argmax(axis=-1), LOGITS.argmax(axis=-1))


@pytest.mark.parametrize("name", ["top_p", "min_p", "typical_p"])
def test_filters_take_what_another_filter_left(name: str) -> None:
    """−inf − −inf and 0 · −inf are NaN, and a NaN passes every threshold."""
    logits = sampling.top_k(5)(LOGITS, [])
    result = BY_NAME[name](0.7)(logits, [])
    assert not np.isnan(result).any()
    assert (np.isfinite(result).sum(axis=-1) <= 5).all()
    assert np.isfinite(result).any(axis=-1).all()


def test_temperature_zero_is_the_limit_of_small_temperatures() -> None:
    """Also where two tokens tie, as greedy decoding does it: the first of them."""
    logits = np.array([[1.0, 3.0, 3.0]], np.float32)
    np.testing.assert_array_equal(sampling.temperature(0)(logits, []), [[-np.inf, 3, -np.inf]])


def test_penalties_are_openais() -> None:
    ids = [np.array([3, 5, 3, 3]), np.array([], np.int64)]
    logits = np.zeros((2, 7), np.float32)
    presence = sampling.presence_penalty(0.5)(logits, ids)
    frequency = sampling.frequency_penalty(0.5)(logits, ids)
    np.testing.assert_array_equal(presence, [[0, 0, 0, -0.5, 0, -0.5, 0], [0] * 7])
    np.testing.assert_array_equal(frequency, [[0, 0, 0, -1.5, 0, -0.5, 0], [0] * 7])
    assert presence.dtype == frequency.dtype == np.float32


def test_rows_may_have_different_lengths() -> None:
    """Left-padded rows are given without their pads, so that a pad is never punished."""
    rows = [IDS[0], IDS[1][-3:], IDS[2][:0]]
    for transform in (sampling.no_repeat_ngram(2), sampling.repetition_penalty(1.5), sampling.min_length(5, 2)):
        together = transform(LOGITS, rows)
        for i, row in enumerate(rows):
            np.testing.assert_array_equal(together[i : i + 1], transform(LOGITS[i : i + 1], [row]))


def test_banned_tokens() -> None:
    result = sampling.banned_tokens([7, 2, 7])(LOGITS, IDS)
    assert set(np.flatnonzero(np.isinf(result[0])).tolist()) == {2, 7}
    with pytest.raises(PicoGPTError, match=f"banned token {N_VOCAB} is outside"):
        sampling.banned_tokens([1, N_VOCAB])(LOGITS, IDS)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: sampling.temperature(-0.1),
        lambda: sampling.temperature(float("nan")),
        lambda: sampling.top_k(0),
        lambda: sampling.top_p(0),
        lambda: sampling.top_p(1.01),
        lambda: sampling.top_p(float("nan")),
        lambda: sampling.min_p(-0.1),
        lambda: sampling.typical_p(1),
        lambda: sampling.repetition_penalty(0),
        lambda: sampling.frequency_penalty(float("inf")),
        lambda: sampling.presence_penalty(float("nan")),
        lambda: sampling.no_repeat_ngram(0),
        lambda: sampling.min_length(-1, 0),
        lambda: sampling.generators(-1, 1),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: Any) -> None:
    with pytest.raises(PicoGPTError, match="must be"):
        wrong()


@given(st.integers(0, 2**32), st.sampled_from([np.float32, np.float64]))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_log_probabilities_sum_to_one(seed: int, dtype: npt.DTypeLike) -> None:
    logits = (30 * np.random.default_rng(seed).standard_normal((3, N_VOCAB))).astype(dtype)
    log_probs = sampling.log_softmax(logits)
    assert log_probs.dtype == dtype
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=-1), 1, rtol=1e-5)


def test_draws_have_the_frequencies_of_the_distribution() -> None:
    """Chi-square at a fixed seed: with 100 degrees of freedom, 150 is passed once in a thousand."""
    n = 200_000
    logits = np.repeat(LOGITS[:1], 500, axis=0)
    rng = np.random.default_rng(5)
    counts = np.zeros(N_VOCAB)
    for _ in range(n // 500):
        counts += np.bincount(sampling.choose(logits, rng.random(500)), minlength=N_VOCAB)
    expected = n * np.exp(sampling.log_softmax(LOGITS[0].astype(np.float64)))
    assert ((counts - expected) ** 2 / expected).sum() < 150


def test_a_draw_never_takes_a_removed_token() -> None:
    """Not at the ends of [0, 1) either, where the cumulative probability is flat."""
    logits = np.array([[-np.inf, 0.0, -np.inf, 1.0, -np.inf]], np.float32)
    for uniform, expected in [(0.0, 1), (0.268, 1), (0.27, 3), (np.nextafter(1, 0), 3)]:
        assert sampling.choose(logits, np.array([uniform])) == expected


@pytest.mark.parametrize("transform", [sampling.top_k(1), sampling.temperature(1e-6), sampling.temperature(0)])
def test_limits_are_greedy(transform: Transform) -> None:
    chosen = sampling.choose(transform(LOGITS, IDS), np.array([0.0, 0.5, 0.999999]))
    np.testing.assert_array_equal(chosen, LOGITS.argmax(axis=-1))


def test_a_rows_generator_does_not_depend_on_how_many_rows_there_are() -> None:
    alone = [g.random() for g in sampling.generators(7, 1)]
    among = [g.random() for g in sampling.generators(7, 5)]
    assert alone[0] == among[0]
    assert len(set(among)) == 5
    generator = np.random.default_rng(7)
    assert [g.random() for g in sampling.generators(generator, 5)] == among
    assert [g.random() for g in sampling.generators(generator, 5)] != among  # a generator moves on
