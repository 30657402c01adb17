"""What rows look like: their place, the model's name, the columns of the input, and the figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from picogpt.corpus.jobs import Result, Row
from picogpt.corpus.records import Record

PLACE = ("source", "line", "model", "index")  # what every row may have


class Shape(NamedTuple):
    """How a result becomes rows. `parts` is what the parts of a text are called, if the rows are these and not texts.

    Where one of our columns is called like a column of the input, `taken` tells, that gets another name. `ids` are the
    columns that come along, all but for `left_out` if it is None, and `along` in any case.
    """

    form: str
    model: str
    taken: tuple[str, ...]
    parts: str | None = None
    ids: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    along: tuple[str, ...] = ()

    def columns(self, found: Sequence[str]) -> dict[str, str]:
        """The columns of the input that come along, of those that were found, and what they are called then."""
        chosen = self.ids if self.ids is not None else found if self.form != "table" else ()
        names = [*(column for column in chosen if column not in self.left_out), *self.along]
        return {column: free_name(column, self.taken) for column in names}

    def rows(self, record: Record, result: Result, columns: dict[str, str]) -> list[Row]:
        """A text's rows as its form has them, with these columns."""
        head: Row = {"source": record.source, "line": record.line, "model": self.model}
        if self.form == "jsonl":
            fields = {columns[name]: value for name, value in record.fields.items() if name in columns}
            return [{**head, **fields, **result.summary, **({self.parts: list(result.parts)} if self.parts else {})}]
        fields = {new: record.fields.get(name) for name, new in columns.items()}
        if self.form != "parquet":
            fields = {name: plain(value) for name, value in fields.items()}
        if self.form == "table":
            head = {} if self.ids is not None else {"line": record.line}
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
