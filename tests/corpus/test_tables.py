"""Tables that every reader parses: pandas, the csv module, awk; and Parquet."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picogpt.corpus.tables import cell, import_pyarrow, split, table_line, table_lines, write_parquet
from picogpt.errors import PicoGPTError

NASTY = ['"I', 'say "no"', "a\tb", "a,b", "a\nb", "a\r\nb", "a\rb", "\\n", " x ", "", "#", "é🙂", "'"]
CELLS = st.text(st.characters(exclude_categories=["Cs"]))
DELIMITERS = {"csv": ",", "tsv": "\t"}


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_pandas_reads_what_was_written(form: str) -> None:
    import pandas

    lines = table_line(["first", "second"], form) + "".join(table_line([text, "x" + text], form) for text in NASTY)
    table = pandas.read_csv(io.StringIO(lines, newline=""), sep=DELIMITERS[form], keep_default_na=False)
    assert list(table["first"]) == NASTY
    assert list(table["second"]) == ["x" + text for text in NASTY]


@given(st.lists(CELLS, min_size=2))
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_the_csv_module_reads_what_was_written(form: str, cells: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(table_line(cells, form), newline=""), delimiter=DELIMITERS[form], strict=True)
    assert read == cells


@given(st.lists(CELLS, min_size=2))
def test_a_raw_line_is_one_line_with_as_many_tabs_as_there_are_borders(cells: list[str]) -> None:
    line = table_line(cells, "raw-tsv")
    assert [line.count(char) for char in "\t\n\r"] == [len(cells) - 1, 1, 0]
    escapes = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}
    parts = line.removesuffix("\n").split("\t")
    assert [re.sub(r"\\.", lambda match: escapes[match[0]], part) for part in parts] == cells


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2)), st.integers(0, 5))
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_lines_are_found_again_with_their_ends(form: str, rows: list[list[str]], n_missing: int) -> None:
    """A line end in quotes ends no line; what is cut off is no line."""
    lines = [table_line(row, form).encode() for row in rows]
    data = b"".join(lines)
    whole = len(data) - min(n_missing, len(lines[-1]) if lines else 0)
    found = list(table_lines(io.BytesIO(data[:whole]), form))
    n_whole = len(rows) if whole == len(data) else len(rows) - 1
    assert [cells for _, cells in found] == rows[:n_whole]
    assert [end for end, _ in found] == [sum(map(len, lines[: i + 1])) for i in range(n_whole)]


def test_a_cell_that_begins_with_a_quote_is_split_where_it_ends() -> None:
    assert list(split('"a,""b""",c,,"d\ne"', ",", has_quotes=True)) == ['a,"b"', "c", "", "d\ne"]


def test_cells() -> None:
    values: list[Any] = [0.1, -0.0, float("nan"), 3, None, "x", True, [1]]
    assert [cell(value, 2) for value in values] == ["0.10", "0.00", "", "3", "", "x", "true", "[1]"]


def test_parquet_has_the_types_of_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers beside others are floats, what is mixed is text, and a row may lack a column."""
    import pyarrow.parquet

    monkeypatch.setattr("picogpt.corpus.tables.GROUP", 2)
    rows = [
        {"n": 1, "x": 1, "s": "a", "mixed": 1, "deep": [1, "é"], "big": 1},
        {"n": None, "x": 0.5, "s": "b\n", "mixed": "b", "deep": {}, "big": 1 << 70},
        {"n": 3, "x": None, "s": "", "mixed": True, "deep": None},
    ]
    (tmp_path / "rows").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_parquet(tmp_path / "rows", tmp_path / "x.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert table.to_pydict() == {
        "n": [1, None, 3],
        "x": [1.0, 0.5, None],
        "s": ["a", "b\n", ""],
        "mixed": ["1", "b", "true"],
        "deep": ['[1, "é"]', "{}", None],
        "big": ["1", str(1 << 70), None],
    }


def test_without_pyarrow_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(PicoGPTError, match="pip install pyarrow"):
        import_pyarrow()
