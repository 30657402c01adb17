"""How many threads BLAS uses for passes over few rows, chosen by the clock of the run itself.

BLAS's threads wait for each other by spinning. When another process takes one of the cores away, every product waits
until the scheduler lets the last thread run: on two cores a token then takes two to three times as long on two
threads as on one. So a pass compares the processor time that it gets with the time on the clock. When it is not given
its cores it tries fewer threads for some layers, and stays with whichever is faster. From then on it tries all of them
again now and then, one layer at a time, and less often for as long as that loses. All times here are seconds spent in
passes: a trial after every pause would cost short passes more than it could win.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from picogpt.performance import threads
from picogpt.performance.threads import TAKEN, n_blas_threads, set_blas_threads
from picogpt.performance.thresholds import FEW_ROWS

WINDOW = 0.03  # seconds in whose course the processor time is meaningful: it is counted in steps of up to 4 ms
MISSING = 0.4  # cores that this process must lack on average before fewer threads are tried
N_COMPARED = 3  # layers with fewer threads that are compared with those before
TRIAL = 0.03  # seconds for which trials must succeed before all threads are used again
MIN_WAIT, MAX_WAIT = 0.1, 1.0  # seconds between trials; each that fails doubles them
N_CORES = os.cpu_count() or 1
CALM = 2.0  # seconds with all threads after which earlier failures are forgotten


class Pace:
    """One kind of pass: it tells `layer` when a layer is done. See `pace_of`."""

    def __init__(self) -> None:
        self.n_all = N_CORES  # BLAS is only asked for its number when fewer threads are to be used
        self.n_fewer = 0  # threads in use instead of all of them; 0 when all are in use
        self.on_trial = False  # whether all are in use for a trial
        self.wait, self.next_change = MIN_WAIT, 0.0  # seconds, and the moment, until the other way may be tried again
        self.now = 0.0  # seconds in all passes
        self.since = 0.0  # the moment of the last change
        self.fewer_seconds = 0.0  # of a layer, smoothed
        self.all_seconds = 0.0  # of a layer before the change to fewer, until these are compared with it
        self.last = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin to count anew."""
        self.wall, self.cpu, self.last_cpu = 0.0, 0.0, time.process_time()
        self.layers_wall, self.n_layers = 0.0, 0

    def begin(self) -> None:
        if self.n_fewer:
            self.n_all = n_blas_threads()  # the caller may have changed it
            if not self.on_trial:
                set_blas_threads(min(self.n_fewer, self.n_all))
        self.last, self.last_cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        self.wall += time.perf_counter() - self.last
        self.cpu += time.process_time() - self.last_cpu

    def release(self) -> None:
        if self.n_fewer and not self.on_trial:
            set_blas_threads(self.n_all)  # between passes BLAS is everybody's

    def layer(self) -> None:
        """A layer is done: note its time, and choose the number of threads for the next one."""
        clock = time.perf_counter()
        seconds, self.last = clock - self.last, clock
        self.now += seconds
        self.wall += seconds
        self.layers_wall += seconds
        self.n_layers += 1
        if self.on_trial:
            self.judge_trial(seconds)
        elif self.n_fewer:
            self.judge_fewer(seconds)
        elif self.wall >= WINDOW:
            self.judge_all()

    def n_cores(self) -> float:
        """How many cores this process has had since the last restart."""
        cpu = time.process_time()
        self.cpu, self.last_cpu = self.cpu + cpu - self.last_cpu, cpu
        return self.cpu / self.wall

    def judge_all(self) -> None:
        """With all threads: fewer are tried when the processor time says that cores are missing."""
        if self.now - self.since > CALM:
            self.wait = MIN_WAIT
        n_cores = self.n_cores()
        if n_cores < N_CORES - MISSING and self.now >= self.next_change:
            self.n_all = n_blas_threads()
            if n_cores < self.n_all - MISSING:
                self.n_fewer = max(1, min(int(n_cores + MISSING / 2), self.n_all - 1))
                self.all_seconds = self.layers_wall / self.n_layers
                return self.use_fewer()
        return self.restart()

    def use_fewer(self) -> None:
        set_blas_threads(self.n_fewer)
        self.on_trial = False
        self.since, self.next_change = self.now, self.now + self.wait
        self.wait = min(2 * self.wait, MAX_WAIT)
        self.restart()

    def judge_fewer(self, seconds: float) -> None:
        """With fewer threads: back to all if those were faster after all, or for a trial when it is time."""
        if self.all_seconds and self.n_layers == N_COMPARED:
            self.fewer_seconds = self.layers_wall / N_COMPARED
            if self.fewer_seconds > self.all_seconds:
                self.next_change = self.now + self.wait
                return self.use_all()
            self.all_seconds = 0.0
        self.fewer_seconds += 0.1 * (seconds - self.fewer_seconds)
        if self.now >= self.next_change and not self.all_seconds:
            self.use_trial()
        return None

    def use_trial(self) -> None:
        set_blas_threads(self.n_all)
        self.on_trial, self.since = True, self.now
        self.restart()

    def judge_trial(self, seconds: float) -> None:
        """On trial with all threads: one layer that is slower than with fewer ends it, and so do missing cores."""
        if seconds > self.fewer_seconds:
            self.use_fewer()
        elif self.wall >= TRIAL:
            if self.n_cores() < self.n_all - MISSING:
                self.use_fewer()
            else:
                self.use_all()

    def use_all(self) -> None:
        set_blas_threads(self.n_all)
        self.n_fewer, self.on_trial, self.since = 0, False, self.now
        self.restart()


PACES: dict[tuple[int, int], Pace] = {}  # by the width of the model, and the rows to a power of two


def layer_without_pace() -> None:
    """What a pass calls after each layer when the number of threads is not its to choose."""


@contextmanager
def pace_of(n_rows: int, n_embd: int) -> Iterator[Callable[[], None]]:
    """Choose BLAS's threads for a pass over `n_rows`; gives a function to call after each layer.

    Many rows are computed in threads of our own. A pass beside another one, in a thread of the caller's, leaves the
    choice to that.
    """
    if n_rows > FEW_ROWS or N_CORES < 2 or not threads.BUSY.acquire(blocking=False):
        yield layer_without_pace
        return
    kind = n_embd, n_rows.bit_length()
    if kind not in PACES:
        PACES[kind] = Pace()
    pace = PACES[kind]
    taken = threading.get_ident(), pace.release
    TAKEN.append(taken)
    try:
        pace.begin()
        yield pace.layer
        pace.end()
    finally:
        pace.release()
        TAKEN.remove(taken)
        threads.BUSY.release()
