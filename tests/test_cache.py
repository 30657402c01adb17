"""The key-value cache by itself; that it changes no result is tested with the model."""

from __future__ import annotations

import numpy as np
import pytest

from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from tests.random_model import N_CTX, N_EMBD, N_HEAD, N_LAYER, random_params


def test_shape_and_dtype_come_from_the_params() -> None:
    params = random_params(np.random.default_rng(0), np.float32)
    cache = KVCache.for_params(params, N_HEAD, (5,))
    assert cache.kv.shape == (N_LAYER, 2, 5, N_HEAD, N_CTX, N_EMBD // N_HEAD)
    assert cache.kv.dtype == np.float32
    assert KVCache.for_params(params, N_HEAD, n_ctx=11).n_ctx == 11


def test_extend_writes_in_place_and_returns_views() -> None:
    """A step that copied the past would cost as much as the past is long."""
    cache = KVCache(n_layer=2, n_head=3, n_ctx=11, d_head=7)
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
    cache = KVCache(n_layer=1, n_head=1, n_ctx=5, d_head=3)
    cache.length = 4
    with pytest.raises(PicoGPTError, match="6 tokens do not fit into a cache of 5 positions"):
        cache.layers(2)
