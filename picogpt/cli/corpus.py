"""A command's way through its inputs, from records to rows: the same for all that score a corpus."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from picogpt.cli.description import Description, in_words, kept
from picogpt.cli.options import model_name
from picogpt.cli.parts import run_parts
from picogpt.cli.progress import Progress
from picogpt.cli.records import Input
from picogpt.cli.results import Row, Writer, growing
from picogpt.cli.text import check_special, special_options
from picogpt.cli.workers import MANY, spread
from picogpt.corpus import loop
from picogpt.corpus.jobs import Result
from picogpt.corpus.records import Record
from picogpt.corpus.shape import Shape
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.corpus.model import ModelJob


class Output:
    """Where the results of a run go. `seen` is told of every row."""

    def __init__(
        self,
        writer: Writer,
        progress: Progress,
        shape: Shape,
        columns: dict[str, str],
        strict: bool,
        seen: Callable[[Row], None] | None = None,
    ) -> None:
        self.writer, self.progress, self.shape, self.columns = writer, progress, shape, columns
        self.strict, self.seen = strict, seen
        self.n_bad = 0

    def has(self, record: Record) -> bool:
        return self.writer.has(record.source, record.line)

    def write(self, record: Record, result: Result) -> None:
        rows = self.shape.rows(record, result, self.columns)
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

    def close(self) -> None:
        """Say how many records were left out."""
        if self.n_bad:
            print(f"picogpt: {self.n_bad} bad row{'s' if self.n_bad > 1 else ''} left out", file=sys.stderr)


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """How a job loads its model, and how that reads texts."""
    from picogpt.pretrained import load

    return {
        "load": partial(load, model_name(args), args.models_dir, args.dtype),
        "check": partial(check_special, special=args.special),
        "bos": args.bos,
        **special_options(args.special),
    }


def run(
    args: argparse.Namespace,
    job: ModelJob[Any, Any],
    describe: Callable[[], Description],
    *,
    needed: Sequence[str],
    parts: str | None = None,
    left_out: Sequence[str] = (),
    along: Sequence[str] = (),
    seen: Callable[[Row], None] | None = None,
    brightest: float | None = None,
) -> None:
    """Work through the inputs and write a row or more for each record, in their order.

    The records' columns come along as `Shape` says. `describe` is asked for what a file, or a program, has to know of
    the rows; `seen` is told of every row, also of those that an earlier run wrote; `brightest` is the `Writer`'s. Bad
    records are reported and left out. Raises `PicoGPTError` where no record has the columns that are needed.
    """
    description = describe() if args.form != "table" else {}
    ids = None if args.id is None else tuple(args.id)
    shape = Shape(args.form, model_name(args), job.columns, parts, ids, tuple(left_out), tuple(along))
    if args.output_dir is not None:
        run_parts(args, job, description, shape, [*needed, *(ids or ()), *along])
        return
    with Input(args) as records:
        survey = records.survey()
        survey.require([*needed, *(ids or ()), *along])
        keeping = (
            nullcontext()
            if args.output is None
            else kept(description, args.output, args.resume, [growing(args.output)])
        )
        meta = description if args.meta else None
        form, file = args.form, args.output
        with keeping, Writer(form, file, meta, seen, brightest) as writer, Progress(survey.n_records) as progress:
            output = Output(writer, progress, shape, shape.columns(survey.columns), args.strict, seen)
            with spread(args, job, survey.n_records > MANY) as side_by_side:
                loop.run(records, job, output, side_by_side)
    if args.output is None and args.form != "table":
        print(f"picogpt: {in_words(description)}", file=sys.stderr)
    output.close()
