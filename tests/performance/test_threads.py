from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from picogpt.performance import driver, threads
from picogpt.performance.driver import causal_attention
from picogpt.performance.threads import each, n_blas_threads, one_blas_thread


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "n_blas_threads", lambda: 2)


def test_every_item_is_done_once() -> None:
    done: list[int] = []
    each(done.append, range(1000))
    assert sorted(done) == list(range(1000))
    each(done.append, [])
    assert len(done) == 1000


def test_many_items_are_done_side_by_side() -> None:
    """Each of two items waits for the other to begin: one after the other they would wait in vain."""
    both, arrived = threading.Barrier(2, timeout=10), []
    each(lambda _: arrived.append(both.wait()), range(2))
    assert sorted(arrived) == [0, 1]


def test_few_items_stay_in_their_thread_and_so_do_the_parts_of_a_part() -> None:
    seen: list[tuple[str, str]] = []

    def part(name: str) -> None:
        own = threading.current_thread().name
        each(lambda _: seen.append((own, threading.current_thread().name)), range(3))

    each(part, "ab", many=False)
    assert set(seen) == {(threading.current_thread().name,) * 2}
    seen.clear()
    each(part, "ab")
    assert len(seen) == 6
    assert all(outer == inner for outer, inner in seen)


def test_an_error_reaches_the_caller_and_no_new_item_begins() -> None:
    done = []

    def work(item: int) -> None:
        if item == 0:
            raise ValueError("no")
        done.append(item)

    for _ in range(20):
        done.clear()
        with pytest.raises(ValueError, match="no"):
            each(work, range(100_000))
        assert len(done) < 99_999
        assert threads.BUSY.acquire(blocking=False)  # the next computation has its threads again
        threads.BUSY.release()


def items_with_an_end() -> Iterator[int]:
    yield from range(5)


def test_items_may_come_from_an_iterator() -> None:
    done: list[int] = []
    each(done.append, items_with_an_end())
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_blas_has_its_threads_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    before = n_blas_threads()
    inside = []
    each(lambda _: inside.append(n_blas_threads()), range(4))
    assert set(inside) == {1}
    assert n_blas_threads() == before
    with one_blas_thread() as alone:
        assert alone
        assert n_blas_threads() == 1
    assert n_blas_threads() == before


def test_attention_is_the_same_in_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 3, 300, 8))
    side_by_side = causal_attention(q, k, v)
    monkeypatch.setattr(driver, "FEW_ROWS", 10**9)
    np.testing.assert_array_equal(causal_attention(q, k, v), side_by_side)


def test_errstate_holds_in_all_threads() -> None:
    """In the others NumPy warned of what the caller had said is meant."""
    both = threading.Barrier(2, timeout=10)

    def work(_: int) -> None:
        both.wait()
        assert np.geterr()["over"] == "call"

    with np.errstate(over="call"):
        each(work, range(2))


FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")  # Python's own: a process with threads is forked
from picogpt.performance import pace, threads

def in_parts(started, end):
    threads.each(lambda _: (started.set(), end.wait()), range(2))

def alone(started, end):
    with threads.one_blas_thread():
        started.set(), end.wait()

def slowly(started, end):
    pace.PACES[7, 1] = slow = pace.Pace()
    slow.n_fewer = 1
    with pace.pace_of(1, 7):
        started.set(), end.wait()

def check():
    both = threading.Barrier(2, timeout=10)
    assert threads.n_blas_threads() == 2
    threads.each(lambda _: both.wait(), range(2))  # side by side, or they wait in vain
    with pace.pace_of(1, 7) as layer:
        assert layer is not pace.layer_without_pace
    assert threads.n_blas_threads() == 2

def compute():
    threads.set_blas_threads(2)  # here, since threadpoolctl lets one thread alone change the number
    globals()[sys.argv[1]](started, end)

pace.N_CORES = 2
started, end = threading.Event(), threading.Event()
computing = threading.Thread(target=compute, daemon=True)
computing.start()
assert started.wait(10)
assert threads.n_blas_threads() == 1
if (child := os.fork()) == 0:
    try:
        check()
        os._exit(0)
    finally:
        os._exit(1)
status = os.waitpid(child, 0)[1]
end.set()
computing.join()
check()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("computation", ["in_parts", "alone", "slowly"])
def test_a_child_forked_in_the_middle_of_a_computation_has_all_threads(computation: str) -> None:
    """It kept one BLAS thread, a lock that no thread would release, and a pool without threads."""
    subprocess.run([sys.executable, "-c", FORK, computation], check=True, timeout=60)
