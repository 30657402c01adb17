"""Loss curves as a picture, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from picogpt.files import replacing

Curve = Sequence[tuple[float, float]]  # steps and losses


def draw_losses(path: Path, curves: Mapping[str, Curve]) -> bool:
    """Draw labelled curves of losses in nats into a PNG; returns False, and draws nothing, without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    axes = (figure := Figure(figsize=(8, 5), layout="constrained")).subplots()
    for label, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=label, linewidth=1)
    axes.set(xlabel="step", ylabel="loss, nats a token")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return True
