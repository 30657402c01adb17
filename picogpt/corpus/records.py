"""Records: the rows of a table, the objects of JSON lines, the lines of a file or a whole file, each with its place."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, decode_utf8, listed, shown

FORMATS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
KINDS = ("text", "lines", "tsv", "csv", "raw-tsv", "jsonl")
DIALECTS: dict[str, dict[str, Any]] = {
    "csv": {"strict": True},
    "tsv": {"strict": True, "delimiter": "\t"},
    "raw-tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON's escapes can make one, and UTF-8 cannot express it


class Record(NamedTuple):
    """What a row has, by column, and its place. `bad` says why there is nothing, where it cannot be read."""

    source: str
    line: int  # from 1; of a row with line ends in its fields the last
    fields: dict[str, Any]
    bad: str | None = None

    @property
    def place(self) -> str:
        return f"{self.source}, line {self.line}"

    def text(self, column: str) -> str:
        """The text in a column; raises `PicoGPTError` where there is none."""
        if self.bad is not None:
            raise PicoGPTError(self.bad)
        value = self.fields.get(column)
        if not isinstance(value, str):
            raise PicoGPTError(f"no text under the key {column!r}")
        return value


def kind_of(name: str, format: str | None = None) -> str:
    """How a file is read: as `format` says, or else as its name does."""
    return format or FORMATS.get(Path(name).suffix, "text")


def read(name: str, file: Iterable[bytes], kind: str, column: str = "text") -> Iterator[Record]:
    """Every record of a file, bad ones too. A text that is no row of a table stands in `column`.

    Raises `PicoGPTError` for a table whose header names a column twice, and for a whole file that is not UTF-8.
    """
    if kind == "text":
        yield Record(name, 1, {column: decode_utf8(b"".join(file), name)})
    elif kind == "lines":
        for number, line in enumerate(file, 1):
            yield checked(name, number, {column: line.rstrip(b"\r\n").decode(errors="surrogateescape")}, "the text")
    elif kind == "jsonl":
        for number, line in enumerate(file, 1):
            if line.strip():
                yield json_record(name, number, line)
    else:
        yield from table_records(name, file, DIALECTS[kind])


def json_record(name: str, number: int, line: bytes) -> Record:
    try:
        value = json.loads(decode_utf8(line, "the line"))
    except PicoGPTError as error:
        return Record(name, number, {}, str(error))
    except (ValueError, RecursionError) as error:
        return Record(name, number, {}, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Record(name, number, {}, f"no object with a text, but {shown(value)}")
    if LONE_SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        return Record(name, number, {}, "a lone surrogate, which is no character")
    return Record(name, number, value)


def table_records(name: str, file: Iterable[bytes], dialect: dict[str, Any]) -> Iterator[Record]:
    """Rows of a table under a line of column names."""
    csv.field_size_limit(sys.maxsize)
    lines = (line.decode(errors="surrogateescape") for line in without_bom(file))
    rows = csv.reader(lines, **dialect)
    header: list[str] | None = None
    while True:
        try:
            fields = next(rows, None)
        except csv.Error as error:
            yield Record(name, rows.line_num, {}, f"a row that cannot be read: {error}; do quotes mean nothing there?")
            continue
        if fields is None:
            return
        if header is None:
            header = fields
            if twice := {column for column in header if header.count(column) > 1}:
                raise PicoGPTError(f"{name} has two columns of one name, {listed(sorted(twice))}; rename one of them")
        elif fields and len(fields) != len(header):
            yield Record(name, rows.line_num, {}, f"{len(fields)} fields where the header has {len(header)}")
        elif fields:
            yield checked(name, rows.line_num, dict(zip(header, fields, strict=True)))


def without_bom(file: Iterable[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(file):
        yield line if number else line.removeprefix(b"\xef\xbb\xbf")


def checked(name: str, number: int, fields: dict[str, Any], what: str | None = None) -> Record:
    """A record of fields that may have been bytes that are not UTF-8, which are surrogates now."""
    try:
        for column, text in fields.items():
            decode_utf8(text.encode(errors="surrogateescape"), what or f"the column {column!r}")
    except PicoGPTError as error:
        return Record(name, number, {}, str(error))
    return Record(name, number, fields)


class Survey:
    """What there is in an input before any of it is scored: how many records, and which columns, in their order.

    `joined` counts the records of each source that have line ends in them: in a TSV, stray quotes may be the cause.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.n_records = 0
        self.joined: dict[str, int] = {}
        columns: dict[str, None] = {}
        for record in records:
            self.n_records += 1
            columns.update(dict.fromkeys(record.fields))
            if any(isinstance(text, str) and "\n" in text for text in record.fields.values()):
                self.joined[record.source] = self.joined.get(record.source, 0) + 1
        self.columns = list(columns)

    def require(self, columns: Iterable[str]) -> None:
        """Raises `PicoGPTError`, with the names there are, for a column that no record has."""
        for column in columns:
            if self.columns and column not in self.columns:
                raise PicoGPTError(f"the input has no column {column!r}; its columns are {listed(self.columns)}")
