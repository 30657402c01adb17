"""The key-value cache by itself; that it changes no result is tested with the model."""

from __future__ import annotations

import numpy as np
import pytest

from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from picogpt.performance.layout import cache_memory
from tests.random_model import N_CTX, N_EMBD, N_HEAD, N_LAYER, random_params


@pytest.fixture(autouse=True, params=[0, 512])
def orders_in_memory(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Of a long cache and a short one."""
    monkeypatch.setattr("picogpt.performance.layout.LONG_CACHE", request.param)


def test_shape_and_dtype_come_from_the_params() -> None:
    params = random_params(np.random.default_rng(0), np.float32)
    cache = KVCache.for_params(params, N_HEAD, (5,), allocate=cache_memory)
    assert cache.kv.shape == (N_LAYER, 2, 5, N_HEAD, N_CTX, N_EMBD // N_HEAD)
    assert cache.kv.dtype == np.float32
    assert KVCache.for_params(params, N_HEAD, n_ctx=11, allocate=cache_memory).n_ctx == 11


def test_extend_writes_in_place_and_returns_views() -> None:
    """A step that copied the past would cost as much as the past is long."""
    cache = KVCache(n_layer=2, n_head=3, n_ctx=11, d_head=7, allocate=cache_memory)
    for step in range(3):
        new = np.full((3, 2, 7), step, dtype=np.float32)
        for past in cache.layers(2):
            k, v = past.extend(new, -new)
            assert k.base is not None
            assert np.shares_memory(k, cache.kv)
            assert k.shape == v.shape == (3, cache.length + 2, 7)
        cache.length += 2
    np.testing.assert_array_equal(cache.kv[1, 0, 2, :6, 0], [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(cache.kv[0, 1, 0, :6, 6], [0, 0, -1, -1, -2, -2])


def test_a_full_cache_says_so() -> None:
    cache = KVCache(n_layer=1, n_head=1, n_ctx=5, d_head=3, allocate=cache_memory)
    cache.length = 4
    with pytest.raises(PicoGPTError, match="6 tokens do not fit into a cache of 5 positions"):
        cache.layers(2)


def filled(n_rows: int) -> KVCache:
    cache = KVCache(n_layer=2, n_head=3, n_ctx=11, d_head=5, batch=(n_rows,))
    cache.kv[:] = np.random.default_rng(3).standard_normal(cache.kv.shape)
    cache.length = 7
    return cache


def test_repeat_puts_the_copies_of_a_row_side_by_side() -> None:
    cache = filled(2)
    repeated = cache.repeat(3)
    assert (repeated.length, repeated.n_ctx) == (7, 11)
    np.testing.assert_array_equal(repeated.kv[..., :7, :], np.repeat(cache.kv, 3, axis=2)[..., :7, :])


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 1], [1, 0, 3, 2], [2, 2, 0, 0], []])
def test_select_permutes_repeats_and_drops_rows(rows: list[int]) -> None:
    """Rows that change places must not overwrite each other on the way."""
    cache = filled(4)
    expected = cache.kv[:, :, rows, :, :7].copy()
    cache.select(rows)
    np.testing.assert_array_equal(cache.kv[:, :, :, :, :7], expected)


def test_select_leaves_alone_what_rows_share() -> None:
    """Beams have the prompt in common: copying it at every step would cost more the longer it is."""
    cache = filled(3)
    before = cache.kv.copy()
    cache.select([1, 0, 2], start=5)
    np.testing.assert_array_equal(cache.kv[:, :, :, :, :5], before[:, :, :, :, :5])
    np.testing.assert_array_equal(cache.kv[:, :, :, :, 5:7], before[:, :, [1, 0, 2], :, 5:7])


def test_trim_forgets_the_first_positions() -> None:
    cache = filled(3)
    before = cache.kv.copy()
    cache.trim(2)
    assert cache.length == 5
    np.testing.assert_array_equal(cache.kv[..., :5, :], before[..., 2:7, :])
