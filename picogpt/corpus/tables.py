"""What is written: cells and lines of tables that every reader parses, JSON lines, and Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from picogpt.corpus.jobs import Row
from picogpt.errors import PicoGPTError
from picogpt.files import replacing, without_nan

FORMS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
DELIMITERS = {"tsv": "\t", "csv": ",", "raw-tsv": "\t"}
GROUP = 50_000  # rows of a Parquet file that are in memory at a time


def json_line(row: Row) -> str:
    return json.dumps(without_nan(row), ensure_ascii=False, allow_nan=False) + "\n"


def cell(value: Any, n_digits: int = 6) -> str:
    """The value as text; nothing for what is not a number."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:z.{n_digits}f}"
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def escaped(text: str) -> str:
    """The text without tabs and line ends, for readers that know no quotes."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def quoted(text: str, delimiter: str) -> str:
    """The text as RFC 4180 has it: in quotes where it has quotes, line ends or the delimiter."""
    if any(char in text for char in f'"\n\r{delimiter}'):
        return '"' + text.replace('"', '""') + '"'
    return text


def table_line(cells: Sequence[str], form: str) -> str:
    delimiter = DELIMITERS[form]
    write = escaped if form == "raw-tsv" else lambda text: quoted(text, delimiter)
    return delimiter.join(map(write, cells)) + "\n"


def table_lines(file: Iterable[bytes], form: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of every whole line of a table that `table_line` wrote, and where in the file it ends."""
    end, data = 0, b""
    for part in file:
        data += part
        if part.endswith(b"\n") and (form == "raw-tsv" or data.count(b'"') % 2 == 0):
            end += len(data)
            yield end, list(split(data.decode().removesuffix("\n"), DELIMITERS[form], form != "raw-tsv"))
            data = b""


def split(line: str, delimiter: str, has_quotes: bool) -> Iterator[str]:
    if not has_quotes:
        yield from line.split(delimiter)
        return
    text = ""
    for part in line.split(delimiter):
        text += part
        if text.count('"') % 2 == 0:
            yield text[1:-1].replace('""', '"') if text.startswith('"') else text
            text = ""
        else:
            text += delimiter


def json_lines(file: Iterable[bytes]) -> Iterator[tuple[int, Row]]:
    """The object of every whole line, and where in the file it ends."""
    end = 0
    for line in file:
        if line.endswith(b"\n"):
            end += len(line)
            yield end, json.loads(line)


def import_pyarrow() -> Any:
    """pyarrow, which writes Parquet; raises `PicoGPTError` where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise PicoGPTError("Parquet needs pyarrow: pip install pyarrow, or name a .csv file") from None
    return pyarrow


def write_parquet(rows: Path, path: Path) -> None:
    """Make a Parquet file of a file of JSON lines; columns have the types of their values.

    Numbers that are whole are int64, others float64, and whatever is neither numbers nor texts alone is text.
    """
    pyarrow = import_pyarrow()
    kinds: dict[str, set[type]] = {}
    for row in stored(rows):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(str if type(value) is int and abs(value) >= 1 << 63 else type(value))
    types = {name: column_type(found - {type(None)}) for name, found in kinds.items()}
    names = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, names[type_]) for name, type_ in types.items()])
    with replacing(path) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for group in groups(stored(rows)):
            columns = {name: [converted(row.get(name), types[name]) for row in group] for name in types}
            writer.write_table(pyarrow.table(columns, schema=schema))


def parquet_rows(path: Path) -> Iterator[Row]:
    for batch in import_pyarrow().parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def stored(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for _, row in json_lines(file):
            yield row


def groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def column_type(found: set[type]) -> type:
    """The type of a column in which these types are."""
    if len(found) == 1:
        (only,) = found
        return only if only in (bool, int, float) else str
    return float if found == {int, float} else str


def converted(value: Any, to: type) -> Any:
    if value is None or isinstance(value, to):
        return value
    return float(value) if to is float else cell(value) if not isinstance(value, float) else repr(value)
