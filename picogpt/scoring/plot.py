"""Surprisals of words as bars, in lines as wide as a page, where matplotlib is installed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.errors import PicoGPTError, printable, what
from picogpt.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 8.0, 1.9  # of a line, in inches
N_WORDS, N_LINES = 16, 5  # of a line; of a page


def draw_surprisals(path: Path, words: Sequence[dict[str, Any]], unit: str) -> None:
    """Draw bars over the words, as high as their surprisal; the file's ending says in which format.

    Where one page does not hold them, a PDF has several, and other formats are files of their own: words.png,
    words-2.png … Raises `PicoGPTError` without matplotlib, and where a file cannot be written.
    """
    try:
        from matplotlib.backends.backend_pdf import PdfPages
    except ImportError:
        raise PicoGPTError("--plot needs matplotlib: pip install matplotlib") from None
    pages = list(parts(words, N_WORDS * N_LINES))
    highest = max((word["surprisal"] for word in words if math.isfinite(word["surprisal"])), default=1.0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks is drawn as a box
            if path.suffix.lower() == ".pdf":
                with replacing(path) as file, PdfPages(file) as pdf:
                    for page in pages:
                        pdf.savefig(draw_page(page, unit, highest))
                return
            for number, page in enumerate(pages, 1):
                name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
                with replacing(name) as file:
                    draw_page(page, unit, highest).savefig(file, format=path.suffix[1:] or None, dpi=150)
    except (OSError, ValueError) as error:
        reason = what(error) if isinstance(error, OSError) else error
        raise PicoGPTError(f"the plot {path} cannot be written: {reason}") from None


def draw_page(words: Sequence[dict[str, Any]], unit: str, highest: float) -> Figure:
    from matplotlib.figure import Figure

    lines = list(parts(words, N_WORDS))
    figure = Figure(figsize=(WIDTH, 0.3 + HEIGHT * len(lines)), layout="constrained")
    for axes, line in zip(figure.subplots(len(lines), squeeze=False)[:, 0], lines, strict=True):
        axes.bar(range(len(line)), [word["surprisal"] for word in line])
        axes.set_xticks(
            range(len(line)), [printable(word["word"]) for word in line], rotation=45, ha="right", parse_math=False
        )
        axes.set_xlim(-0.6, N_WORDS - 0.4)  # all lines have bars of one width, and one scale
        axes.set_ylim(0, 1.05 * highest)
        axes.set_ylabel(unit)
    figure.suptitle("surprisal of words", fontsize="medium")
    return figure


def parts(words: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    """The words in parts of at most `size`; of no words one that is empty."""
    for start in range(0, max(len(words), 1), size):
        yield words[start : start + size]
