from __future__ import annotations

import numpy as np
import pytest

from picogpt import load
from picogpt.decoding.loop import generate
from picogpt.model import gpt2
from picogpt.performance.int8 import quantize_params
from picogpt.performance.layout import for_decoding, transposed


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
