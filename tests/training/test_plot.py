"""Pictures of losses say what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from picogpt.training.plot import draw_losses


def test_losses_have_a_title_and_mark_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *arguments, **options: drawn.append(figure))
    curves: dict[str, Any] = {"training": [(10, 3.0), (20, 1.0)], "validation": [(10, 2.5), (20, 2.0), (30, 2.25)]}
    assert draw_losses(tmp_path / "loss.png", curves, "Training a model", saved=30)
    (axes,) = drawn[0].axes
    assert axes.get_title() == "Training a model"
    (legend,) = drawn[0].legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["training", "validation", "lowest validation loss: 2.000, step 20", "saved: step 30"]
    dashed = next(line for line in axes.get_lines() if line.get_label() == "saved: step 30")
    np.testing.assert_array_equal(dashed.get_xdata(), 30)
