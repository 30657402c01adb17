"""Ranges of numbers, for options. Whatever is not finite is in none of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from picogpt.errors import PicoGPTError


class Range(NamedTuple):
    """Which numbers are allowed, in words that come after "must be" and as a function."""

    words: str
    holds: Callable[[float], bool]

    def check(self, name: str, value: float) -> None:
        """Raises `PicoGPTError` for a value of `name` that is not in the range."""
        if not self.holds(value):
            raise PicoGPTError(f"{name} must be {self.words}, not {value}")


def at_least(least: int) -> Range:
    return Range(f"{least} or more", lambda x: least <= x < math.inf)


def between(least: float, most: float) -> Range:
    return Range(f"from {least} to {most}", lambda x: least <= x <= most)
