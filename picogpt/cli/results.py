"""Scores on their way out: a table to read, or one that programs read, to stdout or to a file that can be continued."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from picogpt.cli.grid import paint
from picogpt.corpus.jobs import Row as Row
from picogpt.corpus.tables import cell as cell
from picogpt.corpus.tables import escaped, json_line, json_lines, parquet_rows, table_line, table_lines, write_parquet
from picogpt.errors import PicoGPTError, what

Place = tuple[str, str]  # of a text in the input: the cells `source` and `line`, with which every row begins
WIDTH = 10


def growing(output: Path) -> Path:
    """The file to which rows are appended: the output, or what a Parquet file is made of in the end."""
    return output.with_name(f".{output.name}.rows") if output.suffix == ".parquet" else output


class Writer:
    """Writes one text's rows after another's, as a "table" to read, "csv", "tsv", "raw-tsv", "jsonl" or "parquet".

    A file that an earlier run has begun is continued: `done` are the texts that are whole in it, in their order. What
    may be only a part of a text is cut off. JSON lines begin with `meta`, if it is given. `seen` is told of every row
    that stays. A table's last column is coloured by the row's surprisal where `brightest` says which one is the
    highest that has a colour of its own.
    """

    def __init__(
        self,
        form: str,
        path: Path | None = None,
        meta: Row | None = None,
        seen: Callable[[Row], None] | None = None,
        brightest: float | None = None,
    ) -> None:
        self.form, self.path, self.seen, self.brightest = form, path, seen, brightest
        self.columns: list[str] | None = None  # of the rows so far
        self.done: deque[Place] = deque()
        self.is_complete = form == "parquet" and path is not None and path.exists()
        if self.is_complete and path is not None:
            self._tell(parquet_rows(path))
        self.file: IO[str] = sys.stdout
        if path is not None and not self.is_complete:
            try:
                if growing(path).exists():
                    self._cut_off_last_text(growing(path))
                self.file = growing(path).open("a", encoding="utf-8", newline="")
            except OSError as error:
                raise PicoGPTError(f"{path} cannot be written: {what(error)}") from None
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise PicoGPTError(f"{path} is not the output of such a run; name another file") from None
        if meta is not None and not (path is not None and self.file.tell()):
            self.write([{"meta": meta}])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.file is not sys.stdout:
            with suppress(OSError):  # every text has been flushed; what a full disk refused has been told
                self.file.close()
        if self.form == "parquet" and self.path is not None and kind is None:
            if not self.is_complete:
                write_parquet(growing(self.path), self.path)
            growing(self.path).unlink(missing_ok=True)

    def has(self, source: str, line: int) -> bool:
        """Whether an earlier run has dealt with the text at this place; to be asked of all in their order.

        A text may leave no rows, such as one of white space by words. So what comes before a text that is there is
        done, whether it is there or not.
        """
        if self.is_complete:
            return True
        if not self.done:
            return False
        if self.done[0] == (escaped(source) if self.form == "raw-tsv" else source, str(line)):
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
            if self.form in ("jsonl", "parquet"):
                self.file.write(json_line(row))
                continue
            if self.columns is None:
                self.columns = list(row)
                self._write_line(self.columns)
            if self.columns != list(row):
                raise PicoGPTError(f"{self.file.name} was made with other options: its columns are {self.columns}")
            self._write_line([cell(value, 3 if self.form == "table" else 6) for value in row.values()], row)
        self.file.flush()

    def _write_line(self, cells: Sequence[str], row: Row | None = None) -> None:
        if self.form == "table":  # the last column is as long as it likes
            widths = [max(WIDTH, len(column)) for column in self.columns or []]
            padded = [escaped(text).rjust(width) for text, width in zip(cells, widths, strict=True)]
            last = escaped(cells[-1])
            if self.brightest is not None and row is not None:
                last = paint(last, share(row.get("surprisal"), self.brightest), colour=True)
            self.file.write("  ".join([*padded[:-1], last]) + "\n")
        else:
            self.file.write(table_line(cells, self.form))

    def _cut_off_last_text(self, path: Path) -> None:
        """Keep the texts that are whole, and count them; one whose rows are numbered may always lack the last ones."""
        with path.open("r+b") as file:
            end = last_start = 0  # of the whole lines; of the last text's
            rows: list[Row] = []  # of the last text
            for line_end, row in self._rows(file):
                if row and str(row.get("index", 0)) == "0" and "meta" not in row:
                    self.done.append((str(row["source"]), str(row["line"])))
                    last_start = end
                    self._tell(rows)
                    rows = []
                end = line_end
                rows.append(row)
            if self.done and "index" in rows[-1]:
                self.done.pop()
                end = last_start
            else:
                self._tell(rows)
            file.truncate(end)

    def _tell(self, rows: Iterable[Row]) -> None:
        if self.seen is not None:
            for row in rows:
                if "source" in row:
                    self.seen(row)

    def _rows(self, file: IO[bytes]) -> Iterator[tuple[int, Row]]:
        """The rows of a file that a run has begun, of a table the header first, and where each ends."""
        if self.form in ("jsonl", "parquet"):
            yield from json_lines(file)
            return
        for end, cells in table_lines(file, self.form):
            if self.columns is None:
                self.columns = cells
                yield end, {}
            else:
                yield end, dict(zip(self.columns, cells, strict=True))


def share(surprisal: float | None, highest: float) -> float | None:
    """How far a surprisal is on the way to the highest; None where there is none."""
    if surprisal is None or math.isnan(surprisal):
        return None
    return min(max(surprisal / highest, 0.0), 1.0)
