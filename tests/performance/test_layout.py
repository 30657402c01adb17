from __future__ import annotations

import gc

import numpy as np
import pytest

from picogpt import load
from picogpt.decoding.loop import generate
from picogpt.model import gpt2
from picogpt.performance import layout
from picogpt.performance.int8 import quantize_params
from picogpt.performance.layout import cache_memory, for_decoding, own_pages, transposed
from picogpt.performance.thresholds import MANY_TOKENS
from picogpt.types import Params
from tests.random_model import random_params


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (64, 65), (300, 7), (1000, 130)])
def test_transposed_is_the_transpose_in_c_order(shape: tuple[int, int]) -> None:
    w = np.random.default_rng(0).standard_normal(shape, np.float32)
    copy = transposed(w)
    np.testing.assert_array_equal(copy, w.T)
    assert copy.flags.c_contiguous


def test_params_for_decoding_are_the_same_params() -> None:
    encoder, hparams, params = load("shakespeare")
    arranged = for_decoding(params)
    ids = encoder.encode("ROMEO:\nBut, soft! what light")
    n_head = hparams["n_head"]
    logits, expected = (gpt2(ids, **p, n_head=n_head) for p in (arranged, params))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    assert generate(ids, arranged, n_head, 40) == generate(ids, params, n_head, 40)
    w = arranged["blocks"][0]["mlp"]["c_proj"]["w"]
    assert w.T.flags.c_contiguous
    np.testing.assert_array_equal(w, params["blocks"][0]["mlp"]["c_proj"]["w"])
    assert params["wte"].flags.c_contiguous  # the params given stay as they are


def test_what_is_arranged_or_int8_already_is_left_alone() -> None:
    _, _, params = load("shakespeare")
    for done in (for_decoding(params), quantize_params(params)):
        assert for_decoding(done) is done


def test_what_is_loaded_is_arranged_once_and_forgotten_with_the_model() -> None:
    """Read-only weights cannot change, so their copies can be kept; others' copies would be stale."""
    _, hparams, params = load("shakespeare")
    n_kept = len(layout.KEPT)
    first, second = for_decoding(params), for_decoding(params)
    assert first["wte"].T is second["wte"].T
    assert len(layout.KEPT) == n_kept + 1 + hparams["n_layer"]
    del params, first, second
    gc.collect()
    assert len(layout.KEPT) == n_kept


def test_weights_that_can_change_are_arranged_each_time() -> None:
    """A view that is read-only itself can change with what it is a view of."""
    params = random_params(np.random.default_rng(0), np.float32)
    frozen_view = params["wte"].view()
    frozen_view.flags.writeable = False
    before = len(layout.KEPT)
    arranged = for_decoding({**params, "wte": frozen_view})
    params["wte"][0, 0] = 7
    assert for_decoding({**params, "wte": frozen_view})["wte"].T[0, 0] == 7
    assert arranged["wte"].T[0, 0] != 7
    assert len(layout.KEPT) == before


def test_whoever_decodes_many_tokens_gets_the_arranged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python too, and not for a short run, whose memory and start it would cost."""
    calls = []

    def counted(params: Params) -> Params:
        calls.append(1)
        return for_decoding(params)

    monkeypatch.setattr("picogpt.decoding.rows.for_decoding", counted)
    _, hparams, params = load("shakespeare")
    generate([1, 2], params, hparams["n_head"], MANY_TOKENS - 1)
    assert not calls
    generate([1, 2], params, hparams["n_head"], MANY_TOKENS)
    assert calls


@pytest.mark.parametrize("shape", [(2, 3, 5), (0, 7), (2, 1024, 1024)])
def test_pages_of_its_own_are_an_array_like_any_other(shape: tuple[int, ...]) -> None:
    array = own_pages(shape, np.float32)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    array[:] = 7
    assert (array == 7).all()


@pytest.mark.parametrize("long", [0, 512])
def test_a_caches_memory_may_come_from_elsewhere(monkeypatch: pytest.MonkeyPatch, long: int) -> None:
    monkeypatch.setattr("picogpt.performance.layout.LONG_CACHE", long)
    shape = (2, 3, 11, 7)
    usual, other = cache_memory(shape, np.float64), cache_memory(shape, np.float64, own_pages)
    assert (usual.shape, usual.strides, usual.dtype) == (other.shape, other.strides, other.dtype)
