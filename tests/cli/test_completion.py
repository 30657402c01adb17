"""Scripts for completion: the shells can read them, and bash completes with its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from picogpt.cli import COMMANDS, main


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


SHELLS = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_can_read_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "picogpt"
    path.write_text(script(shell, capsys))
    result = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def completions(line: str, folder: Path) -> set[str]:
    """What bash offers when Tab is pressed at the end of the line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = f"""
source ./picogpt
COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
function=$(complete -p picogpt | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function picogpt '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash", "--norc", "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    return {word.strip() for word in result.stdout.splitlines()}


def test_bash_completes_commands_options_and_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "picogpt").write_text(script("bash", capsys))
    (tmp_path / "verse.txt").touch()
    assert completions("picogpt ", tmp_path) >= {*COMMANDS}
    assert completions("picogpt sco", tmp_path) == {"score"}
    assert completions("picogpt --tem", tmp_path) == {"--temperature"}
    assert completions("picogpt score --wo", tmp_path) == {"--words", "--workers"}
    assert completions("picogpt score --special t", tmp_path) == {"token", "text"}
    assert "verse.txt" in completions("picogpt score ve", tmp_path)


def test_without_shtab_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err.endswith("pip install shtab, and run the command again\n")
