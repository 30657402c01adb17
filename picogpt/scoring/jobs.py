"""Scoring the texts of a corpus: what is done with each record, here or in another process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

from picogpt.checkpoints.fingerprint import arrays
from picogpt.checkpoints.loaded import Model
from picogpt.checkpoints.names import flatten
from picogpt.corpus.jobs import Job, Prepared, Result, Row
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError
from picogpt.scoring.regions import Span, find_regions
from picogpt.scoring.report import FIGURES, Scorer, TextScore, n_within, rows_of
from picogpt.scoring.tokens import huggingface_perplexity
from picogpt.tokenizers import Tokenizer

By = Literal["text", "word", "token", "region"]
Check = Callable[[Tokenizer, str], None]  # raises `PicoGPTError` for a text that is not to be encoded


def no_check(encoder: Tokenizer, text: str) -> None:
    """The tokenizer itself refuses what must not be in a text."""


class ModelJob(Job[Prepared]):
    """A job that needs a model: what is sent is how to load it, and it is loaded once in each process."""

    def __init__(self, load: Callable[[], Model], check: Check = no_check, **options: Any) -> None:
        self.load, self.check, self.options = load, check, options

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer(self.load(), **self.options)

    def with_model(self, model: Model) -> Self:
        """The job with a model that is loaded already, for this process."""
        self.scorer = Scorer(model, **self.options)
        return self

    def begin(self) -> None:
        _ = self.scorer

    def n_bytes_of_copy(self) -> int:
        """What the weights take in one more process: nothing if they are mapped from a file."""
        weights = [array for param in flatten(self.scorer.params).values() for array in arrays(param)]
        return sum(array.nbytes for array in weights if array.flags.writeable)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "scorer"}

    def encode(self, text: str) -> list[int]:
        """A text's ids; raises `PicoGPTError` when there is nothing to score in it."""
        self.check(self.scorer.encoder, text)
        return self.scorer.encode(text)


class Encoded(NamedTuple):
    """A text and what stands before it, with the ids of both, of which the first `n_before` are not the text's."""

    text: str
    ids: list[int]
    n_before: int
    spans: Sequence[Span] = ()


class TextJob(ModelJob[Encoded]):
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
            text = record.text(self.column) if self.column in record.fields else None
            text, spans = find_regions(record.text(self.regions), text)
        else:
            text = record.text(self.column)
        if self.prefix is None or not (prefix := record.text(self.prefix)):
            return Encoded(text, self.encode(text), 0, spans)
        ids = self.encode(prefix + between(prefix, text, self.separator) + text)
        n_before = n_within(self.scorer.encoder, [ids], prefix)
        if n_before == len(ids):
            raise PicoGPTError("nothing to score: the text has no tokens")
        return Encoded(text, ids, n_before, spans)

    def measure(self, prepared: Sequence[Encoded]) -> Iterable[Result]:
        if self.hf_perplexity:
            return [self.perplexity(text) for text in prepared]
        scores = self.scorer.score_encoded([(text.text, text.ids) for text in prepared])
        return [self.result(text, score) for text, score in zip(prepared, scores, strict=True)]

    def perplexity(self, text: Encoded) -> Result:
        scorer = self.scorer
        figure = huggingface_perplexity(text.ids, scorer.params, scorer.n_head, scorer.stride)
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
