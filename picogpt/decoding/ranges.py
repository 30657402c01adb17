"""The numbers that each option of decoding may have: those at which float32 still tells tokens apart."""

from __future__ import annotations

from picogpt.ranges import Range, at_least, between

RANGES = {
    "repetition_penalty": between(0.001, 1000),
    "presence_penalty": between(-1000, 1000),
    "frequency_penalty": between(-1000, 1000),
    "no_repeat_ngram": at_least(1),
    "temperature": Range("0 or from 1e-10 to 1e10", lambda t: t == 0 or 1e-10 <= t <= 1e10),
    "top_k": at_least(1),
    "top_p": Range("above 0 and at most 1", lambda p: 0 < p <= 1),
    "min_p": between(0, 1),
    "typical_p": Range("above 0 and below 1", lambda p: 0 < p < 1),
    "min_length": at_least(0),
    "the seed": at_least(0),
    "the number of tokens": at_least(0),
    "the number of log-probabilities": at_least(0),
    "the number of samples": between(1, 1000),  # decoded side by side, as beams are: each has a cache of its own
    "the number of beams": between(1, 1000),
    "length_penalty": between(-10, 10),
}


def check_range(name: str, value: float) -> None:
    """Raises `PicoGPTError` for a value that is not in the range of `name`."""
    RANGES[name].check(name, value)
