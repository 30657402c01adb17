"""What may be asked of the pass over one prompt, and the answers as JSON has them: for the command and the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from picogpt.checkpoints.loaded import Model
from picogpt.checkpoints.names import explain_non_finite
from picogpt.inspection import attribution, report
from picogpt.inspection.ablation import without_heads, without_mlps
from picogpt.inspection.lens import logit_lens
from picogpt.inspection.report import Row
from picogpt.inspection.targets import token_texts
from picogpt.inspection.trace import Changes, Trace, trace
from picogpt.performance import project
from picogpt.types import Array

LAST = "ln_final.normalized"


@dataclass(frozen=True)
class Question:
    """What is asked of a prompt. Layers and heads count from 0; a head is (layer, head)."""

    k: int = 3  # next tokens at each position
    lens: bool = False  # what each layer would predict, and the next tokens
    attention: tuple[int, int] | None = None  # which token looks at which in this head
    heads: bool = False  # the same of all of them
    target: int | None = None  # the token whose logit is to be taken apart
    ablated_heads: Sequence[tuple[int, int]] = ()  # everything is then that of the changed pass
    ablated_mlps: Sequence[int] = ()
    shapes: bool = False  # each value's shape and norm, and the line of model.py that made it
    values: Sequence[str] = ()  # the names of others that are kept
    every_value: bool = False

    def names(self) -> Iterator[str]:
        """The values that are needed for the answer."""
        yield LAST
        yield from self.values
        if self.lens:
            yield "blocks.*.resid_post"
        if self.heads:
            yield "blocks.*.attn.pattern"
        if self.attention is not None:
            yield f"blocks.{self.attention[0]}.attn.pattern"
        if self.target is not None:
            yield from attribution.VALUES
        if self.every_value or self.shapes:
            yield "*"


class Look:
    """The answers; what they have in common is computed once."""

    def __init__(self, model: Model, ids: Sequence[int], question: Question) -> None:
        self.model, self.ids, self.question = model, ids, question
        self.n_head = model.hparams["n_head"]

    @cached_property
    def values(self) -> Trace:
        """The values that are needed, of the pass without what is ablated.

        Raises `PicoGPTError` for what does not exist, and where the last hidden states are not finite.
        """
        values = trace(self.ids, self.model.params, self.n_head, list(self.question.names()), changes=self.changes())
        check_finite(values, self.model)
        values.model = self.model
        values.tokens = token_texts(self.model.encoder, values.ids)
        return values

    def changes(self) -> Changes:
        asked = self.question
        return {
            **without_heads(self.model.params, self.n_head, asked.ablated_heads),
            **without_mlps(self.model.params, self.n_head, asked.ablated_mlps),
        }

    def report(self) -> dict[str, Any]:
        """What was asked for, by its name."""
        asked, encoder, values = self.question, self.model.encoder, self.values
        found: dict[str, Any] = {"tokens": report.token_rows(encoder, values.ids)}
        if asked.lens:
            lens = report.lens_rows(encoder, logit_lens(values, self.model.params, self.n_head, k=asked.k))
            found |= {"next": lens[-1], "lens": lens}
        if asked.ablated_heads or asked.ablated_mlps:
            parts = {"heads": asked.ablated_heads, "mlps": asked.ablated_mlps}
            found["ablated"] = {name: part for name, part in parts.items() if part} | {"next": self.predictions()}
        if asked.attention is not None:
            layer, head = asked.attention
            pattern = values[f"blocks.{layer}.attn.pattern"][head]
            found["attention"] = {"layer": layer, "head": head, "pattern": pattern.tolist()}
        if asked.heads:
            found["heads"] = [values[f"blocks.{i}.attn.pattern"].tolist() for i in range(values.n_layer)]
        if asked.target is not None:
            found["attribution"] = report.attribution_rows(values, self.model, asked.target)
        if asked.shapes:
            found["shapes"] = report.shape_rows(values)
        return found

    def predictions(self) -> list[Row]:
        """What comes after the prompt, before and after the ablation."""
        before = trace(self.ids, self.model.params, self.n_head, LAST)
        check_finite(before, self.model)
        of_before, of_after = (self.last_logits(values) for values in (before, self.values))
        return report.change_rows(self.model.encoder, of_before, of_after, max(5, self.question.k))

    def last_logits(self, values: Trace) -> Array:  # -> [n_vocab]
        return project(values[LAST][-1:], self.model.params["wte"])[0]


def check_finite(values: Trace, model: Model) -> None:
    """Raises `PicoGPTError`, which names the weights to blame, where the last hidden states are not finite."""
    if not np.isfinite(values[LAST]).all():
        raise explain_non_finite(model.params)
