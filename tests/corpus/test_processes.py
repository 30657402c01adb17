"""Several processes: the results and their order are those of one, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from picogpt.corpus.ordered import LEAD
from picogpt.corpus.processes import ONE_THREAD, environment, in_processes
from picogpt.errors import PicoGPTError


def slow_first(number: int) -> tuple[int, int]:
    """Its square, late if it is the first; and who did it."""
    time.sleep(0.3 if number == 0 else 0)
    return number * number, os.getpid()


def test_results_come_in_order_and_from_several_processes() -> None:
    results = list(in_processes(slow_first, range(20), 2))
    assert [square for square, _ in results] == [i * i for i in range(20)]
    assert len({pid for _, pid in results}) == 2
    assert list(in_processes(slow_first, [], 2)) == []


def test_no_more_is_read_than_is_worked_on_soon() -> None:
    """A corpus does not fit into memory."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    for n_done, _ in enumerate(in_processes(slow_first, items(), 2), 1):
        assert taken <= n_done + 2 * LEAD


def thread_variables(_: int) -> list[str | None]:
    return [os.environ.get(name) for name in ONE_THREAD]


def test_workers_have_one_blas_thread_and_this_process_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert list(in_processes(thread_variables, [0], 1)) == [["1"] * len(ONE_THREAD)]
    with environment(ONE_THREAD):
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7"
    assert "OMP_NUM_THREADS" not in os.environ


def dies_once(marker: Path, number: int) -> int:
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_its_batch_done_again(tmp_path: Path) -> None:
    marker = tmp_path / "died"
    assert list(in_processes(partial(dies_once, marker), range(9), 2)) == list(range(9))
    assert marker.exists()


def dies(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_batch_that_kills_every_worker_ends_the_run() -> None:
    with pytest.raises(PicoGPTError, match="3 worker processes died over the same batch"):
        list(in_processes(dies, [0, 1], 1))


class StrangeError(Exception):
    """Cannot be sent."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def raises(error: Any, number: int) -> None:
    raise (StrangeError() if error is None else error)


@pytest.mark.slow
def test_what_a_worker_raises_is_raised_here() -> None:
    """Bad input as it is; a bug with its traceback; what cannot be sent as its traceback."""
    with pytest.raises(PicoGPTError, match="bad"):
        list(in_processes(partial(raises, PicoGPTError("bad")), [0], 1))
    with pytest.raises(KeyError) as caught:
        list(in_processes(partial(raises, KeyError("bug")), [0], 1))
    assert "in raises" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="StrangeError"):
        list(in_processes(partial(raises, None), [0], 1))


@pytest.mark.slow
def test_workers_end_when_nobody_wants_more_of_them() -> None:
    results = cast(Generator[tuple[int, int], None, None], in_processes(slow_first, range(100), 2))
    _, pid = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
