"""`picogpt serve` as a process: its start, its end, and what it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from picogpt.cli import main
from picogpt.cli.serve import name_of

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "picogpt", "serve", "--model", "shakespeare", "--port", "0"]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it says."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://[^;]+", line)
        assert found is not None, line + process.stderr.read()
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_runs_finish_and_refuses_what_comes(signum: int) -> None:
    with started() as (process, url):
        assert process.stderr is not None
        assert url in process.stderr.readline()  # the line to paste
        body = {"prompt": "A", "max_tokens": 200, "stream": True, "ignore_eos": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signum)
            assert list(lines)[-2] == "data: [DONE]"
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")


@pytest.mark.slow
def test_after_the_grace_what_still_runs_is_told_so() -> None:
    with started("--grace", "0") as (process, url):
        body = {"prompt": "A", "max_tokens": 250, "stream": True, "ignore_eos": True, "n": 30}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert any('"code":"shutting_down"' in line for line in lines)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_a_second_signal_ends_at_once() -> None:
    with started("--grace", "60") as (process, url):
        body = {"prompt": "A", "max_tokens": 250, "stream": True, "ignore_eos": True, "n": 100}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    error = capsys.readouterr().err
    assert "cannot listen at 127.0.0.1" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "give it an --api-key"),
        (["--host", "0.0.0.0", "--no-auth", "--api-key", "x"], "leave one of them out"),
        (["--port", "65536"], "--port must be from 0 to 65535"),
        (["--slots", "0"], "--slots must be from 1 to 1000"),
        (["--grace", "nan"], "--grace must be 0 or more"),
        (["--port", "0", "--chat-template", "nowhere.json"], "nowhere.json"),
        (["--port", "0", "--model", "nowhere"], "there is no model 'nowhere'"),
        (["--port", "0", "--host", "nowhere.invalid", "--no-auth"], "cannot listen at nowhere.invalid"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PICOGPT_API_KEY", raising=False)
    assert main(["serve", *arguments]) == 2
    error = capsys.readouterr().err.removeprefix("picogpt: GPT-2 is not here, so this is the small")
    assert message in error.splitlines()[-1]


def test_without_the_packages_it_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "picogpt: picogpt serve needs two more packages: pip install starlette uvicorn\n"


def test_a_models_name_has_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [name_of(name) for name in (str(tmp_path / "mine"), "mine", "./mine/", "124M", "openai-community/gpt2")] == [
        "mine",
        "mine",
        "mine",
        "124M",
        "openai-community/gpt2",
    ]
