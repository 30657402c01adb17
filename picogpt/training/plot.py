"""Loss curves as a picture, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from picogpt.files import replacing

Curve = Sequence[tuple[float, float]]  # steps and losses


def draw_losses(path: Path, curves: Mapping[str, Curve], title: str, saved: int | None = None) -> bool:
    """Draw labelled curves of losses in nats into a PNG; returns False, and draws nothing, without matplotlib.

    A line marks the step whose weights were `saved`, and a dot the lowest loss of a curve called "validation".
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    axes = (figure := Figure(figsize=(8, 5), layout="constrained")).subplots()
    for label, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=label, linewidth=1)
    if validation := curves.get("validation"):
        step, loss = min(validation, key=lambda point: point[1])
        label = f"lowest validation loss: {loss:.3f}, step {step:,.0f}"
        axes.plot([step], [loss], "o", color="black", markersize=4, label=label)
    if saved is not None:
        axes.axvline(saved, color="black", linestyle="--", linewidth=1, label=f"saved: step {saved:,}")
    axes.set(title=title, xlabel="step", ylabel="loss, nats a token")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return True
