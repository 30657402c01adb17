"""Accuracies and their intervals."""

from __future__ import annotations

import pytest

from picogpt.scoring.accuracy import Tally, wilson_interval


def test_the_interval_is_wilsons() -> None:
    """Figures of Newcombe 1998, table I."""
    for n_right, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(n_right, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(20, 20) == pytest.approx((1 - 0.1611, 1), abs=5e-5)
    assert wilson_interval(0, 0) == (0, 1)


def test_groups_and_the_whole() -> None:
    """A group may be called as the whole is."""
    tally = Tally("acc", "acc_norm")
    assert tally.rows() == []
    for group, right in (("b", 1), ("all", 0), ("b", 0), ("all", 0)):
        tally.add({"acc": right, "acc_norm": 1}, group)
    rows = [(row["figure"], row["group"], row["n"], row["accuracy"]) for row in tally.rows()]
    assert rows[:3] == [("acc", "all", 2, 0.0), ("acc", "b", 2, 0.5), ("acc", "all", 4, 0.25)]
    assert rows[5] == ("acc_norm", "all", 4, 1.0)
