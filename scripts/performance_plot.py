"""Draw docs/performance.png from the tables of docs/performance.md, or of any such page that benchmark.py printed.

    python scripts/performance_plot.py [PAGE] [PICTURE]

A picture for each kind of work that has peers, with its own unit. Needs matplotlib.
"""

from __future__ import annotations

import re
import statistics
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = Path(__file__).resolve().parents[1] / "docs"
OURS, PEERS, BAR = "#c44e52", "#9fb3d1", 0.26  # colours; inches
TITLE_WIDTH = 48  # characters
NUMBER = r"([\d.e+]+)"


def rows_of(page: str) -> list[dict[str, Any]]:
    """The page's tables as benchmark.py's JSON has its rows; of the figures there are least, median and most."""
    rows = []
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        unit = re.search(r"^\| \| (.+) \| from – to \|$", section, re.MULTILINE)
        figures = re.findall(rf"^\| (.+) \| {NUMBER} \| {NUMBER} – {NUMBER} \|$", section, re.MULTILINE)
        if unit and figures:
            by_name = {name: [float(low), float(median), float(high)] for name, median, low, high in figures}
            rows.append({"title": section.partition("\n")[0], "unit": unit[1], "figures": by_name})
    return rows


def is_ours(name: str) -> bool:
    return name.startswith("picogpt")


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """A small picture for every row that has peers, two of them side by side."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if {is_ours(name) for name in row["figures"] if name != "floor"} == {True, False}]
    if not shown:
        sys.exit("no row has peers: there is nothing to draw")
    pairs = [shown[i : i + 2] for i in range(0, len(shown), 2)]
    sizes = [max(len(row["figures"].keys() - {"floor"}) for row in pair) for pair in pairs]
    heights = [size * BAR + 1 for size in sizes]
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    grid = figure.subplots(len(pairs), 2, squeeze=False, height_ratios=heights)
    for i, row in enumerate(shown):
        draw_row(grid.flat[i], row, sizes[i // 2])
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    figure.savefig(path, dpi=90)


def draw_row(axes: Axes, row: dict[str, Any], size: int) -> None:
    """Bars from 0 as long as the medians, thin lines from the least to the most, the floor as a line across.

    There is room for `size` bars.
    """
    bars = {name: figures for name, figures in row["figures"].items() if name != "floor"}
    medians = [statistics.median(figures) for figures in bars.values()]
    places = range(len(bars))
    axes.barh(places, medians, color=[OURS if is_ours(name) else PEERS for name in bars], height=0.75)
    for place, median, figures in zip(places, medians, bars.values(), strict=True):
        axes.plot([min(figures), max(figures)], [place, place], color="black", linewidth=0.8)
        axes.annotate(f"{median:.4g}", (max(figures), place), (4, 0), textcoords="offset points", va="center")
    if floor := row["figures"].get("floor"):
        at = statistics.median(floor)
        axes.axvline(at, color="black", linestyle="--", linewidth=1)
        axes.annotate(f"floor {at:.4g}", (at, -0.6), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, list(bars))
    for label in axes.get_yticklabels():
        if is_ours(label.get_text()):
            label.set(fontweight="bold", color=OURS)
    axes.set_ylim(size - 0.5, -0.9 if floor else -0.5)  # the first is on top
    axes.set_xlim(0, 1.12 * max(map(max, bars.values())))  # room for the number after the longest
    better = "higher" if row["unit"].endswith("/ s") else "lower"
    axes.set_title(textwrap.fill(row["title"], TITLE_WIDTH), loc="left", fontsize=9, fontweight="bold")
    axes.set_xlabel(f"{row['unit']} ({better} is better)", loc="left", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    page, picture = (given + [DOCS / "performance.md", DOCS / "performance.png"][len(given) :])[:2]
    draw(picture, rows_of(page.read_text(encoding="utf-8")))
