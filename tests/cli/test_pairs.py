"""`picogpt pairs`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from picogpt.cli import main

PAIRS = [
    ("The king is dead.", "The king are dead.", "agreement"),
    ("I am thy son.", "I is thy son.", "agreement"),
    ("My are lord", "My lord", "nonsense"),
]


@pytest.fixture
def blimp(tmp_path: Path) -> Path:
    path = tmp_path / "blimp.jsonl"
    rows = [
        {"sentence_good": good, "sentence_bad": bad, "UID": group, "pairID": str(i), "lexically_identical": True}
        for i, (good, bad, group) in enumerate(PAIRS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> tuple[str, str]:
    assert main(["pairs", *map(str, arguments), "--model", "shakespeare"]) == status
    return capsys.readouterr()


def test_blimps_layout_with_accuracy_by_group(capsys: pytest.CaptureFixture[str], blimp: Path) -> None:
    out, _ = run(capsys, blimp, "--group", "UID")
    rows, accuracy, model = out.split("\n\n")
    assert [line.split()[-1] for line in rows.splitlines()] == ["correct", "1", "1", "0"]
    lines = [line.split() for line in accuracy.splitlines()[1:]]
    assert [(line[0], line[1], line[-1]) for line in lines] == [
        ("2", "1.000", "agreement"),
        ("1", "0.000", "nonsense"),
        ("3", "0.667", "all"),
    ]
    assert model == "model  shakespeare\n"


def test_columns_come_along_and_accuracy_is_on_stderr(capsys: pytest.CaptureFixture[str], blimp: Path) -> None:
    out, err = run(capsys, blimp, "--csv", "--metric", "mean")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["pairID"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        difference = float(row["score_good"]) - float(row["score_bad"])
        assert float(row["difference"]) == pytest.approx(difference, abs=2e-6)
    assert err.splitlines()[-1].split()[-1] == "all"


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_the_accuracy_of_a_run_that_was_continued_is_that_of_all(
    capsys: pytest.CaptureFixture[str], blimp: Path, tmp_path: Path, name: str
) -> None:
    arguments: list[str | Path] = [blimp, "--group", "UID", "--output", tmp_path / name]
    whole, _ = run(capsys, *arguments)
    if not name.endswith(".parquet"):
        lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
        (tmp_path / name).write_bytes(b"".join(lines[:-1]))
    again, _ = run(capsys, *arguments, "--resume")
    assert again == whole


def test_slor_counts_in_a_text(capsys: pytest.CaptureFixture[str], blimp: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("The king is dead. " * 3)
    out, _ = run(capsys, blimp, "--metric", "slor", "--unigrams", tmp_path / "text")
    assert "1.000" in out or "0.667" in out
    for arguments in (["--metric", "slor"], ["--unigrams", "x"]):
        _, err = run(capsys, blimp, *arguments, status=2)
        assert "--metric slor and --unigrams FILE" in err


def test_missing_columns_and_bad_rows(capsys: pytest.CaptureFixture[str], blimp: Path, tmp_path: Path) -> None:
    _, err = run(capsys, blimp, "--good", "good", status=2)
    assert "no column 'good'; its columns are sentence_good, sentence_bad, UID" in err
    _, err = run(capsys, blimp, "--group", "phenomenon", status=2)
    assert "no column 'phenomenon'" in err
    path = tmp_path / "pairs.csv"
    path.write_text("sentence_good,sentence_bad\nThe king is,\nIt is,It are\n")
    out, err = run(capsys, path, "--csv")
    assert "line 2: nothing to score" in err
    assert out.count("\n") == 2
