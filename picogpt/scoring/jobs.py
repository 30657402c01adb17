"""Scoring the texts of a corpus: what is done with each record, here or in another process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from picogpt.checkpoints.loaded import Model
from picogpt.corpus.jobs import Prepared, Result, Row
from picogpt.corpus.model import Check, ModelJob, no_check
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError
from picogpt.scoring.regions import Span, find_regions
from picogpt.scoring.report import FIGURES, Scorer, TextScore, n_within, rows_of
from picogpt.scoring.tokens import huggingface_perplexity

By = Literal["text", "word", "token", "region"]


class ScoringJob(ModelJob[Prepared, Scorer]):
    """A job with a `Scorer`."""

    def make_reader(self, model: Model) -> Scorer:
        return Scorer(model, **self.options)


class Encoded(NamedTuple):
    """A text and what stands before it, with the ids of both, of which the first `n_before` are not the text's."""

    text: str
    ids: list[int]
    n_before: int
    spans: Sequence[Span] = ()


class TextJob(ScoringJob[Encoded]):
    """Scores a column's texts: the figures of each, and rows of its tokens, words or regions.

    `prefix` is a column with what stands before a text and is not scored; unless there is a `separator`, a space
    joins them where there is none. `regions` is a column that `find_regions` understands. With `n_previous` words and
    regions have the surprisals of those before them too, and with `contextual_entropy` the entropy before them.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        check: Check = no_check,
        *,
        by: By = "text",
        column: str = "text",
        prefix: str | None = None,
        separator: str | None = None,
        regions: str | None = None,
        n_previous: int = 0,
        contextual_entropy: bool = False,
        hf_perplexity: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(load, check, **{"details": by == "token" or contextual_entropy, **options})
        self.by, self.column, self.prefix, self.separator, self.regions = by, column, prefix, separator, regions
        self.hf_perplexity = hf_perplexity
        spill_over = tuple(f"previous_{i}" for i in range(1, n_previous + 1))
        figures = ("n_tokens", "surprisal", *(("entropy",) if contextual_entropy else ()), *spill_over)
        self.part_columns: tuple[str, ...] = {  # in a table the text is last, since it is as long as it likes
            "token": ("id", "logprob", "surprisal", "rank", "entropy", "token"),
            "word": (*figures, "word"),
            "region": (*figures, "region"),
        }.get(by, ())
        self.columns = self.part_columns or (("n_tokens", "hf_perplexity") if hf_perplexity else FIGURES)

    def prepare(self, record: Record) -> Encoded:
        spans: Sequence[Span] = ()
        if self.regions is not None:
            has_text = self.column in record.fields and self.column != self.regions
            text = record.text(self.column) if has_text else None
            text, spans = find_regions(record.text(self.regions), text)
        else:
            text = record.text(self.column)
        if self.prefix is None or not (prefix := record.text(self.prefix)):
            return Encoded(text, self.encode(text), 0, spans)
        ids = self.encode(prefix + between(prefix, text, self.separator) + text)
        n_before = n_within(self.reader.encoder, [ids], self.reader.n_decoded(prefix))
        if n_before == len(ids):
            raise PicoGPTError("nothing to score: the text has no tokens")
        return Encoded(text, ids, n_before, spans)

    def measure(self, prepared: Sequence[Encoded]) -> Iterable[Result]:
        if self.hf_perplexity:
            return [self.perplexity(text) for text in prepared]
        scores = self.reader.score_encoded([(text.text, text.ids) for text in prepared])
        return [self.result(text, score) for text, score in zip(prepared, scores, strict=True)]

    def perplexity(self, text: Encoded) -> Result:
        reader = self.reader
        figure = huggingface_perplexity(text.ids, reader.params, reader.n_head, reader.stride)
        return Result({"n_tokens": len(text.ids), "hf_perplexity": figure})

    def result(self, text: Encoded, score: TextScore) -> Result:
        score = score.after(text.n_before, text.text)
        try:
            rows: Sequence[Row] = ()
            if self.by != "text":
                rows = score.regions(text.spans) if self.by == "region" else rows_of(score, self.by)
        except PicoGPTError as error:
            return Result({}, (), str(error))
        return Result(score.summary, list(arrange(rows, self.part_columns)))


def arrange(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Row]:
    """The rows with these columns, of which `previous_1` is the surprisal of the row before, and so on."""
    for i, row in enumerate(rows):
        spill_over = {
            column: rows[back]["surprisal"] if (back := i - int(column.removeprefix("previous_"))) >= 0 else math.nan
            for column in columns
            if column.startswith("previous_")
        }
        yield {column: spill_over[column] if column in spill_over else row[column] for column in columns}


def between(prefix: str, text: str, separator: str | None = None) -> str:
    """What joins two texts: the separator, or else a space where there is none."""
    if separator is not None:
        return separator
    return "" if not prefix or prefix[-1:].isspace() or text[:1].isspace() else " "
