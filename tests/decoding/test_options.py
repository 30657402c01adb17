"""The table of sampling options is the one place that flags, transforms and Python's arguments come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from picogpt.cli import generate
from picogpt.decoding.options import SAMPLING_OPTIONS, SamplingOptions, decoding_options, make_transforms
from picogpt.errors import PicoGPTError
from picogpt.tokenizers import CharTokenizer

ENCODER = CharTokenizer.from_text("abcdefgh", ["<|endoftext|>"])
CHANGES: dict[str, Any] = {  # a value of each option that changes the logits below
    "repetition_penalty": 1.3,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "no_repeat_ngram": 1,
    "ban": [2],
    "temperature": 0.7,
    "top_k": 3,
    "top_p": 0.6,
    "min_p": 0.5,
    "typical_p": 0.5,
}


def test_the_table_and_the_types_agree() -> None:
    hints = get_type_hints(SamplingOptions)
    assert [option.name for option in SAMPLING_OPTIONS] == list(hints)
    for option in SAMPLING_OPTIONS:
        hint = hints[option.name]
        assert (get_args(hint)[0] if option.repeats else hint) is option.type
        assert option.repeats == (hint == Sequence[int])


@pytest.mark.parametrize("option", SAMPLING_OPTIONS, ids=lambda option: option.name)
def test_every_option_does_something_wherever_it_is_given(option: Any) -> None:
    """An option in two of three places used to pass every check and do nothing."""
    value = CHANGES[option.name]
    options = decoding_options(ENCODER, **{option.name: value})
    (transform,) = options["transforms"]
    logits = np.random.default_rng(0).standard_normal((1, ENCODER.n_vocab))
    assert not np.array_equal(transform(logits, [np.array([1, 2, 1])]), logits)
    assert ("rng" in options) == option.samples
    flag = f"--{option.name.replace('_', '-')}"
    given = value[0] if option.repeats else value
    args = generate.parser().parse_args(["a prompt", flag, str(given)])
    assert getattr(args, option.name) == value


def test_nothing_given_is_greedy_and_seed_0_alone_samples() -> None:
    """0 is a seed, and was taken for no seed."""
    assert "rng" not in decoding_options(ENCODER)
    assert "rng" in decoding_options(ENCODER, seed=0)
    assert "rng" in decoding_options(ENCODER, sample=True)
    assert "rng" not in decoding_options(ENCODER, temperature=None, ban=[])


def test_transforms_come_in_the_order_of_the_table() -> None:
    """Whatever the order in which they are given: temperature before top_p changes what top_p keeps."""
    logits = np.random.default_rng(0).standard_normal((1, 50))
    results = []
    for chosen in ({"top_p": 0.5, "temperature": 3.0}, {"temperature": 3.0, "top_p": 0.5}):
        result: Any = logits
        for transform in make_transforms(chosen):
            result = transform(result, [np.array([1])])
        results.append(result)
    np.testing.assert_array_equal(results[0], results[1])


def test_an_option_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"there is no option temprature; there are .*temperature"):
        decoding_options(ENCODER, temprature=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or from 1e-10 to 1e10"),
        ({"seed": -1}, "the seed must be 0 or more, not -1"),
        ({"stop": [""]}, "a stop string must not be empty"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        decoding_options(ENCODER, **options)


def test_the_end_of_text_token_ends_a_text_unless_it_is_ignored() -> None:
    assert decoding_options(ENCODER)["eot_token"] == (ENCODER.eot_token,)
    assert decoding_options(ENCODER, ignore_eos=True)["eot_token"] == ()
    options = decoding_options(ENCODER, min_length=5)
    (transform,) = options["transforms"]
    logits = transform(np.zeros((1, ENCODER.n_vocab)), [np.array([1, 2])])
    assert logits[0, ENCODER.eot_token] == -np.inf
