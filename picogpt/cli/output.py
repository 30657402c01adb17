"""The options of the commands that work through a corpus: in what form rows are written, and where."""

from __future__ import annotations

import argparse
from pathlib import Path

from picogpt.cli.workers import add_worker_options
from picogpt.corpus.tables import FORMS, import_pyarrow
from picogpt.errors import PicoGPTError


def add_output_options(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    for name, what in (
        ("csv", "comma-separated values"),
        ("tsv", "tab-separated values"),
        ("raw-tsv", "the same without quotes, as awk and cut want it: backslash escapes"),
        ("jsonl", "a JSON object for each text"),
        ("parquet", "Parquet, in files (needs pyarrow)"),
    ):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=what)
    add = parser.add_argument
    add("--output", type=Path, metavar="FILE", help="write to a file: .csv, .tsv, .jsonl or .parquet, by its name")
    add(
        "--output-dir",
        metavar="DIR",
        help="a file of JSON lines, or Parquet, for each input, whose names may have * "
        "and be addresses such as s3:// (needs fsspec); files that are there are not made again",
    )
    add("--resume", action="store_true", help="continue the --output of a run that was stopped")
    add("--strict", action="store_true", help="end at the first bad row (default: report it and leave it out)")
    add("--meta", action="store_true", help="begin JSON lines with one that says what was measured, and with what")
    add_worker_options(parser)


def form_of(args: argparse.Namespace) -> str:
    """The form of the rows: what is said, or what the file's name asks for; else a table for people."""
    output: Path | None = args.output
    form: str | None = args.form
    if args.output_dir is not None:
        form = check_parts(args)
    if output is not None:
        named = FORMS.get(output.suffix)
        if named is None and form is None:
            raise PicoGPTError(f"say --csv, --tsv or --jsonl, or let the name {output} end so")
        if named is not None and form not in (None, named) and (named, form) != ("tsv", "raw-tsv"):
            raise PicoGPTError(f"--{form} contradicts the name {output}: leave it out, or name the file otherwise")
        form = form or named
    if form == "parquet":
        import_pyarrow()
    if form == "parquet" and output is None and args.output_dir is None:
        raise PicoGPTError("Parquet is for files: say --output FILE.parquet")
    if args.meta and (form != "jsonl" or args.output_dir is not None):
        raise PicoGPTError("--meta is for a file of JSON lines: say --jsonl")
    return form or "table"


def check_parts(args: argparse.Namespace) -> str:
    """The form of an --output-dir's files; raises `PicoGPTError` for what does not go with it."""
    contradictions = [
        (args.output is not None, "--output is one file and --output-dir one for each input: leave one of the two out"),
        (args.resume, "--output-dir goes on by itself: leave out --resume"),
        (not args.inputs, "--output-dir has a file for each input: name the inputs"),
        (args.form not in (None, "jsonl", "parquet"), "the files of an --output-dir are --jsonl or --parquet"),
    ]
    for wrong, message in contradictions:
        if wrong:
            raise PicoGPTError(message)
    return args.form or "jsonl"
