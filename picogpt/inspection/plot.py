"""Pictures of a report for a paper, where matplotlib is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from picogpt.errors import PicoGPTError, printable, what
from picogpt.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from picogpt.inspection.report import Row

N_TICKS = 64  # tokens along an axis, before their texts would lie on each other
CELL = 0.3  # inches


def draw(path: Path, report: Row) -> None:
    """Draw the first of the report's attention, heads, attribution and lens; the file's ending says in which format.

    Raises `PicoGPTError` without matplotlib, for a report with none of these and where the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PicoGPTError("--plot needs matplotlib: pip install matplotlib") from None
    name = next((name for name in PICTURES if name in report), None)
    if name is None:
        raise PicoGPTError(f"there is nothing to draw: a picture is of {', '.join(PICTURES)}")
    figure = Figure(layout="constrained")
    labels = [printable(row["token"]) for row in report["tokens"]]
    PICTURES[name](figure, report[name], labels)
    try:
        with replacing(path) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks is drawn as a box
            figure.savefig(file, format=path.suffix[1:] or None, dpi=200)
    except (OSError, ValueError) as error:
        reason = what(error) if isinstance(error, OSError) else error
        raise PicoGPTError(f"the plot {path} cannot be written: {reason}") from None


def draw_attention(figure: Figure, found: Row, labels: Sequence[str]) -> None:
    side = 1.5 + CELL * len(labels)
    figure.set_size_inches(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(visible(found["pattern"]), vmin=0, vmax=1, cmap="viridis")
    axes.set(title=f"head {found['layer']}.{found['head']}", xlabel="key", ylabel="query")
    label_ticks(axes, labels, x=True, y=True)
    figure.colorbar(image, label="attention", shrink=0.8)


def draw_heads(figure: Figure, found: Sequence[Any], labels: Sequence[str]) -> None:
    n_layer, n_head = len(found), len(found[0])
    figure.set_size_inches(0.5 + 1.1 * n_head, 0.5 + 1.2 * n_layer)
    for layer, row in enumerate(figure.subplots(n_layer, n_head, squeeze=False)):
        for head, axes in enumerate(row):
            axes.imshow(visible(found[layer][head]), vmin=0, vmax=1, cmap="viridis")
            axes.set_title(f"{layer}.{head}", fontsize=8)
            axes.set(xticks=[], yticks=[])


def draw_attribution(figure: Figure, found: Row, labels: Sequence[str]) -> None:
    parts = np.column_stack([found["heads"], found["mlps"]])
    figure.set_size_inches(2.5 + 0.6 * parts.shape[1], 1.5 + 0.4 * len(parts))
    axes = figure.subplots()
    most = float(np.abs(parts).max()) or 1
    image = axes.imshow(parts, vmin=-most, vmax=most, cmap="RdBu_r", aspect="auto")
    axes.set(ylabel="layer", yticks=range(len(parts)))
    axes.set_title(f"added to the logit of {found['token']!r}", parse_math=False)
    axes.set_xticks(range(parts.shape[1]), [*(f"head {i}" for i in range(parts.shape[1] - 1)), "mlp"], rotation=60)
    figure.colorbar(image, label="logits")


def draw_lens(figure: Figure, found: Sequence[Any], labels: Sequence[str]) -> None:
    figure.set_size_inches(2.5 + 0.9 * len(found), 1.5 + CELL * len(labels))
    axes = figure.subplots()
    probabilities = np.array([[rows[0]["probability"] for rows in layer] for layer in found]).T
    image = axes.imshow(probabilities, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set(xlabel="layer", xticks=range(len(found)))
    label_ticks(axes, labels, x=False, y=True)
    if len(labels) <= N_TICKS:
        for layer, rows in enumerate(found):
            for position, (best, *_) in enumerate(rows):
                colour = "black" if best["probability"] > 0.6 else "white"
                text = printable(best["token"])
                axes.text(layer, position, text, ha="center", va="center", fontsize=7, color=colour, parse_math=False)
    figure.colorbar(image, label="probability")


def visible(pattern: Any) -> Any:
    """The pattern with nothing where a query may not look."""
    pattern = np.array(pattern)
    return np.ma.masked_where(np.tri(*pattern.shape) == 0, pattern)


def label_ticks(axes: Any, labels: Sequence[str], x: bool, y: bool) -> None:
    """The tokens along the axes; of a long prompt matplotlib counts the positions."""
    if len(labels) <= N_TICKS:
        if x:
            axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8, parse_math=False)
        if y:
            axes.set_yticks(range(len(labels)), labels, fontsize=8, parse_math=False)


PICTURES: dict[str, Callable[[Figure, Any, Sequence[str]], None]] = {
    "attention": draw_attention,
    "heads": draw_heads,
    "attribution": draw_attribution,
    "lens": draw_lens,
}
