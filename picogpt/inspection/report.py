"""What a trace says, as plain rows: for tables, for JSON and for the page."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from picogpt.checkpoints.loaded import Model
from picogpt.inspection.attribution import direct_logit_attribution
from picogpt.inspection.lens import LogitLens, log_softmax
from picogpt.inspection.sources import source_lines
from picogpt.inspection.targets import token_texts
from picogpt.inspection.trace import Trace
from picogpt.tokenizers import Tokenizer, inner_bytes
from picogpt.types import Array, Ids

Row = dict[str, Any]  # column -> value


def token_rows(encoder: Tokenizer, ids: Ids) -> list[Row]:
    """The tokens of a prompt, `[n_seq]`."""
    texts = token_texts(encoder, ids)
    return [{"id": int(i), "token": text} for i, text in zip(ids, texts, strict=True)]


def token_row(encoder: Tokenizer, token: int) -> Row:
    """A token that could follow."""
    return {"id": int(token), "token": inner_bytes(encoder, int(token)).decode("utf-8", "replace")}


def lens_rows(encoder: Tokenizer, lens: LogitLens) -> list[list[list[Row]]]:
    """For each layer and position of one prompt the likeliest next tokens, the likeliest first."""
    return [
        [likely_rows(encoder, *position) for position in zip(*layer, strict=True)]
        for layer in zip(lens.ids, lens.probabilities, strict=True)
    ]


def likely_rows(encoder: Tokenizer, ids: Ids, probabilities: Array) -> list[Row]:  # [k], [k]
    """Tokens with their probabilities."""
    rows = map(partial(token_row, encoder), ids)
    return [{**row, "probability": float(p)} for row, p in zip(rows, probabilities, strict=True)]


def attribution_rows(values: Trace, model: Model, target: int) -> Row:
    """What each part adds to the target's logit after the last token."""
    parts = direct_logit_attribution(values, model.params, model.hparams["n_head"], target)
    return {
        **token_row(model.encoder, target),
        "logit": float(parts.logit),
        **{name: np.asarray(part).tolist() for name, part in parts._asdict().items()},
    }


def change_rows(encoder: Tokenizer, before: Array, after: Array, k: int) -> list[Row]:
    """What a change makes of a prediction: the k likeliest tokens before it and after it, of logits `[n_vocab]`."""
    of_before, of_after = (np.exp(log_softmax(logits)) for logits in (before, after))
    best = np.union1d(np.argsort(-of_before, kind="stable")[:k], np.argsort(-of_after, kind="stable")[:k])
    order = best[np.argsort(-of_before[best], kind="stable")]
    return [
        {**row, "before": float(of_before[i]), "after": float(of_after[i])}
        for row, i in zip(map(partial(token_row, encoder), order), order, strict=True)
    ]


def shape_rows(values: Trace) -> list[Row]:
    """The way of the data: each value, its shape, its norm and the line of model.py that made it."""
    lines = source_lines()
    return [
        {"name": name, "shape": list(array.shape), "norm": norm(array), **lines(name)} for name, array in values.items()
    ]


def norm(array: Array) -> float:
    """The Euclidean norm; in scores only of what may be looked at."""
    return float(np.linalg.norm(array[array > -1e9].astype(np.float64)))
