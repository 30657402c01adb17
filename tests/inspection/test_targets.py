"""Tokens by their text."""

from __future__ import annotations

import numpy as np
import pytest

from picogpt.errors import PicoGPTError
from picogpt.inspection import token_id, token_texts
from picogpt.inspection.targets import logit_direction
from picogpt.tokenizers import ByteLevelBPE
from tests.random_model import random_params

ENCODER = ByteLevelBPE.gpt2()


def test_a_text_of_one_token_is_its_id() -> None:
    assert token_id(ENCODER, " Paris") == 6342


def test_a_text_of_several_tokens_says_which() -> None:
    with pytest.raises(PicoGPTError, match="' Paris, Rome' is 3 tokens: ' Paris', ',', ' Rome'; choose a text that is"):
        token_id(ENCODER, " Paris, Rome")
    with pytest.raises(PicoGPTError, match="'' is 0 tokens; choose a text that is one token"):
        token_id(ENCODER, "")


def test_the_texts_of_tokens_join_to_the_text() -> None:
    assert token_texts(ENCODER, ENCODER.encode("Not all heroes")) == ["Not", " all", " heroes"]
    assert token_texts(ENCODER, np.array(ENCODER.encode("é🦙"))[:3]) == ["é", "\ufffd", "\ufffd"]


def test_a_logits_direction_is_a_row_of_the_embedding() -> None:
    params = random_params(np.random.default_rng(0))
    np.testing.assert_array_equal(logit_direction(params, 3), params["wte"][3])
    np.testing.assert_array_equal(logit_direction(params, 3, 0), params["wte"][3] - params["wte"][0])
    with pytest.raises(PicoGPTError, match="token id -1 is outside the vocabulary, which has ids 0 to 60"):
        logit_direction(params, 3, -1)
