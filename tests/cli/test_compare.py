"""`picogpt compare`."""

from __future__ import annotations

import pytest

from picogpt.cli import main

PAIR = ["The king is dead now.", "The king are all dead."]


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    assert main(["compare", *PAIR, "--model", "shakespeare", *arguments]) == 0
    header, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_words_that_are_shared_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    table = rows(capsys, "--tsv")
    assert [(row["word_a"], row["word_b"]) for row in table] == [
        ("The", "The"),
        ("king", "king"),
        ("is", "are"),
        ("dead", "all"),
        ("now.", "dead."),
    ]
    for row in table:
        difference = float(row["surprisal_a"]) - float(row["surprisal_b"])
        assert float(row["difference"]) == pytest.approx(difference, abs=1e-5)
    assert float(table[1]["difference"]) == pytest.approx(0, abs=1e-4)


def test_figures_are_those_of_score(capsys: pytest.CaptureFixture[str]) -> None:
    table = rows(capsys, "--tsv", "--bow", "--nats", "--no-bos")
    for text, side in zip(PAIR, "ab", strict=True):
        arguments = ["--tsv", "--bow", "--nats", "--no-bos", "--model", "shakespeare"]
        assert main(["score", text, *arguments]) == 0
        header, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
        scored = [dict(zip(header, line, strict=True)) for line in lines]
        for row, word in zip(table, scored, strict=True):
            assert float(row[f"surprisal_{side}"] or 0) == pytest.approx(float(word["surprisal"] or 0), abs=1e-4)


def test_it_says_which_is_the_likelier(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *PAIR, "--model", "shakespeare"]) == 0
    *_, last, model = capsys.readouterr().out.splitlines()
    assert model == "model  shakespeare"
    a, b = (float(part.split()[1]) for part in last.split(" · ")[:2])
    assert f"{'A' if a < b else 'B'} is the likelier by" in last
    assert main(["compare", "", "x", "--model", "shakespeare"]) == 2
    assert "nothing to score" in capsys.readouterr().err
