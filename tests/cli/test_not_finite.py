"""What is not a number never looks like a result: one line instead, which names the cause, and status 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from picogpt import pretrained
from picogpt.checkpoints import flatten, nest
from picogpt.cli import generate, main
from picogpt.files import without_nan

PATH = "blocks.2.mlp.c_fc.w"
LONG = "to be or not to be, " * 20


@pytest.fixture(scope="module", params=["nan", "inf"])
def broken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Shakespeare model with one number that is none."""
    directory = tmp_path_factory.mktemp("models") / request.param
    model = pretrained.load("shakespeare")
    flat = {name: array.copy() for name, array in flatten(model.params).items()}
    flat[PATH][3, 5] = float(request.param)
    pretrained.save(model._replace(params=nest(flat)), directory)
    return directory


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "to be"],
        ["generate", LONG],
        ["generate", "to be", "--json", "-N", "3"],
        ["generate", "to be", "--beams", "3", "--json"],
        ["generate", "to be", "--lookup", "--seed", "1"],
        ["generate", "to be", "--dtype", "int8"],
        ["score", "to be"],
        ["score", LONG],
        ["score", "to be", "--jsonl", "--bow"],
        ["score", "to be", "--hf-perplexity"],
        ["score", "to be", "--choices", " or", " and"],
        ["compare", "to be", "not to be"],
        ["inside", "to be"],
        ["inside", "to be", "--heads", "--shapes", "--json"],
        ["inside", "to be", "--ablate", "2.0"],
    ],
)
def test_weights_that_are_not_finite_are_named_in_one_line(
    broken: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without NumPy's warnings, which would be errors here. There was text, "!!!!", or "likelier by nan"."""
    assert main([*arguments, "--model", str(broken)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("picogpt: ")
    assert captured.err.count("\n") == 1
    assert f"{PATH} has numbers that are not finite" in captured.err


def test_int8_weights_are_not_made_of_them(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A NaN became a number."""
    assert main(["convert", str(broken), "-o", str(tmp_path / "new"), "--dtype", "int8"]) == 2
    assert f"{PATH} has numbers that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ban", "0", *(part for i in range(1, 1024) for part in ("--ban", str(i)))], "no token is left"),
        (["--no-repeat-ngram", "1", "--slide", "--ignore-eos", "-n", "1100"], "no token is left"),
        (["--temperature", "1e-40"], "temperature must be 0 or from 1e-10 to 1e10, not 1e-40"),
        (["--frequency-penalty", "1e39"], r"frequency_penalty must be from -1000 to 1000, not 1e+39"),
        (["--presence-penalty", "nan"], "presence_penalty must be from -1000 to 1000, not nan"),
        (["--beams", "100000000"], "the number of beams must be from 1 to 1000"),
        (["--beams", "2", "--length-penalty", "1e308"], "length_penalty must be from -10 to 10"),
        (["--beams", "2", "-n", "200", "--length-penalty", "200"], "length_penalty must be from -10 to 10"),
        (["--beams", "2", "--length-penalty", "nan"], "length_penalty must be from -10 to 10, not nan"),
        (["-N", "1000000000000"], "the number of samples must be from 1 to 1000"),
    ],
)
def test_options_that_leave_nothing_to_choose(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "to be", "--model", "shakespeare", *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out.endswith("!!")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_any_number_of_tokens_may_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", LONG, "--model", "shakespeare", "-n", "1000000000000"]) == 0
    captured = capsys.readouterr()
    assert captured.out
    assert "the context of 256 is full" in captured.err


def test_json_has_null_for_what_is_not_finite() -> None:
    """NaN and Infinity are not JSON."""
    row = {"a": [np.nan, {"b": float("inf")}], "c": -float("inf"), "d": 1.5}
    assert without_nan(row) == {"a": [None, {"b": None}], "c": None, "d": 1.5}
    json.dumps(without_nan(row), allow_nan=False)


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is within the ranges may still be more than the machine has."""
    monkeypatch.setattr(generate, "main", lambda argv: np.empty(1 << 59))
    assert main(["generate"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("picogpt: not enough memory; do less at once (Unable to allocate 4.00 EiB")
    assert message.count("\n") == 1
