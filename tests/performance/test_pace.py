"""A machine in a nutshell: a clock, cores that another process takes away, and layers that take as long as they do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from picogpt import performance
from picogpt.cache import KVCache
from picogpt.performance import pace, threads
from picogpt.performance.pace import MAX_WAIT, pace_of
from picogpt.performance.threads import n_blas_threads
from picogpt.types import Array
from tests.random_model import N_EMBD, N_HEAD, N_LAYER, random_params


class Machine:
    """Two cores. A layer takes 1 ms on two threads, `on_one` on one, `shared` on two while one of them is shared."""

    def __init__(self, patch: pytest.MonkeyPatch, on_one: float = 1.4, shared: float = 2.6) -> None:
        self.now = self.cpu = 0.0
        self.n_threads, self.is_busy, self.on_one, self.shared = 2, False, on_one, shared
        patch.setattr(pace, "N_CORES", 2)
        patch.setattr(pace, "PACES", {})
        patch.setattr("picogpt.performance.pace.time.perf_counter", lambda: self.now)
        patch.setattr("picogpt.performance.pace.time.process_time", lambda: self.cpu)
        patch.setattr(pace, "set_blas_threads", self.set_threads)
        patch.setattr(pace, "n_blas_threads", lambda: self.n_threads)

    def set_threads(self, n: int) -> None:
        self.n_threads = n

    def decode(self, seconds: float) -> float:
        """Tokens of twelve layers for so long; returns the mean seconds of a layer."""
        start, n = self.now, 0
        while self.now < start + seconds:
            with pace_of(1, 768) as layer_done:
                for _ in range(12):
                    alone = self.n_threads == 1
                    taken = 1e-3 * (self.on_one if alone else self.shared if self.is_busy else 1.0)
                    self.now += taken
                    self.cpu += taken * (1.0 if alone else 1.4 if self.is_busy else 2.0)
                    layer_done()
                    n += 1
        return (self.now - start) / n

    def n_threads_in_a_pass(self) -> int:
        with pace_of(1, 768):
            return self.n_threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_with_all_cores_nothing_is_tried(machine: Machine) -> None:
    assert machine.decode(5.0) == pytest.approx(1e-3)


def test_beside_a_busy_process_one_thread_does_the_work(machine: Machine) -> None:
    """Two threads that wait for each other would take 2.6 ms a layer, one takes 1.4."""
    machine.decode(0.5)
    machine.is_busy = True
    assert machine.decode(1.0) < 1.05 * 1.4e-3
    assert machine.decode(10.0) < 1.005 * 1.4e-3  # trials have become rare


def test_a_pass_that_begins_on_a_busy_machine_finds_out_at_once(machine: Machine) -> None:
    machine.is_busy = True
    assert machine.decode(0.3) < 1.15 * 1.4e-3


def test_trials_are_counted_by_the_work_and_not_by_the_pauses_between(machine: Machine) -> None:
    """Prompts that arrive every few seconds would else begin with a trial each."""
    machine.is_busy = True
    machine.decode(10.0)
    seconds = 0.0
    for _ in range(30):
        machine.now += 5.0
        seconds += machine.decode(0.016) / 30
    assert seconds < 1.02 * 1.4e-3


def test_all_threads_are_back_soon_after_the_other_process_has_ended(machine: Machine) -> None:
    machine.is_busy = True
    machine.decode(20.0)
    machine.is_busy = False
    machine.decode(MAX_WAIT + 0.1)
    assert machine.decode(1.0) == pytest.approx(1e-3)


def test_where_one_thread_is_slower_all_of_them_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing cores are a reason to compare; only the clock decides."""
    machine = Machine(monkeypatch, on_one=5.0)
    machine.is_busy = True
    machine.decode(1.0)
    assert machine.decode(10.0) < 1.01 * machine.shared * 1e-3


def test_trials_that_are_quick_but_lack_cores_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shared core layers may be lucky for a while."""
    machine = Machine(monkeypatch)
    machine.is_busy = True
    machine.decode(0.3)
    machine.shared = 1.0
    n_passes = n_alone = 0
    while n_passes < 500:
        machine.decode(0.0001)
        n_passes += 1
        n_alone += machine.n_threads_in_a_pass() == 1
    assert n_alone > 0.9 * n_passes


def test_blas_has_its_threads_back_between_passes(machine: Machine) -> None:
    """Other code of this process shall not run on one thread because we do."""
    machine.is_busy = True
    machine.decode(1.0)
    assert machine.n_threads_in_a_pass() == 1
    assert machine.n_threads == 2
    with contextlib.suppress(KeyboardInterrupt), pace_of(1, 768):
        raise KeyboardInterrupt
    assert machine.n_threads == 2
    assert machine.n_threads_in_a_pass() == 1


def test_a_limit_that_the_caller_sets_is_kept(machine: Machine) -> None:
    machine.is_busy = True
    machine.decode(1.0)
    machine.n_threads = 1
    machine.decode(5.0)
    assert machine.n_threads == 1
    machine.n_threads, machine.is_busy = 2, False
    machine.decode(2.0)
    assert machine.decode(1.0) == pytest.approx(1e-3)
    machine.is_busy = True
    assert machine.decode(2.0) < 1.05 * 1.4e-3


def test_a_pass_beside_another_leaves_the_threads_to_it(machine: Machine) -> None:
    machine.is_busy = True
    machine.decode(1.0)
    seen: list[int] = []
    with pace_of(1, 768):
        machine.n_threads = 7  # what the other pass, in its own thread, must leave alone
        other = threading.Thread(target=lambda: seen.append(machine.n_threads_in_a_pass()))
        other.start()
        other.join()
        assert machine.n_threads == 7
    assert seen == [7]


def test_parts_within_a_pass_have_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8's vocabulary is multiplied in parts; a pass that holds BLAS must not make them wait for each other."""
    monkeypatch.setattr(threads, "n_blas_threads", lambda: 2)
    both = threading.Barrier(2, timeout=10)
    with pace_of(1, 768):
        threads.each(lambda _: both.wait(), range(2))


def test_a_real_pass_leaves_the_number_of_threads_as_it_was() -> None:
    before = n_blas_threads()
    params = random_params(np.random.default_rng(0))
    cache = KVCache.for_params(params, N_HEAD)
    for ids in ([1, 2, 3], [4], [5]):
        performance.gpt2(ids, **params, n_head=N_HEAD, cache=cache)
    assert n_blas_threads() == before


def test_a_pass_with_a_tap_has_a_pace_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a busy process it took three times as long as the plain pass, which gives the core up."""
    passes: list[tuple[int, int]] = []
    layers: list[int] = []

    @contextlib.contextmanager
    def noted(n_rows: int, n_embd: int) -> Iterator[Callable[[], None]]:
        passes.append((n_rows, n_embd))
        yield lambda: layers.append(len(seen))

    monkeypatch.setattr(performance, "pace_of", noted)
    seen: list[str] = []

    def tap(name: str, array: Array) -> Array:
        seen.append(name)
        return array

    performance.hidden_states([[1, 2, 3], [4, 5, 6]], **random_params(np.random.default_rng(0)), n_head=N_HEAD, tap=tap)
    assert passes == [(6, N_EMBD)]
    assert [seen[n - 1] for n in layers] == [f"blocks.{i}.resid_post" for i in range(N_LAYER)]
