"""docs/course/figures.md: theirs are the notes' own, ours are computed, and the page says of them what is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course.figure import Figure
from course.page import NOTES, page

from tests.texts import read_note, read_text

PAGE = Path(__file__).parents[1] / "docs" / "course" / "figures.md"


@pytest.mark.slow
def test_the_page_is_what_the_figures_say() -> None:
    """And nothing on it differs without a reason."""
    for name in ("tinyshakespeare.txt", "the-verdict.txt"):
        read_text(name)
    made = page()
    assert made == PAGE.read_text(encoding="utf-8"), "run scripts/make_figures.py"
    assert "DIFFERENT" not in made


@pytest.mark.parametrize("title", NOTES)
def test_theirs_stand_in_the_note(title: str) -> None:
    """Up to white space: a figure that was copied from our own output would not."""
    beginning, figures = NOTES[title]
    note = " ".join(read_note(beginning).split())
    assert [figure.what for figure in figures if " ".join(figure.theirs.split()) not in note] == []


@pytest.mark.parametrize(
    ("theirs", "ours", "decimals", "equal"),
    [
        ("tensor(4.8786)", 4.87863, None, True),
        ("tensor(4.8786)", 4.87866, None, False),
        ("4.8786", 4.8788, 3, True),
        ("4.8786", 4.8796, 3, False),
        ("[[ 1., -0.0000],", [[1, 1e-9]], None, True),
        ("tensor([1, 2, 3])", [1, 2], None, False),
        ("tensor([1, 2])", [1, 2, 3], None, False),
        ("torch.Size([4, 8])", (4, 8), None, True),
        ("50,257", 50257, None, True),
        ("[1, 0]", np.array([1.4, 0]), None, False),
        ("a  b", "a b", None, True),
        ("a b", "a c", None, False),
    ],
)
def test_a_figure_is_equal_or_not(theirs: str, ours: Any, decimals: int | None, equal: bool) -> None:
    *_, verdict = Figure("x", 1, theirs, lambda: ours, decimals).row()
    assert verdict.startswith("equal") == equal
    assert (verdict == "DIFFERENT") == (not equal)


def test_why_a_figure_differs_is_said_only_where_it_does() -> None:
    assert Figure("x", 1, "4.5", lambda: 4.6, why="another machine").row() == ("4.5", "4.6", "another machine")
    assert Figure("x", 1, "4.5", lambda: 4.5, why="another machine").row() == ("4.5", "4.5", "equal")
    assert Figure("x", 1, "4.5", why="needs the weights").row() == ("4.5", "", "needs the weights")
