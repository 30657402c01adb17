"""Tables for the terminal whose cells are coloured by a number, folded where the terminal is narrow."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

RESET = "\x1b[0m"
RISING = (17, 18, 24, 30, 36, 42, 78, 114, 185, 226)  # xterm's colours from dark blue to yellow
FALLING = (52, 88, 124, 160, 167, 174, 181, 217, 224, 231)  # from dark red to white, for what is negative
N_DARK = 5  # of either; on them the text is white
SHADES = " ░▒▓█"
GAP = "  "


class Cell(NamedTuple):
    """Text, and what it is coloured by: a share from 0 to 1, or from −1 where it may be negative."""

    text: str
    share: float | None = None


class Grid(NamedTuple):
    """Rows of cells; each row has a label, and each column a heading."""

    labels: Sequence[str]
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    gap: str = GAP  # between the cells


def terminal_width() -> int:
    return shutil.get_terminal_size().columns


def lines(grid: Grid, colour: bool, width: int) -> Iterator[str]:
    """The grid as text no wider than `width`, if one column fits; what does not fit beside the rest stands below."""
    label_width = min(max(map(columns, ["", *grid.labels])), max(12, width // 2))
    cell_width = max(columns(text) for text in [*grid.headings, *(cell.text for row in grid.rows for cell in row)])
    n_columns = max(1, (width - label_width - len(GAP) + len(grid.gap)) // (cell_width + len(grid.gap)))
    for start in range(0, len(grid.headings), n_columns):
        part = slice(start, start + n_columns)
        if start:
            yield ""
        headings = grid.gap.join(fit(heading, cell_width) for heading in grid.headings[part])
        yield (fit("", label_width) + GAP + headings).rstrip()
        for label, row in zip(grid.labels, grid.rows, strict=True):
            cells = grid.gap.join(paint(fit(cell.text, cell_width), cell.share, colour) for cell in row[part])
            yield (fit(label, label_width) + GAP + cells).rstrip()


def paint(text: str, share: float | None, colour: bool) -> str:
    """The text on the colour of the share."""
    if share is None or not colour:
        return text
    ramp = FALLING if share < 0 else RISING
    step = min(len(ramp) - 1, int(abs(share) * len(ramp)))
    return f"\x1b[{'97' if step < N_DARK else '30'};48;5;{ramp[step]}m{text}{RESET}"


def shade(share: float) -> str:
    """One character, the darker the larger the share; any attention that can be seen at all shows."""
    return SHADES[min(len(SHADES) - 1, round(share * (len(SHADES) - 1) + (0.3 if share > 0.05 else 0)))]


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: two for each East Asian wide character, none for an accent."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def fit(text: str, width: int) -> str:
    """The text in exactly so many columns: filled up, or cut off with an ellipsis."""
    if columns(text) > width:
        while columns(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - columns(text))
