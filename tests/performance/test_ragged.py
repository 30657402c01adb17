"""Rows of different lengths in one pass are what each of them is by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt import model
from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from picogpt.performance import hidden_states, ragged, ragged_hidden_states
from picogpt.performance.int8 import quantize_params
from picogpt.performance.layout import cache_memory
from tests.random_model import HPARAMS, N_CTX, N_HEAD, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(5))


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[int, int]]:
    """For each row, tokens that it has read and tokens that it reads."""
    n_pasts = draw(st.lists(st.integers(0, N_CTX - 1), min_size=1, max_size=7))
    return [(n, draw(st.one_of(st.just(1), st.integers(1, N_CTX - n)))) for n in n_pasts]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(pieces())
def test_each_row_is_what_the_plain_function_gives(rows: list[tuple[int, int]]) -> None:
    """Hidden states, caches, and nothing after the last position of a cache is read or written."""
    rng = np.random.default_rng(len(rows))
    texts = [rng.integers(N_VOCAB, size=n_past + n) for n_past, n in rows]
    pairs = [[KVCache.for_params(PARAMS, N_HEAD) for _ in range(2)] for _ in rows]
    for text, (n_past, _), pair in zip(texts, rows, pairs, strict=True):
        for cache in pair:
            cache.kv[:] = 7
            if n_past:
                model.hidden_states(text[:n_past], **PARAMS, n_head=N_HEAD, cache=cache)
    new = [text[n_past:] for text, (n_past, _) in zip(texts, rows, strict=True)]
    together = ragged.hidden_states(new, **PARAMS, n_head=N_HEAD, caches=[cache for cache, _ in pairs])
    for ids, x, (cache, plain) in zip(new, together, pairs, strict=True):
        expected = model.hidden_states(ids, **PARAMS, n_head=N_HEAD, cache=plain)
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-12)
        assert cache.length == plain.length
        np.testing.assert_allclose(cache.kv, plain.kv, rtol=0, atol=1e-12)


@pytest.mark.parametrize("long", [0, 512])
def test_the_cache_may_lie_in_memory_either_way(monkeypatch: pytest.MonkeyPatch, long: int) -> None:
    monkeypatch.setattr("picogpt.performance.layout.LONG_CACHE", long)
    texts = [np.arange(n) % N_VOCAB for n in (5, 13, 17)]
    caches = [KVCache.for_params(PARAMS, N_HEAD, allocate=cache_memory) for _ in texts]
    ragged.hidden_states([text[:-1] for text in texts], **PARAMS, n_head=N_HEAD, caches=caches)
    last = ragged.hidden_states([text[-1:] for text in texts], **PARAMS, n_head=N_HEAD, caches=caches)
    for text, x in zip(texts, last, strict=True):
        expected = model.hidden_states(text, **PARAMS, n_head=N_HEAD)[-1:]
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 7])
def test_a_row_that_is_alone_goes_the_usual_way(n: int) -> None:
    params = random_params(np.random.default_rng(5), np.float32)
    ids = np.arange(n)
    caches = [KVCache.for_params(params, N_HEAD) for _ in range(2)]
    (alone,) = ragged_hidden_states([ids], **params, n_head=N_HEAD, caches=caches[:1])
    np.testing.assert_array_equal(alone, hidden_states(ids, **params, n_head=N_HEAD, cache=caches[1]))


@pytest.mark.parametrize("as_int8", [False, True])
def test_float32_stays_float32(as_int8: bool) -> None:
    params = random_params(np.random.default_rng(5), np.float32)
    params = quantize_params(params) if as_int8 else params
    caches = [KVCache.for_params(params, N_HEAD) for _ in range(2)]
    for new in ([[3, 5], [7]], [[11], [13, 17, 19]], [[23], [29]]):
        xs = ragged_hidden_states([np.array(ids) for ids in new], **params, n_head=N_HEAD, caches=caches)
        assert {x.dtype for x in xs} == {np.dtype(np.float32)}
    for text, x in zip(([3, 5, 11, 23], [7, 13, 17, 19, 29]), xs, strict=True):
        expected = model.hidden_states(text, **params, n_head=N_HEAD)[-1:]
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5)


def test_a_full_cache_is_an_error_and_nothing_is_written() -> None:
    caches = [KVCache.for_params(PARAMS, N_HEAD, n_ctx=n) for n in (3, 1)]
    ragged.hidden_states([np.array([1]), np.array([2])], **PARAMS, n_head=N_HEAD, caches=caches)
    with pytest.raises(PicoGPTError, match="cache of 1 positions"):
        ragged.hidden_states([np.array([1]), np.array([2])], **PARAMS, n_head=N_HEAD, caches=caches)
    assert [cache.length for cache in caches] == [1, 1]


def test_scores_of_shorter_rows_do_not_leak_from_layer_to_layer() -> None:
    """The pads of one buffer serve every layer: with many layers a wrong one would show."""
    hparams = {**HPARAMS, "n_layer": 7}
    params = random_params(np.random.default_rng(3), hparams=hparams)
    texts = [np.arange(n) for n in (9, 10, 15)]  # of one power of two
    caches = [KVCache.for_params(params, N_HEAD) for _ in texts]
    ragged.hidden_states([text[:-1] for text in texts], **params, n_head=N_HEAD, caches=caches)
    for text, x in zip(
        texts, ragged.hidden_states([t[-1:] for t in texts], **params, n_head=N_HEAD, caches=caches), strict=True
    ):
        np.testing.assert_allclose(x, model.hidden_states(text, **params, n_head=N_HEAD)[-1:], rtol=0, atol=1e-11)
