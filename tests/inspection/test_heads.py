"""Where heads look: entropies and scores, on patterns made by hand and on a model whose heads are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picogpt.errors import PicoGPTError
from picogpt.inspection import (
    attention_entropy,
    attentions,
    duplicate_token_scores,
    induction_scores,
    prefix_matching_scores,
    previous_token_scores,
    previous_token_weights,
)
from tests.induction_model import INDUCTION, N_HEAD, PREVIOUS_TOKEN, induction_params
from tests.random_model import N_CTX, random_params

PARAMS = induction_params()
START = 10  # the token before the random ones


def looking_at(keys: list[int]) -> np.ndarray:
    """A pattern in which query i looks at keys[i] alone."""
    return np.eye(len(keys))[keys]


def test_entropy_counts_the_keys_that_are_looked_at() -> None:
    even = np.tri(4) / np.arange(1, 5)[:, None]
    entropy = attention_entropy([np.stack([looking_at([0, 0, 1, 3]), even])])
    assert entropy.shape == (1, 2, 4)
    np.testing.assert_allclose(entropy[0], [[0.0, 0, 0, 0], [0.0, math.log(2), math.log(3), math.log(4)]], atol=1e-12)


def test_scores_are_means_over_the_queries_that_have_a_place_to_look_at() -> None:
    ids = [7, 8, 7, 9, 7]
    before = looking_at([0, 0, 1, 2, 3])  # at i: i − 1
    same = looking_at([0, 0, 0, 0, 2])  # the second 7 at the first, the third at the second
    after = looking_at([0, 0, 1, 0, 3])  # at what comes after an earlier 7
    half = (after + looking_at([0, 0, 0, 0, 0])) / 2
    patterns = [np.stack([before, same, after, half]), np.zeros((4, 5, 5))]
    np.testing.assert_allclose(previous_token_scores(patterns), [[1, 0.25, 0.75, 0.5], [0.0] * 4])
    np.testing.assert_allclose(duplicate_token_scores(patterns, ids), [[0, 1, 0, 0.5], [0.0] * 4])
    np.testing.assert_allclose(prefix_matching_scores(patterns, ids), [[1, 0, 1, 0.5], [0.0] * 4])


def test_the_score_is_the_mean_of_the_weights_that_there_are() -> None:
    ids = np.arange(2 * 5).reshape(2, 5)
    patterns = attentions(ids, random_params(np.random.default_rng(1)), 3)
    weights = previous_token_weights(patterns)
    assert weights.shape == (2, 2, 3, 5)  # [n_layer, batch, n_head, n_q]
    assert np.isnan(weights[..., 0]).all()
    assert weights[1, 0, 2, 4] == patterns[1][0, 2, 4, 3]
    scores = weights[..., 1:].mean(axis=(1, 3))
    np.testing.assert_allclose(scores, previous_token_scores(patterns), rtol=0, atol=1e-12)


def test_rows_of_a_batch_count_by_their_queries() -> None:
    """A row without any has no part in the mean."""
    ids = np.array([[7, 7, 8], [1, 2, 3]])
    patterns = [np.stack([looking_at([0, 1, 2]), looking_at([0, 0, 0])])[:, None]]
    np.testing.assert_allclose(duplicate_token_scores(patterns, ids), [[0]])
    np.testing.assert_allclose(prefix_matching_scores(patterns, ids), [[1]])
    np.testing.assert_allclose(previous_token_scores(patterns), [[0.25]])


def test_the_heads_that_were_built_are_found() -> None:
    expected = np.zeros((2, N_HEAD), bool)
    expected[INDUCTION] = True
    scores = induction_scores(PARAMS, N_HEAD, prefix=[START])
    np.testing.assert_array_equal(scores > 0.999, expected)
    assert np.sort(scores.ravel())[-2] < 0.2
    expected[INDUCTION], expected[PREVIOUS_TOKEN] = False, True
    scores = previous_token_scores(attentions([START, 1, 5, 2, 6, 3], PARAMS, N_HEAD))
    np.testing.assert_array_equal(scores > 0.999, expected)


def test_the_random_sequence_is_chosen_by_its_seed() -> None:
    params = random_params(np.random.default_rng(0))
    first, again, other = (induction_scores(params, 3, 5, 2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6
    assert induction_scores(params, 3).shape == (2, 3)  # as many tokens as fit


@pytest.mark.parametrize("n_tokens", [1, (N_CTX - 1) // 2 + 1])
def test_sequences_that_cannot_be_are_refused(n_tokens: int) -> None:
    with pytest.raises(PicoGPTError, match=rf"the random sequence must have from 2 to 14 tokens, not {n_tokens}"):
        induction_scores(random_params(np.random.default_rng(0)), 3, n_tokens, prefix=[0])
    with pytest.raises(PicoGPTError, match="n_rows must be 1 or more, not 0"):
        induction_scores(random_params(np.random.default_rng(0)), 3, n_rows=0)


def test_a_prompt_in_which_nothing_can_be_scored_is_refused() -> None:
    patterns = attentions([1, 2, 3], PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match="give a prompt in which a token occurs twice"):
        prefix_matching_scores(patterns, [1, 2, 3])
    with pytest.raises(PicoGPTError, match="give a prompt in which a token occurs twice"):
        duplicate_token_scores(patterns, [1, 2, 3])
    with pytest.raises(PicoGPTError, match="give two tokens or more"):
        previous_token_scores(attentions([1], PARAMS, N_HEAD))
    with pytest.raises(PicoGPTError, match="the patterns are of 3 tokens, the ids are 2"):
        prefix_matching_scores(patterns, [1, 1])
