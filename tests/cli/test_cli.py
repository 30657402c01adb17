"""The front door itself: which command is meant, and how a run ends."""

from __future__ import annotations

import errno
import platform
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from picogpt import PicoGPTError, __version__
from picogpt.cli import COMMANDS, generate, main


def test_every_command_has_its_module_and_no_module_is_forgotten() -> None:
    folder = Path(generate.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")}
    assert modules - {"__init__"} == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_for_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: picogpt {command}")
    assert max(map(len, out.splitlines())) <= 80


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert max(map(len, out.splitlines())) <= 80


def test_the_version_has_what_a_bug_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    ours, python, numpy = capsys.readouterr().out.splitlines()
    assert ours == f"picogpt {__version__}"
    assert python.startswith(f"Python {platform.python_version()} on ")
    name = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    assert numpy.startswith(f"NumPy {np.__version__} with ")
    assert "openblas" in numpy or name in numpy


@pytest.mark.parametrize(
    ("argv", "command", "rest"),
    [
        (["info"], "info", []),
        (["generate", "info"], "generate", ["info"]),
        (["information"], "generate", ["information"]),
        (["-n", "3"], "generate", ["-n", "3"]),
        ([], "generate", []),
    ],
)
def test_what_is_no_command_is_a_prompt(
    argv: list[str], command: str, rest: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def note(argv: list[str]) -> int:
        called.append(argv)
        return 0

    monkeypatch.setattr(import_module(f"picogpt.cli.{command}"), "main", note)
    assert main(argv) == 0
    assert called == [rest]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PicoGPTError("the cause; the remedy"), "picogpt: the cause; the remedy\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "some/file"),
            "picogpt: some/file: No space left on device\n",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr(import_module("picogpt.cli.info"), "main", fail)
    assert main(["info"]) == 2
    assert capsys.readouterr() == ("", line)


def test_an_unknown_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["info", "--bogus"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "picogpt info: unrecognized arguments: --bogus (see picogpt info --help)\n"
