"""Loss curves as a picture, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

from picogpt.files import replacing

Curve = Sequence[tuple[float, float]]  # steps and losses


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def draw_losses(
    path: Path,
    curves: Mapping[str, Curve],
    title: str,
    saved: int | None = None,
    levels: Mapping[str, float] | None = None,
) -> bool:
    """Draw labelled curves of losses in nats, and levels to hold them against, into a PNG.

    A line marks the step whose weights were `saved`, and a dot the lowest loss of a curve called "validation". Returns
    False, and draws nothing, without matplotlib.
    """
    if not can_draw():
        return False
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(8, 5), layout="constrained")).subplots()
    for label, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=label, linewidth=1)
    for (label, level), style in zip((levels or {}).items(), cycle(("--", ":", "-."))):
        axes.axhline(level, label=label, linestyle=style, color="0.4", linewidth=1)
    if validation := curves.get("validation"):
        step, loss = min(validation, key=lambda point: point[1])
        label = f"lowest validation loss: {loss:.3f}, step {step:,.0f}"
        axes.plot([step], [loss], "o", color="black", markersize=4, label=label)
    if saved is not None:
        axes.axvline(saved, color="black", linestyle="--", linewidth=1, label=f"saved: step {saved:,}")
    axes.set(title=title, xlabel="step", ylabel="loss, nats a token")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")  # where it hides no curve
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return True
