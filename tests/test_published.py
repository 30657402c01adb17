"""What others published about the real GPT-2 124M. These tests run where its weights are, and only there."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from course.figure import NUMBER
from course.picogpt_notes import THEIR_WTE

from picogpt import pretrained
from picogpt.decoding.beam import beam_search
from picogpt.decoding.loop import generate, generate_batch
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from picogpt.scoring.tokens import token_logprobs


def is_here() -> bool:
    try:
        pretrained.find_model("124M")
    except PicoGPTError:
        return False
    return True


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_here(), reason="needs GPT-2's weights: picogpt download 124M"),
]
load = functools.cache(lambda: pretrained.load("124M"))


def write(prompt: str, n: int) -> str:
    encoder, hparams, params = load()
    return encoder.decode(generate(encoder.encode(prompt), params, hparams["n_head"], n))


def test_picogpts_readme() -> None:
    assert write("Alan Turing theorized that computers would one day become", 40) == (
        " the most powerful machines on the planet.\n\nThe computer is a machine that can perform complex "
        "calculations, and it can perform these calculations in a way that is very similar to the human brain."
    )


def test_the_seeds_notebook() -> None:
    encoder, hparams, params = load()
    ids = encoder.encode("The apple doesn't fall far from the")
    assert generate(ids, params, hparams["n_head"], 1) == [5509]
    assert encoder.decode([5509]) == " tree"
    corners = params["wte"][np.ix_([0, 1, 2, -3, -2, -1], [0, 1, 2, -3, -2, -1])]
    printed = [float(number) for number in re.findall(NUMBER, THEIR_WTE)]
    np.testing.assert_allclose(corners.ravel(), printed, rtol=0, atol=1e-8)


def test_transformers_greedy_test() -> None:
    encoder, hparams, params = load()
    ids = [464, 3290, 373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13, 198, 198, 464, 3290]
    assert encoder.encode("The dog") == ids[:2]
    assert generate(ids[:2], params, hparams["n_head"], 18) == ids[2:]


def test_transformers_beam_test() -> None:
    """Two beams, twenty tokens with the prompt."""
    encoder, hparams, params = load()
    ids = encoder.encode("The dog")
    (beam,) = beam_search(ids, params, hparams["n_head"], 20 - len(ids), 2, eot_token=encoder.eot_token)
    expected = "The dog was found in the backyard of a home in the 6500 block of South Main Street"
    assert encoder.decode(ids + beam.ids) == expected


def test_rust_berts_figures() -> None:
    encoder, hparams, params = load()
    logits = gpt2(encoder.encode("One two three four"), **params, n_head=hparams["n_head"])[-1]
    assert logits.argmax() == 1936
    assert logits.max() == pytest.approx(-69.4948, abs=1e-3)
    ids = encoder.encode("Hello, my name is")
    (continuation,) = generate_batch([ids], params, hparams["n_head"], 11, n_top=0)
    assert continuation.ids == [1757, 13, 314, 1101, 257, 6260, 11, 290, 314, 1101, 3597]
    assert [token.logprob for token in continuation.tokens[:3]] == pytest.approx([-4.6114, -2.1742, -0.7571], abs=2e-4)


def test_transformer_lenss_loss() -> None:
    encoder, hparams, params = load()
    assert encoder.eot_token is not None
    ids = [encoder.eot_token, *encoder.encode("Hello world!")]
    mean = -token_logprobs(ids, params, hparams["n_head"]).mean()
    assert mean == pytest.approx(5.331855773925781, abs=4e-5)


def test_minicons_surprisals() -> None:
    """In nats, without an end-of-text token in front."""
    encoder, hparams, params = load()
    surprisals = -token_logprobs(encoder.encode("The sketch of those trucks hasn't"), params, hparams["n_head"])
    expected = [10.879679, 2.510551, 6.663193, 8.962379, 8.681725, 0.000534]
    assert surprisals == pytest.approx(expected, abs=2e-4)


def test_surprisals_surprisal() -> None:
    """Behind the end-of-text token."""
    encoder, hparams, params = load()
    assert encoder.eot_token is not None
    ids = [encoder.eot_token, *encoder.encode("The cat sat on the mat.")]
    assert -token_logprobs(ids, params, hparams["n_head"]).sum() == pytest.approx(30.357331335544586, abs=2e-4)
