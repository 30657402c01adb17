"""A corpus in parts: each file of it becomes one file of rows, whoever works on it, and is done as a whole or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple

from picogpt.corpus import loop, storage
from picogpt.corpus.jobs import Job, Result
from picogpt.corpus.records import Record, kind_of, read
from picogpt.corpus.shape import Shape
from picogpt.corpus.tables import json_line, write_parquet
from picogpt.errors import PicoGPTError, listed

N_TOLD = 5  # bad records of a part whose places are told


class Part(NamedTuple):
    """A file of the corpus, and the file that its rows become."""

    source: str
    target: str


class Report(NamedTuple):
    """What came of a part."""

    part: Part
    n_records: int
    n_bad: int
    bad: list[str]  # the first of them


class PartsJob:
    """Works through the records of a part, in the batches in which any other run would read them."""

    def __init__(
        self, job: Job[Any], shape: Shape, needed: Sequence[str], format: str | None, column: str, strict: bool
    ) -> None:
        self.job, self.shape, self.needed, self.format, self.column = job, shape, tuple(needed), format, column
        self.strict = strict

    def begin(self) -> None:
        self.job.begin()

    def __call__(self, part: Part) -> Report:
        with TemporaryDirectory() as folder:
            rows, finished = Path(folder) / "rows", Path(folder) / "finished"
            with rows.open("w", encoding="utf-8", newline="") as file, storage.open_source(part.source) as source:
                sink = PartSink(file, self.shape, self.strict)
                kind = kind_of(part.source.removesuffix(".gz"), self.format)
                loop.run(read(part.source, source, kind, self.column), self.job, sink)
            missing = [column for column in self.needed if column not in sink.found]
            if missing and sink.found:
                raise PicoGPTError(
                    f"{part.source} has no column {missing[0]!r}; its columns are {listed(map(str, sink.found))}"
                )
            if self.shape.form == "parquet":
                write_parquet(rows, finished)
            storage.keep(finished if self.shape.form == "parquet" else rows, part.target)
        return Report(part, sink.n_records, sink.n_bad, sink.bad)


class PartSink:
    """Keeps a part's rows as JSON lines."""

    def __init__(self, file: IO[str], shape: Shape, strict: bool) -> None:
        self.file, self.shape, self.strict = file, shape, strict
        self.n_records = self.n_bad = 0
        self.bad: list[str] = []
        self.found: dict[str, None] = {}  # columns

    def has(self, record: Record) -> bool:
        self.n_records += 1
        self.found.update(dict.fromkeys(record.fields))
        return False

    def write(self, record: Record, result: Result) -> None:
        for row in self.shape.rows(record, result, self.shape.columns(list(record.fields))):
            self.file.write(json_line(row))

    def refuse(self, record: Record, why: str) -> None:
        if self.strict:
            raise PicoGPTError(f"{record.place}: {why}")
        self.n_bad += 1
        if len(self.bad) < N_TOLD:
            self.bad.append(f"{record.place}: {why}")

    def advance(self, n_records: int, worked: bool = True) -> None:
        """Nobody is told of a part before it is done."""


def parts_of(sources: Sequence[str], directory: str, form: str) -> list[Part]:
    """Where the rows of each file go; raises `PicoGPTError` where two would go to one file."""
    names = [source.rsplit("/", 1)[-1].removesuffix(".gz") for source in sources]
    targets = [f"{name.rpartition('.')[0] or name}.{form}" for name in names]
    if twice := {target for target in targets if targets.count(target) > 1}:
        raise PicoGPTError(f"several inputs would become {listed(sorted(twice))}; give them in runs of their own")
    return [Part(source, storage.inside(directory, target)) for source, target in zip(sources, targets, strict=True)]
