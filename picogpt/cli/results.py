"""Scores on their way out: a table to read, TSV or JSON lines, to stdout or to a file that a later run can continue."""

from __future__ import annotations

import json
import math
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from picogpt.errors import PicoGPTError, what
from picogpt.files import without_nan

Row = dict[str, Any]  # column -> value
Place = tuple[str, str]  # of a text in the input: the cells `source` and `row`, with which every row begins
WIDTH = 10


class Writer:
    """Writes one text's rows after another's, in the form "table", "tsv" or "jsonl" (there a text has one row).

    A file that an earlier run has begun is continued: `done` are the texts that are whole in it, in their order. What
    may be only a part of a text is cut off.
    """

    def __init__(self, form: str, path: Path | None = None) -> None:
        self.form = form
        self.columns: list[str] | None = None  # of the rows so far
        self.done: deque[Place] = deque()
        self.file: IO[str] = sys.stdout
        if path is not None:
            try:
                if path.exists():
                    self._cut_off_last_text(path)
                self.file = path.open("a", encoding="utf-8", newline="")
            except OSError as error:
                raise PicoGPTError(f"{path} cannot be written: {what(error)}") from None
            except (ValueError, LookupError, TypeError, RecursionError):
                raise PicoGPTError(f"{path} is not the output of such a run; name another file") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not sys.stdout:
            with suppress(OSError):  # every text has been flushed; what a full disk refused has been told
                self.file.close()

    def has(self, place: Place) -> bool:
        """Whether an earlier run has dealt with the text at this place; to be asked of all in their order.

        A text may leave no rows, such as one of white space by words. So what comes before a text that is there is
        done, whether it is there or not.
        """
        if not self.done:
            return False
        if self.done[0] == place:
            self.done.popleft()
        return True

    def write(self, rows: Sequence[Row]) -> None:
        """One text's rows; they are with the operating system when this returns."""
        try:
            self._write(rows)
        except OSError as error:
            if self.file is not sys.stdout:
                error.filename = self.file.name
            raise

    def _write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self.columns is None:
                self.columns = list(row)
                if self.form != "jsonl":
                    self._write_line(self.columns)
            if self.columns != list(row):
                raise PicoGPTError(f"{self.file.name} was made with other options: its columns are {self.columns}")
            if self.form == "jsonl":
                self.file.write(json.dumps(without_nan(row), ensure_ascii=False, allow_nan=False) + "\n")
            else:
                self._write_line([cell(value, 6 if self.form == "tsv" else 3) for value in row.values()])
        self.file.flush()

    def _write_line(self, cells: Sequence[str]) -> None:
        if self.form == "table":  # the last column is as long as it likes
            widths = [max(WIDTH, len(column)) for column in self.columns or []]
            padded = [text.rjust(width) for text, width in zip(cells, widths, strict=True)]
            self.file.write("  ".join([*padded[:-1], cells[-1]]) + "\n")
        else:
            self.file.write("\t".join(cells) + "\n")

    def _cut_off_last_text(self, path: Path) -> None:
        """Keep the texts that are whole, and count them; of a TSV the last one may always lack rows."""
        with path.open("r+b") as file:
            end = last_start = 0  # of the whole lines; of the last text's lines
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if self.form == "jsonl":
                    value = json.loads(line)
                    self.columns = list(value)
                    self.done.append((cell(value["source"], 0), str(value["row"])))
                elif self.columns is None:
                    self.columns = line.decode().rstrip("\n").split("\t")
                    last_start = end + len(line)
                else:
                    cells = line.decode().rstrip("\n").split("\t")
                    if "index" not in self.columns or cells[self.columns.index("index")] == "0":
                        self.done.append((cells[self.columns.index("source")], cells[self.columns.index("row")]))
                        last_start = end
                end += len(line)
            file.truncate(last_start if self.form == "tsv" else end)
            if self.form == "tsv" and self.done:
                self.done.pop()


def cell(value: Any, n_digits: int) -> str:
    """The value in a table: without tabs and line ends, and nothing for what is not a number."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:z.{n_digits}f}"
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
