"""Texts to read, from the command line, files and pipes: one record each, with what identifies it."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.cli.text import LOOKS_LIKE_A_FILE, check_argument, decode_utf8, is_file
from picogpt.errors import PicoGPTError, what

FORMATS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON's escapes can make one, and UTF-8 cannot express it


class Record(NamedTuple):
    """A text and its place. `text` is a message where there is none to read: then `is_bad`."""

    source: str
    row: int  # the number of its line, from 1; in a CSV file of its last line
    id: str | None
    text: str
    is_bad: bool = False

    @property
    def place(self) -> str:
        return f"{self.source}, line {self.row}"


def add_input_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="*", metavar="TEXT|FILE", help="a text, or files (default: standard input)")
    parser.add_argument(
        "--format",
        choices=("text", "lines", "tsv", "csv", "jsonl"),
        help="a whole file is a text, or each line, or a column of each row, or a key of each JSON line "
        "(default: what the file's name ends in; text)",
    )
    parser.add_argument("--lines", dest="format", action="store_const", const="lines", help="short for --format lines")
    parser.add_argument("--column", "--key", default="text", metavar="NAME", help="where the text is (default: text)")
    parser.add_argument("--id", metavar="NAME", help="the column or key that identifies a row; it is in the output")


def require_input(args: argparse.Namespace) -> None:
    """Raises `PicoGPTError` where the text would have to be typed."""
    if not args.inputs and sys.stdin is not None and sys.stdin.isatty():
        raise PicoGPTError("there is no text: give it in quotes, or a file, or pipe it in")


def is_one_text(args: argparse.Namespace) -> bool:
    """Whether the input is a single text, and not rows that may be many."""
    formats = {args.format or FORMATS.get(Path(name).suffix, "text") for name in files(args.inputs) or ["-"]}
    return formats == {"text"} and len(args.inputs) < 2


def files(inputs: list[str]) -> list[str]:
    """The inputs, if they are files; none, if they are a text or nothing. Raises `PicoGPTError` for a lost file."""
    if len(inputs) == 1 and not is_file(inputs[0]) and not inputs[0].endswith(LOOKS_LIKE_A_FILE):
        return []
    for name in inputs:
        if not is_file(name):
            raise PicoGPTError(f"there is no file {name} (a text with spaces goes into quotes)")
    return inputs


def read_records(args: argparse.Namespace) -> Iterator[Record]:
    """Every record in its order, bad ones too."""
    names = files(args.inputs)
    if args.inputs and not names:
        yield Record("the text", 1, None, check_argument(args.inputs[0], "the text"))
    elif not names:
        yield from read_file("standard input", sys.stdin.buffer if sys.stdin is not None else io.BytesIO(), args)
    for name in names:
        try:
            with Path(name).open("rb") as file:
                yield from read_file(as_utf8(name), file, args)
        except OSError as error:
            raise PicoGPTError(f"{name} cannot be read: {what(error)}") from None


def as_utf8(name: str) -> str:
    """A file's name as rows have it, which are UTF-8: bytes that are not become escapes."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def read_file(name: str, file: Iterable[bytes] | io.BufferedIOBase, args: argparse.Namespace) -> Iterator[Record]:
    kind = args.format or FORMATS.get(Path(name).suffix, "text")
    if kind == "text":
        yield Record(name, 1, None, decode_utf8(b"".join(file), name))
    elif kind == "lines":
        for row, line in enumerate(file, 1):
            yield record(name, row, None, line.rstrip(b"\r\n").decode(errors="surrogateescape"))
    elif kind == "jsonl":
        for row, line in enumerate(file, 1):
            if line.strip():
                yield json_record(name, row, line, args)
    else:
        yield from table_records(name, file, args, kind)


def json_record(name: str, row: int, line: bytes, args: argparse.Namespace) -> Record:
    try:
        value = json.loads(decode_utf8(line, "the line"))
    except PicoGPTError as error:
        return Record(name, row, None, str(error), is_bad=True)
    except (ValueError, RecursionError) as error:
        return Record(name, row, None, f"not JSON: {error}", is_bad=True)
    if not isinstance(value, dict) or not isinstance(value.get(args.column), str):
        return Record(name, row, None, f"no text under the key {args.column!r}", is_bad=True)
    if args.id is not None and args.id not in value:
        return Record(name, row, None, f"no key {args.id!r}", is_bad=True)
    identifier, text = None if args.id is None else str(value[args.id]), value[args.column]
    if LONE_SURROGATE.search(f"{identifier} {text}"):
        return Record(name, row, None, "a lone surrogate, which is no character", is_bad=True)
    return Record(name, row, identifier, text)


def table_records(name: str, file: Iterable[bytes], args: argparse.Namespace, kind: str) -> Iterator[Record]:
    """Rows of a table under a line of column names. Fields of a CSV file may be in quotes, those of a TSV are not."""
    csv.field_size_limit(sys.maxsize)
    lines = (line.decode(errors="surrogateescape") for line in file)
    dialect: dict[str, Any] = {} if kind == "csv" else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    rows = csv.reader(lines, **dialect)
    header = [column.removeprefix("\ufeff") for column in next(rows, [])]
    for column in filter(None, (args.column, args.id)):
        if column not in header:
            raise PicoGPTError(f"{name} has no column {column!r}; its columns are {', '.join(header) or 'none'}")
    text, identifier = header.index(args.column), header.index(args.id) if args.id is not None else None
    for fields in rows:
        if not fields:
            continue
        if len(fields) != len(header):
            message = f"{len(fields)} fields where the header has {len(header)}"
            yield Record(name, rows.line_num, None, message, is_bad=True)
        else:
            yield record(name, rows.line_num, None if identifier is None else fields[identifier], fields[text])


def record(name: str, row: int, identifier: str | None, text: str) -> Record:
    """A record whose text and id may have been bytes that are not UTF-8, which are surrogates now."""
    try:
        if identifier is not None:
            check_argument(identifier, "the id")
        return Record(name, row, identifier, check_argument(text, "the text"))
    except PicoGPTError as error:
        return Record(name, row, None, str(error), is_bad=True)
