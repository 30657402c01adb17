"""Any value of a pass at the moment that somebody asks for it.

Kept is the residual stream alone, which is little; a block that is asked about is computed again from what enters it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.inspection.names import explain_no_match, value_names
from picogpt.inspection.trace import NO_CHANGES, Changes, Trace, positions_first, tap_of, trace
from picogpt.model import transformer_block, within
from picogpt.performance import project
from picogpt.types import Array, Params

KEPT = ("embed", "pos_embed", "blocks.*.resid_pre", "blocks.*.resid_post", "ln_final.normalized")


class Replay:
    """One pass over ids `[n_seq]`, with the `changes` of `run_with`. `replay["blocks.0.attn.q"]` is that of `trace`.

    Raises `PicoGPTError` for what `trace` refuses.
    """

    def __init__(self, inputs: npt.ArrayLike, params: Params, n_head: int, *, changes: Changes = NO_CHANGES) -> None:
        self.params, self.n_head, self.changes = params, n_head, changes
        self.kept = trace(inputs, params, n_head, KEPT, changes=changes)

    def __getitem__(self, name: str) -> Array:
        if name == "logits":
            return self.logits()
        if name in self.kept:
            return self.kept[name]
        if name not in value_names(self.kept.n_layer):
            raise PicoGPTError(explain_no_match(name, self.kept.n_layer))
        _, layer, short = name.split(".", 2)
        return self.block(int(layer), {short})[short]

    def block(self, layer: int, names: set[str]) -> dict[str, Array]:
        """Values of one block by their short names, such as "attn.pattern"."""
        place = f"blocks.{layer}."
        change = tap_of(self.changes, self.kept.n_layer)
        values: dict[str, Array] = {}

        def keep(name: str, array: Array) -> Array:
            array = array if name == f"{place}resid_pre" else change(name, array)  # that one is changed already
            short = name.removeprefix(place)
            if short in names:
                values[short] = positions_first(name, array)
            return array

        block: dict[str, Any] = self.params["blocks"][layer]
        transformer_block(self.kept[f"{place}resid_pre"], **block, n_head=self.n_head, tap=within(place, keep))
        return values

    def logits(self, positions: slice = slice(None)) -> Array:  # -> [n, n_vocab]
        """What may follow each of these positions."""
        logits = project(self.kept["ln_final.normalized"][positions], self.params["wte"])
        return tap_of(self.changes, self.kept.n_layer)("logits", logits)

    def part(self, positions: slice) -> Trace:
        """A trace of what is kept, at these positions alone: what reads each position by itself may take it."""
        part = Trace(self.kept.ids[positions], self.kept.n_layer, self.changes)
        part.update((name, array[positions]) for name, array in self.kept.items())
        return part

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.kept.values())


def in_small(pattern: Array, side: int) -> Array:  # [n_head, n_seq, n_seq] -> [n_head, m, m], m at most `side`
    """Patterns as pictures of no more than `side` cells along a side; a cell shows the largest share that it covers."""
    n = pattern.shape[-1]
    if n <= side:
        return pattern
    starts = np.arange(side) * n // side
    rows = np.maximum.reduceat(pattern, starts, axis=-2)
    return np.asarray(np.maximum.reduceat(rows, starts, axis=-1))
