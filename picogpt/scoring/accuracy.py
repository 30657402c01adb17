"""How often a model was right, and how sure that figure is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]
Z = 1.959964  # standard deviations to either side that hold 95 % of a normal distribution


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927); unlike the normal one it stays within 0 and 1."""
    if not n:
        return 0.0, 1.0
    p, spread = n_right / n, Z * Z / n
    centre = p + spread / 2
    half = math.sqrt(spread * (p * (1 - p) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return (0.0 if not n_right else low), (1.0 if n_right == n else high)


class Tally:
    """Counts what was right, in all and by group, under one or several names."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.counts: dict[str | None, Counter[str]] = {}  # by group; None for all

    def add(self, right: Mapping[str, int], group: str | None = None) -> None:
        for key in (None,) if group is None else (None, group):
            self.counts.setdefault(key, Counter()).update({"n": 1, **{name: right[name] for name in self.names}})

    def rows(self) -> list[Row]:
        """A row for each name and group, the last of them for all: how many, accuracy, and the ends of its interval."""
        groups = [*sorted(group for group in self.counts if group is not None), *([None] if self.counts else [])]
        found = []
        for name in self.names:
            for group in groups:
                n, n_right = self.counts[group]["n"], self.counts[group][name]
                low, high = wilson_interval(n_right, n)
                row = {"n": n, "accuracy": n_right / n, "low": low, "high": high, "figure": name}
                found.append({**row, "group": "all" if group is None else group})
        return found
