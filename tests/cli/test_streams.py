"""Output that cannot be written, as the shell makes it: one line, the documented status, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICOGPT = f"{sys.executable} -m picogpt"


def shell(command: str, cwd: Path = ROOT, **environment: str) -> tuple[int, str, str]:
    """The exit status of the first program of a pipe, stdout and stderr."""
    result = subprocess.run(
        ["bash", "-c", command + "; exit ${PIPESTATUS[0]}"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("command", ["tokenize hello", "--version", "info shakespeare", "compare a b"])
@pytest.mark.parametrize(
    ("stdout", "message"),
    [(">/dev/full", "standard output: No space left on device"), (">&-", "standard output is closed")],
)
def test_stdout_that_cannot_be_written(command: str, stdout: str, message: str) -> None:
    status, _, err = shell(f"{PICOGPT} {command} {stdout}")
    assert status == 1
    assert err.splitlines()[-1] == f"picogpt: {message}"
    assert "Traceback" not in err


def test_closed_stderr_sends_no_notices_to_stdout() -> None:
    whole = shell(f"{PICOGPT} compare a b")
    assert "GPT-2 is not here" in whole[2]
    assert shell(f"{PICOGPT} compare a b 2>&-") == (0, whole[1], "")
    assert shell(f"{PICOGPT} compare a b 2>/dev/full") == (0, whole[1], "")


def test_a_reader_that_has_left_is_no_failure(tmp_path: Path) -> None:
    """`train | true` ended with 2, though the model was saved."""
    (tmp_path / "text").write_text("to be or not to be, that is the question. " * 30)
    train = f"{PICOGPT} train text --steps 2 --n-layer 1 --n-embd 8 --n-head 2 --n-ctx 8 --n-vocab 260 --out model"
    status, _, err = shell(f"{train} | true", tmp_path)
    assert status == 0, err
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_an_ascii_locale_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("naïve café, ça va? 😀 " * 90, encoding="utf-8")
    train = f"{PICOGPT} train text --tokenizer char --steps 2 --n-layer 1 --n-embd 8 --n-head 2 --n-ctx 8 --out "
    status, out, err = shell(train + "model", tmp_path, PYTHONIOENCODING="ascii")
    assert status == 0, err
    assert out == shell(train + "again", tmp_path)[1]
    assert not out.isascii()


def test_a_full_disk_is_one_line_with_the_path(tmp_path: Path) -> None:
    """`ulimit -f` limits the size of a file as a full disk does."""
    (tmp_path / "texts").write_text("A line to score.\n" * 400)
    score = f"ulimit -f 8; {PICOGPT} score texts --lines --output scores.jsonl"
    status, _, err = shell(score, tmp_path)
    assert (status, err.splitlines()[-1]) == (2, "picogpt: scores.jsonl: File too large")
    assert "Traceback" not in err
    status, _, err = shell(f"ulimit -f 8; {PICOGPT} convert shakespeare -o copy", tmp_path)
    assert (status, err.splitlines()[-1]) == (2, "picogpt: cannot write copy/encoder.json: File too large")
    assert {path.name for path in tmp_path.iterdir()} == {"texts", "scores.jsonl", "scores.jsonl.meta.json"}


@pytest.mark.parametrize("module", ["picogpt.cli", "argparse", "numpy", "datetime", "regex", "picogpt.tokenizers.bpe"])
def test_ctrl_c_while_a_module_loads_leaves_no_traceback(module: str) -> None:
    code = f"""
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["picogpt", "tokenize", "hello"]
runpy.run_module("picogpt", run_name="__main__", alter_sys=True)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("", "")
    assert result.returncode in (130, -signal.SIGINT)
