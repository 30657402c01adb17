"""Numbers out of range are refused in one line, and those within leave a token to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from picogpt.cli import generate
from picogpt.decoding import sampling
from picogpt.decoding.beam import beam_search
from picogpt.decoding.options import SAMPLING_OPTIONS
from picogpt.decoding.ranges import RANGES, check_range
from picogpt.errors import PicoGPTError

ENDS: dict[str, tuple[float, ...]] = {  # the smallest and the largest numbers that are allowed
    "repetition_penalty": (0.001, 1000),
    "presence_penalty": (-1000, 1000),
    "frequency_penalty": (-1000, 1000),
    "no_repeat_ngram": (1, 10**30),
    "temperature": (0, 1e-10, 1e10),
    "top_k": (1, 10**30),
    "top_p": (1e-300, 1),
    "min_p": (0, 1e-300, 1),
    "typical_p": (1e-300, 1 - 1e-16),
}
OUTSIDE: dict[str, tuple[float, ...]] = {
    "repetition_penalty": (0, 1e-39, 1e39),
    "presence_penalty": (1e39, -1e39),
    "frequency_penalty": (1e39, -1e39),
    "no_repeat_ngram": (0, -1),
    "temperature": (-1, 1e-40, 1e39),
    "top_k": (0, -1),
    "top_p": (0, -0.1, 1.01),
    "min_p": (-0.1, 1.01),
    "typical_p": (0, 1),
    "min_length": (-1,),
    "the seed": (-1,),
    "the number of tokens": (-1,),
    "the number of log-probabilities": (-1,),
    "the number of samples": (0, 10**12),
    "the number of beams": (0, 10**8),
    "length_penalty": (1e308, -1e308, 200),
}
NAN = float("nan")


@pytest.mark.parametrize("name", RANGES)
def test_what_is_outside_or_not_a_number_is_refused(name: str) -> None:
    for value in (*OUTSIDE[name], NAN):
        with pytest.raises(PicoGPTError, match=f"^{name} must be [^\n]*, not {value}$".replace("+", r"\+")):
            check_range(name, value)


@pytest.mark.parametrize("option", SAMPLING_OPTIONS, ids=lambda option: option.name)
def test_every_option_has_a_range_that_is_documented(option: Any) -> None:
    """In the help and where the option is defined; the tokens to ban are those of the vocabulary."""
    if option.name == "ban":
        assert option.name not in RANGES
        return
    words = RANGES[option.name].words
    assert f"({words})" in " ".join(generate.parser().format_help().split())
    where = " ".join((option.make.__doc__ or "").split())
    assert words in where or words.replace(" or more", "") + " or more" in where
    for value in (*OUTSIDE[option.name], NAN):
        with pytest.raises(PicoGPTError, match="must be"):
            option.make(value)


@pytest.mark.parametrize("uniforms", [None, np.array([0.0, 0.999])])
@pytest.mark.parametrize("name", ENDS)
def test_at_its_ends_an_option_leaves_a_token_of_the_model(name: str, uniforms: Any) -> None:
    """In float32 and without a warning. At a temperature of 1e-40 and a penalty of 1e39 all logits were lost."""
    make: Callable[[float], sampling.Transform] = getattr(sampling, name)
    logits = (50 * np.random.default_rng(1).standard_normal((2, 61)) - 100).astype(np.float32)
    ids = [np.arange(0, 60), np.array([3, 5, 3])]
    for value in ENDS[name]:
        transformed = make(value)(logits, ids)
        chosen = sampling.choose(transformed, uniforms)
        assert transformed.dtype == np.float32
        assert np.isfinite(transformed[[0, 1], chosen]).all(), value


@pytest.mark.parametrize(
    ("n_beams", "length_penalty", "message"),
    [
        (10**8, 1.0, "the number of beams must be from 1 to 1000, not 100000000"),
        (2, 1e308, r"length_penalty must be from -10 to 10, not 1e\+308"),
        (2, 200.0, "length_penalty must be from -10 to 10, not 200"),
        (2, NAN, "length_penalty must be from -10 to 10, not nan"),
    ],
)
def test_beam_search_refuses_them_before_it_begins(n_beams: int, length_penalty: float, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        beam_search([1], {}, 1, 5, n_beams, length_penalty=length_penalty)
