"""Records of every kind of file, and what is wrong with those that cannot be read."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picogpt.corpus.records import Record, Survey, read
from picogpt.errors import PicoGPTError


def records(data: str | bytes, kind: str) -> list[Record]:
    return list(read("x", io.BytesIO(data.encode() if isinstance(data, str) else data), kind))


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=2)))
@pytest.mark.parametrize(("kind", "dialect"), [("csv", "excel"), ("tsv", "excel-tab")])
def test_tables_are_read_as_they_were_written(kind: str, dialect: str, rows: list[list[str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, dialect=dialect, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    assert [list(record.fields.values()) for record in records(file.getvalue(), kind)] == rows


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    """Also before a quote."""
    for header in ("\ufefftext,n\n", '\ufeff"text",n\n'):
        (record,) = records(header + "To be,1\n", "csv")
        assert record.fields == {"text": "To be", "n": "1"}


def test_a_name_that_two_columns_have_is_refused() -> None:
    with pytest.raises(PicoGPTError, match="two columns of one name, text"):
        records("text,n,text\na,1,b\n", "csv")


def test_a_quote_in_the_midst_of_a_row_does_not_swallow_rows_silently() -> None:
    """The strict reader says where a quoted field goes on after its quote, and what is read again after it."""
    found = records('word\tn\n"I\t1\nam\t2\n"here\t3\nnow\t4\n', "tsv")
    assert [record.line for record in found if record.bad is None] == [5]
    assert "do quotes mean nothing there?" in str(found[0].bad)
    assert [record.fields["word"] for record in records('word\tn\n"I\t1\nam\t2\n', "raw-tsv")] == ['"I', "am"]


def test_a_survey_counts_and_names() -> None:
    survey = Survey(records('{"a": 1}\n\n{"b": "x\\ny"}\n[]\n', "jsonl"))
    assert (survey.n_records, survey.columns, survey.joined) == (3, ["a", "b"], {"x": 1})
    survey.require(["b"])
    with pytest.raises(PicoGPTError, match="no column 'c'; its columns are a, b"):
        survey.require(["c"])
    Survey([]).require(["c"])
