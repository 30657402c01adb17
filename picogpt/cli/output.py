"""The commands that work through a corpus: their options for what is written, and the run itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from picogpt.cli.description import Description, in_words, kept
from picogpt.cli.progress import Progress
from picogpt.cli.records import Input
from picogpt.cli.results import Row, Writer
from picogpt.corpus import loop
from picogpt.corpus.jobs import Job, Result
from picogpt.corpus.records import Record
from picogpt.corpus.tables import FORMS, import_pyarrow
from picogpt.errors import PicoGPTError

PLACE = ("source", "line", "model", "index")  # what every row may have


def add_output_options(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    for name, what in (
        ("csv", "comma-separated values"),
        ("tsv", "tab-separated values"),
        ("raw-tsv", "the same without quotes, as awk and cut want it: backslash escapes"),
        ("jsonl", "a JSON object for each text"),
    ):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=what)
    add = parser.add_argument
    add("--output", type=Path, metavar="FILE", help="write to a file: .csv, .tsv, .jsonl or .parquet, by its name")
    add("--resume", action="store_true", help="continue the --output of a run that was stopped")
    add("--strict", action="store_true", help="end at the first bad row (default: report it and leave it out)")
    add("--meta", action="store_true", help="begin JSON lines with one that says what was measured, and with what")


def form_of(args: argparse.Namespace) -> str:
    """The form of the rows: what is said, or what the file's name asks for; else a table for people."""
    output: Path | None = args.output
    form: str | None = args.form
    if output is not None:
        named = FORMS.get(output.suffix)
        if named is None and form is None:
            raise PicoGPTError(f"say --csv, --tsv or --jsonl, or let the name {output} end so")
        if named is not None and form not in (None, named) and (named, form) != ("tsv", "raw-tsv"):
            raise PicoGPTError(f"--{form} contradicts the name {output}: leave it out, or name the file otherwise")
        form = form or named
    if form == "parquet":
        import_pyarrow()
    if args.meta and form != "jsonl":
        raise PicoGPTError("--meta is for JSON lines: say --jsonl")
    return form or "table"


class Output:
    """Where the results of a run go: rows with their place, the model's name and the columns of the input.

    `parts` is what the parts of a text are called, if the rows are these and not the texts; `seen` is told of each.
    """

    def __init__(
        self,
        writer: Writer,
        progress: Progress,
        args: argparse.Namespace,
        job: Job[Any],
        model: str,
        columns: Sequence[str],
        parts: str | None,
        seen: Callable[[Row], None] | None,
    ) -> None:
        self.writer, self.progress, self.model, self.parts, self.seen = writer, progress, model, parts, seen
        self.strict, self.form = args.strict, args.form
        self.columns = {column: free_name(column, job.columns) for column in columns}
        self.is_identified = args.id is not None
        self.n_bad = 0

    def has(self, record: Record) -> bool:
        return self.writer.has(record.source, record.line)

    def write(self, record: Record, result: Result) -> None:
        rows = self.rows(record, result)
        self.writer.write(rows)
        if self.seen is not None:
            for row in rows:
                self.seen(row)

    def refuse(self, record: Record, why: str) -> None:
        message = f"{record.place}: {why}"
        if self.strict:
            raise PicoGPTError(message)
        self.progress.say(f"{message}; left out")
        self.n_bad += 1

    def advance(self, n_records: int, worked: bool = True) -> None:
        self.progress.advance(n_records, worked)

    def rows(self, record: Record, result: Result) -> list[Row]:
        """A text's rows as its form has them."""
        head: Row = {"source": record.source, "line": record.line, "model": self.model}
        if self.form == "jsonl":
            fields = {self.columns[name]: value for name, value in record.fields.items() if name in self.columns}
            return [{**head, **fields, **result.summary, **({self.parts: list(result.parts)} if self.parts else {})}]
        fields = {new: record.fields.get(name) for name, new in self.columns.items()}
        if self.form != "parquet":
            fields = {name: plain(value) for name, value in fields.items()}
        if self.form == "table":
            head = {} if self.is_identified else {"line": record.line}
        if self.parts is None:
            return [{**head, **fields, **result.summary}]
        return [{**head, **fields, "index": i, **part} for i, part in enumerate(result.parts)]


def free_name(column: str, taken: Sequence[str]) -> str:
    """The column's name in the output, where one of ours may be called the same."""
    while column in taken or column in PLACE:
        column = f"input_{column}"
    return column


def plain(value: Any) -> str:
    """A field of the input as a table has it: texts and numbers as they were."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def run(
    args: argparse.Namespace,
    job: Job[Any],
    model: str,
    description: Description,
    *,
    needed: Sequence[str],
    parts: str | None = None,
    left_out: Sequence[str] = (),
    along: Sequence[str] = (),
    seen: Callable[[Row], None] | None = None,
) -> None:
    """Work through the inputs and write a row or more for each record, in their order.

    The records' columns come along but for `left_out`: those of --id, or else all, in a table for people none; and
    `along` in any case. `seen` is told of every row, also of those that an earlier run wrote. Bad records are reported
    and left out. Raises `PicoGPTError` where no record has the columns that are needed.
    """
    with Input(args) as records:
        survey = records.survey()
        survey.require([*needed, *(args.id or ()), *along])
        chosen = args.id or (survey.columns if args.form != "table" else [])
        columns = list(dict.fromkeys([*(column for column in chosen if column not in left_out), *along]))
        keeping = nullcontext() if args.output is None else kept(description, args.output, args.resume)
        meta = description if args.meta else None
        with keeping, Writer(args.form, args.output, meta, seen) as writer, Progress(survey.n_records) as progress:
            output = Output(writer, progress, args, job, model, columns, parts, seen)
            loop.run(records, job, output)
    if args.output is None and args.form != "table":
        print(f"picogpt: {in_words(description)}", file=sys.stderr)
    if output.n_bad:
        print(f"picogpt: {output.n_bad} bad row{'s' if output.n_bad > 1 else ''} left out", file=sys.stderr)
