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


def draw_losses(path: Path, curves: Mapping[str, Curve], levels: Mapping[str, float] | None = None) -> bool:
    """Draw labelled curves of losses in nats, and levels to hold them against, into a PNG.

    Returns False, and draws nothing, without matplotlib.
    """
    if not can_draw():
        return False
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(8, 5), layout="constrained")).subplots()
    for label, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=label, linewidth=1)
    for (label, level), style in zip((levels or {}).items(), cycle(("--", ":", "-."))):
        axes.axhline(level, label=label, linestyle=style, color="0.4", linewidth=1)
    axes.set(xlabel="step", ylabel="loss, nats a token")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return True
