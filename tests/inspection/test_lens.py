"""What each layer would predict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picogpt.errors import PicoGPTError
from picogpt.inspection import lens, logit_lens, trace
from picogpt.model import layer_norm, softmax
from tests.random_model import N_HEAD, N_LAYER, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(0))
IDS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]]
NEXT = [[1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9]]


@pytest.mark.parametrize("block", [128, 3])
def test_the_lens_is_its_definition(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the positions are more than one part."""
    monkeypatch.setattr(lens, "VOCABULARY_BLOCK", block)
    values = trace(IDS, PARAMS, N_HEAD)
    found = logit_lens(IDS, PARAMS, N_HEAD, NEXT, k=3)
    model = softmax(values["logits"])
    for i in range(N_LAYER):
        probs = softmax(layer_norm(values["resid_post", i], **PARAMS["ln_f"]) @ PARAMS["wte"].T)
        for row in range(2):
            for at in range(7):
                p, target = probs[row, at], NEXT[row][at]
                best = sorted(range(N_VOCAB), key=lambda token: -p[token])
                assert found.ids[i, row, at].tolist() == best[:3]
                assert found.probabilities[i, row, at] == pytest.approx(p[best[:3]], abs=1e-12)
                assert found.target_rank is not None
                assert found.target_probability is not None
                assert best[found.target_rank[i, row, at] - 1] == target
                assert found.target_probability[i, row, at] == pytest.approx(p[target], abs=1e-12)
                kl = math.fsum(m * math.log(m / q) for m, q in zip(model[row, at], p, strict=True))
                assert found.kl[i, row, at] == pytest.approx(kl, abs=1e-12)


def test_the_last_layer_is_the_model() -> None:
    found = logit_lens(IDS[0], PARAMS, N_HEAD)
    np.testing.assert_array_equal(found.kl[-1], 0)
    logits = trace(IDS[0], PARAMS, N_HEAD)["logits"]
    np.testing.assert_array_equal(found.ids[-1, :, 0], logits.argmax(axis=-1))
    assert found.ids.shape == found.probabilities.shape == (N_LAYER, 7, 5)
    assert found.kl.shape == (N_LAYER, 7)
    assert found.target_rank is None
    assert found.target_probability is None


def test_one_target_is_that_of_every_position() -> None:
    one = logit_lens(IDS, PARAMS, N_HEAD, 9)
    each = logit_lens(trace(IDS, PARAMS, N_HEAD, "*.resid_post"), PARAMS, N_HEAD, np.full((2, 7), 9))
    for a, b in zip(one, each, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_lens_keeps_float32() -> None:
    found = logit_lens(IDS, random_params(np.random.default_rng(0), np.float32), N_HEAD, 9)
    assert found.probabilities.dtype == found.kl.dtype == np.float32


def test_bad_input_is_one_line() -> None:
    for target in (N_VOCAB, -1):
        with pytest.raises(PicoGPTError, match=rf"token id {target} is outside the vocabulary, which has ids 0 to 60"):
            logit_lens(IDS, PARAMS, N_HEAD, target)
    with pytest.raises(PicoGPTError, match=r"the target must be one id or ids of shape \(2, 7\), not of shape \(3,\)"):
        logit_lens(IDS, PARAMS, N_HEAD, [1, 2, 3])
    for k in (0, N_VOCAB + 1):
        with pytest.raises(PicoGPTError, match="k must be from 1 to the 61 tokens of the vocabulary"):
            logit_lens(IDS, PARAMS, N_HEAD, k=k)
