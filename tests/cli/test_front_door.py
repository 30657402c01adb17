"""What people type who have read nothing: each ends in what they wanted, or in one line that says how to have it."""

from __future__ import annotations

import io
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from picogpt import PicoGPTError, pretrained
from picogpt.cli import COMMANDS, main
from picogpt.cli.words import HABITS, check_first_word, closest

SHAKESPEARE = ["--model", "shakespeare"]

# what is typed, and what stdout has in it, or the line on stderr
WANTED = [
    (["help"], "\n  score  "),
    (["-h"], "\n  score  "),
    (["help", "score"], "usage: picogpt score"),
    (["--help", "score"], "usage: picogpt score"),
    (["score", "-h"], "usage: picogpt score"),
    (["version"], "NumPy"),
    (["--version"], "picogpt 0."),
    (["-V"], "Python 3."),
    (["models"], "shakespeare   2,470,464  5.0"),
    (["info"], "n_layer"),
    (["info", "shakespeare"], "n_layer"),
    (["-p", "To be", "--max-tokens", "3"], " a bar"),
    (["To be", "-m", "shakespeare", "-n", "3"], " a bar"),
    (["To be", "-t", "0.8", "-s", "1", "--max-tokens", "3"], ""),
    (["score", "To be or not", "-m", "shakespeare"], "perplexity"),
    (["compare", "king.txt", "The king are dead.", *SHAKESPEARE], "A is the likelier"),
    (["tokenize", "Not all heroes"], "Not| all| heroes"),
    (["completion", "bash"], "complete -"),
    (["verify", "shakespeare"], "model.safetensors  as SHA256SUMS has it"),
]
TOLD = [
    (["list"], "did you mean `picogpt models`? To continue the text: `picogpt generate list`"),
    (["ls"], "did you mean `picogpt models`?"),
    (["chat"], "did you mean `picogpt generate`?"),
    (["run", "gpt2"], "did you mean `picogpt generate`?"),
    (["pull", "124M"], "did you mean `picogpt download`? To continue the text: `picogpt generate 'pull 124M'`"),
    (["scor"], "did you mean `picogpt score`? To continue the text: `picogpt generate scor`"),
    (["scor", "To be", "--words"], "did you mean `picogpt score`?"),
    (["HELP"], "did you mean `picogpt help`?"),
    (["help", "scor"], "there is no command 'scor'; did you mean `picogpt help score`?"),
    (["help", "me"], "there is no command 'me'; `picogpt help` lists them"),
    (["finetune", "king.txt"], "did you mean `picogpt train`?"),
    (["Once", "upon", "a", "time"], 'a prompt of several words goes into quotes: picogpt "Once upon a time"'),
    (["-m", "shakespeare", "score", "To be"], "the command comes first: `picogpt score …`"),
    (["gpt2", "To be"], "gpt2 is a model: to continue a text with it, `picogpt TEXT --model gpt2`"),
    (["124M"], "to continue the name, `picogpt -p 124M`"),
    (["king.txt"], "king.txt is a file: to continue its text, `picogpt < king.txt`"),
    (["To be", "-p", "or not"], "--prompt is the prompt already"),
    (["To be", "--model", "124M"], "124M is not here; `picogpt download 124M` fetches it"),
    (["To be", "--model", "gpt3"], "there is no model 'gpt3'"),
    (["To be", "--wild"], "unrecognized arguments: --wild (see picogpt generate --help)"),
    (["To be", "--temperature", "1e-38"], "temperature must be 0 or from 1e-10 to 1e10, not 1e-38"),
    (["To be", "--temperature", "warm"], "invalid float value: 'warm'"),
    (["To be", "--beams", "2", "--length-penalty", "200", "-n", "200"], "length_penalty must be from -10 to 10"),
    (["To be", "--beams", "2", "--length-penalty", "nan"], "length_penalty must be from -10 to 10, not nan"),
    (["score", "missing.txt"], "there is no file missing.txt"),
    (["compare", "missing.txt", "x"], "there is no file missing.txt"),
    (["compare", "The king is dead."], "the following arguments are required: B"),
    (["download"], "the following arguments are required: NAME"),
    (["download", "gpt4"], "there is no 'gpt4' to download; choose from 124M"),
    (["info", "gpt4"], "there is no model 'gpt4'"),
    (["completion", "tcsh"], "invalid choice: 'tcsh'"),
    (["convert", "shakespeare"], "the following arguments are required: -o/--output"),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that nobody has prepared, with a text in it."""
    (tmp_path / "king.txt").write_text("The king is dead.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    return tmp_path


def typed(argv: list[str]) -> int | str | None:
    try:
        return main(argv)
    except SystemExit as end:  # argparse's
        return end.code


@pytest.mark.parametrize(("argv", "shown"), WANTED, ids=[" ".join(argv) for argv, _ in WANTED])
def test_it_does_what_was_wanted(argv: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = typed(argv)
    out, err = capsys.readouterr()
    assert status == 0, err
    assert out
    assert shown in out
    assert err.count("\n") <= 1


@pytest.mark.parametrize(("argv", "line"), TOLD, ids=[" ".join(argv) for argv, _ in TOLD])
def test_or_one_line_says_how(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    status = typed(argv)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("picogpt")
    assert line in err
    assert err.count("\n") == 1
    assert not recwarn


@pytest.mark.parametrize(
    "prompt", ["Hello", "Once upon a time", "scores of them", "score: 3", "The", "ROMEO:", "I", "rainbow", "Café", "42"]
)
def test_a_real_prompt_is_never_mistaken_for_a_typo(prompt: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([prompt, "-n", "1", *SHAKESPEARE]) == 0
    assert capsys.readouterr().err == ""


def test_what_a_suggestion_offers_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["generate", "scor"], ["generate", "pull 124M"], ["-p", "gpt2"], ["-p", "king.txt"]):
        assert main([*argv, "-n", "2", *SHAKESPEARE]) == 0
        text = pretrained.load("shakespeare").generate(argv[-1], 2)
        assert capsys.readouterr() == (text, "")


def test_every_typo_of_a_command_is_noticed() -> None:
    """A letter left out, anywhere; and the words of other programs lead to commands that there are."""
    for command in COMMANDS:
        typos = {command[:i] + command[i + 1 :] for i in range(len(command))} - {*COMMANDS}
        assert {closest(typo) for typo in typos} <= {*COMMANDS}
    for habit, command in HABITS.items():
        assert habit not in COMMANDS
        assert command in COMMANDS
        with pytest.raises(PicoGPTError, match=re.escape(f"`picogpt {command}`")):
            check_first_word([habit])


def test_a_name_means_the_same_model_from_any_folder(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what begins with a dot is a path, whatever models there are of that name."""
    found = pretrained.find_model("shakespeare")
    (elsewhere / "shakespeare").mkdir()
    assert pretrained.find_model("shakespeare") == found
    assert pretrained.find_model("./shakespeare").resolve() == elsewhere / "shakespeare"
    monkeypatch.chdir("/")
    assert pretrained.find_model("shakespeare") == found


def test_only_a_missing_default_is_replaced_and_that_is_said_once(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(elsewhere.rglob("*"))
    for argv in (["To be", "-n", "2"], ["score", "To be"], ["compare", "a", "b"], ["inside", "To be"]):
        assert main([*argv, "--model", "124M"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert main(argv) == 0
        assert capsys.readouterr().err.count("GPT-2 is not here, so this is the small Shakespeare model") == 1
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", command]) == 0
    explained = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert capsys.readouterr().out == explained
    assert import_module(f"picogpt.cli.{command.replace('-', '_')}").parser().prog == f"picogpt {command}"
