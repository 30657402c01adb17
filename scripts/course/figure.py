"""A printed figure: what a note prints, and what picogpt computes in its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.files import read_text

ROOT = Path(__file__).parents[2]
NUMBER = r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d*)?(?:e[+-]?\d+)?"
SHOWN = 60  # characters of a figure on the page
SHOWN_NUMBERS = 6


@cache
def text(name: str) -> str:
    """One of the two texts of the notes: beside the repository, or in data/ after `picogpt download`."""
    folders = ROOT.parent / "shared" / "data", ROOT / "data"
    return read_text(next((folder / name for folder in folders if (folder / name).is_file()), folders[-1] / name))


@dataclass(frozen=True)
class Figure:
    """What a note prints, as it stands there; and a function that computes it, or why there is none.

    A function that gives a string is held against the words of the note; what else it gives are numbers, held against
    the note's numbers as far as they are printed, or up to `decimals`.
    """

    what: str
    notebook: int | None  # of the course; None where there is nothing to compute
    theirs: str
    ours: Callable[[], Any] | None = None
    decimals: int | None = None
    why: str = ""  # not equal, not to the last digit, or not computed

    def row(self) -> tuple[str, str, str]:
        """Theirs and ours, as short as they must be, and the verdict: "equal", or why not."""
        if self.ours is None:
            return shown(self.theirs), "", self.why
        value = self.ours()
        if isinstance(value, str):
            return shown(self.theirs), shown(value), self.verdict(same_words(self.theirs, value))
        theirs = re.findall(NUMBER, self.theirs)
        ours = as_printed(value, theirs, self.decimals)
        rounded = as_printed([float(number.replace(",", "")) for number in theirs], theirs, self.decimals)
        return shown_numbers(theirs), shown_numbers(ours), self.verdict(ours == rounded)

    def verdict(self, equal: bool) -> str:
        if not equal:
            return self.why or "DIFFERENT"
        return "equal" if self.decimals is None else f"equal to {self.decimals} decimals: {self.why}"


def as_printed(value: Any, theirs: list[str], most: int | None) -> list[str]:
    """Our numbers, each with as many decimals as theirs has, but `most` at most."""
    numbers = np.asarray(value).ravel().tolist()
    models = [*theirs, *["0"] * (len(numbers) - len(theirs))]
    return [printed(number, model, most) for number, model in zip(numbers, models, strict=False)]


def printed(number: float, model: str, most: int | None) -> str:
    """A fraction where the model is whole is seen to be one; a minus before nothing but zeros means nothing."""
    if "." not in model and number != round(number):
        return repr(number)
    places = len(model.partition(".")[2])
    places = places if most is None else min(places, most)
    return f"{round(number, places) + 0.0:.{places}f}"


def same_words(theirs: str, ours: str) -> bool:
    """Up to the white space, of which printing adds some and notes lose some."""
    return "".join(theirs.split()) == "".join(ours.split())


def shown(words: str) -> str:
    words = re.sub(r"\s+", " ", words.strip())
    return words if len(words) <= SHOWN else f"{words[:SHOWN].rstrip()} … ({len(words)} characters)"


def shown_numbers(numbers: list[str]) -> str:
    if len(numbers) <= SHOWN_NUMBERS:
        return ", ".join(numbers)
    return f"{', '.join(numbers[:SHOWN_NUMBERS])} … ({len(numbers)} numbers)"
