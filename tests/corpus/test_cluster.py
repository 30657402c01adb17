"""A Dask cluster: the rows are those of one process, and nothing is lost or done twice, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from picogpt.cli import main
from picogpt.corpus.cluster import WORKER_VARIABLES, connected, in_cluster, slow_workers
from picogpt.corpus.jobs import Job, Result
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError
from tests.texts import ROOT, read_text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # Dask's own
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Deadly(Job[str]):
    """Gives a text's length, but "die" ends the process unless the file `marker` is there already."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def prepare(self, record: Record) -> str:
        return record.text("text")

    def measure(self, prepared: Any) -> Any:
        for text in prepared:
            if text == "bad":
                raise PicoGPTError("bad weights")
            if text == "full":
                raise OSError(28, "No space left on device", "rows")
            if text == "die" and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return [Result({"length": len(text)}) for text in prepared]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "2")  # which is this process's business
        with connected("local", 2) as client:
            yield client


def batches(*texts: str) -> list[list[Record]]:
    return [[Record("x", line, {"text": text})] for line, text in enumerate(texts, 1)]


def test_results_come_in_order_and_a_killed_workers_batch_is_done_again(client: Any, tmp_path: Path) -> None:
    texts = ["a" * n for n in range(1, 20)] + ["die"] + ["a"] * 5
    results = list(in_cluster(Deadly(tmp_path / "died"), batches(*texts), client))
    assert [result.summary["length"] for (result,) in results] == [len(text) for text in texts]
    assert (tmp_path / "died").exists()


def test_bad_input_is_told_and_not_tried_again(client: Any, tmp_path: Path) -> None:
    with pytest.raises(PicoGPTError, match="bad weights"):
        list(in_cluster(Deadly(tmp_path / "died"), batches("a", "bad"), client))


def test_what_a_worker_cannot_do_is_not_blamed_on_the_scheduler(client: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        list(in_cluster(Deadly(tmp_path / "died"), batches("a", "full"), client))


def test_workers_have_one_thread_and_keep_their_memory(client: Any) -> None:
    assert slow_workers(client) == []
    lines = slow_workers(FakeClient({"OPENBLAS_NUM_THREADS": None, "MALLOC_TRIM_THRESHOLD_": "65536"}))
    assert [line.split()[0] for line in lines] == ["1", "1"]
    assert f"MALLOC_TRIM_THRESHOLD_={1 << 30}" in lines[0]


class FakeClient:
    def __init__(self, variables: dict[str, str | None]) -> None:
        self.variables = variables

    def run(self, function: Any) -> dict[str, Any]:
        return {"tcp://a": self.variables}


def test_a_corpus_in_parts(client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As one process makes them; parts that are there are not made again."""
    for number, text in enumerate(("To be\nor not\n", "to be\n", "that is\n\n")):
        (tmp_path / f"part-{number}.txt").write_text(text)
    arguments = ["score", str(tmp_path / "part-*.txt"), "--lines", "--words", "--model", "shakespeare", "--output-dir"]
    assert main([*arguments, str(tmp_path / "alone")]) == 0
    (tmp_path / "cluster").mkdir()
    for name in ("meta.json", "part-1.jsonl"):
        (tmp_path / "cluster" / name).write_bytes((tmp_path / "alone" / name).read_bytes())
    before = (tmp_path / "cluster" / "part-1.jsonl").stat().st_ino
    address = client.scheduler.address
    assert main([*arguments, str(tmp_path / "cluster"), "--dask", address]) == 0
    assert "part-2.txt, line 2: nothing to score" in capsys.readouterr().err
    for path in (tmp_path / "alone").iterdir():
        assert (tmp_path / "cluster" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "cluster" / "part-1.jsonl").stat().st_ino == before


def test_there_is_no_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picogpt.corpus.cluster.CONNECT", 0.2)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        assert main(["score", "a", "b c", "--model", "shakespeare", "--dask", address]) == 2
        assert "there is no Dask scheduler at" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["score", "a", "b c", "--model", "shakespeare", "--dask", "local"]) == 2
    assert "pip install 'dask[distributed]'" in capsys.readouterr().err


@contextmanager
def process(*command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_LOGGING__DISTRIBUTED": "error", **variables}
    with subprocess.Popen([sys.executable, "-m", *command], env=env, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def cluster_of_one(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a scheduler with one worker, each a process that can be killed."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            process("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        )
        wait_until(lambda: file.exists() and file.read_bytes().endswith(b"}"))
        stack.enter_context(
            process(
                *("distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"),
                *("--no-nanny", "--local-directory", str(folder)),
                **WORKER_VARIABLES,
            )
        )
        yield json.loads(file.read_text())["address"], scheduler


def wait_until(what: Any) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_client_is_killed_and_then_the_scheduler_and_no_row_is_lost_or_twice(tmp_path: Path) -> None:
    texts, output, expected = tmp_path / "texts.txt", tmp_path / "rows.csv", tmp_path / "expected.csv"
    lines = [line for line in read_text("tinyshakespeare.txt").splitlines() if line][:900]
    texts.write_text("\n".join(lines) + "\n")
    arguments = ["score", str(texts), "--lines", "--model", "shakespeare", "--output"]
    assert main([*arguments, str(expected), "--workers", "1"]) == 0

    def n_rows() -> int:
        return output.read_bytes().count(b"\n") if output.exists() else 0

    with cluster_of_one(tmp_path) as (address, scheduler):
        with process("picogpt", *arguments, str(output), "--dask", address) as client:
            wait_until(lambda: n_rows() > 64)
            client.send_signal(signal.SIGKILL)
            client.wait()
        n_before = n_rows()
        assert n_before < 901
        with process("picogpt", *arguments, str(output), "--resume", "--dask", address) as client:
            wait_until(lambda: n_rows() > n_before)
            scheduler.send_signal(signal.SIGKILL)
            assert client.wait(60) == 2
            assert client.stderr is not None
            assert client.stderr.read().splitlines()[-1].startswith(b"picogpt: the Dask scheduler is lost")
    assert n_rows() < 901
    assert main([*arguments, str(output), "--resume", "--workers", "1"]) == 0
    assert output.read_bytes() == expected.read_bytes()
