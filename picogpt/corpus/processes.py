"""Several processes side by side, each with one BLAS thread. What they are given, and in what order, is as with one.

A batch is worked on by whoever is free, and the results come in the order of the batches. A process that is killed is
replaced, and its batch done again. The weights of a model are mapped from its file, so the processes share them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

from picogpt.corpus.ordered import LEAD, in_order
from picogpt.errors import PicoGPTError

T = TypeVar("T")
R = TypeVar("R")

ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
MOST_DEATHS = 3  # over one batch; then it is the batch that kills


class Process:
    """One worker, and the batch that it has."""

    def __init__(self, work: bytes) -> None:
        context = get_context("spawn")  # a fork would have this process's threads and locks in whatever state
        self.connection, far_end = context.Pipe()
        self.process = context.Process(target=serve, args=(far_end, work), daemon=True)
        with environment(ONE_THREAD), without_interrupts():
            self.process.start()
        far_end.close()  # only the worker has it now: it is closed when the worker dies
        self.task: tuple[int, Any] | None = None

    def give(self, number: int, item: Any) -> None:
        self.task = number, item
        with contextlib.suppress(OSError):  # it is dead, which the next `answer` tells
            self.connection.send(item)

    def answer(self) -> tuple[str, Any] | None:
        """What came of its batch; None when it died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def in_processes(work: Callable[[T], R], items: Iterable[T], n_processes: int) -> Iterator[R]:
    """`map(work, items)` in so many processes; `work` is pickled. What it raises there is raised here."""
    team = Team(pickle.dumps(work), n_processes)
    try:
        yield from in_order(team, items)
    finally:
        team.stop()


class Team:
    """Several workers, of which those that die are replaced."""

    def __init__(self, work: bytes, size: int) -> None:
        self.work, self.size = work, size
        self.processes: list[Process] = []
        self.deaths: Counter[int] = Counter()  # over each batch

    def lead(self) -> int:
        return LEAD * self.size

    def has_room(self) -> bool:
        return len(self.processes) < self.size or any(process.task is None for process in self.processes)

    def give(self, number: int, item: Any) -> None:
        """A batch for whoever is free; a worker is started when there is something for it to do."""
        free = next((process for process in self.processes if process.task is None), None)
        if free is None:
            free = Process(self.work)
            self.processes.append(free)
        free.give(number, item)

    def answers(self) -> Iterator[tuple[int, Any]]:
        """Batches that are done, with their numbers; waits until there is news."""
        busy = {process.connection: process for process in self.processes if process.task is not None}
        for connection in wait(list(busy)):
            process = busy[cast(Connection, connection)]
            number, item = cast(tuple[int, Any], process.task)
            answer = process.answer()
            if answer is None:
                self.replace(process, number, item)
            elif answer[0] == "raised":
                raise answer[1]
            else:
                process.task = None
                yield number, answer[1]

    def replace(self, process: Process, number: int, item: Any) -> None:
        process.stop()
        self.processes.remove(process)
        self.deaths[number] += 1
        if self.deaths[number] == MOST_DEATHS:
            raise PicoGPTError(
                f"{MOST_DEATHS} worker processes died over the same batch; is there too little memory? Use fewer "
                "(--workers)"
            )
        self.give(number, item)

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def serve(connection: Connection, work: bytes) -> None:
    """What a worker does, until nobody wants anything of it any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we work for, which will end us
    function = pickle.loads(work)
    with contextlib.suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            try:
                answer = "done", function(item)
            except Exception as error:  # it is raised where it can be told
                answer = "raised", portable(error)
            connection.send(answer)


def portable(error: Exception) -> Exception:
    """The error, or, if it cannot be sent or is a bug, one that says where it happened."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class may want whatever
        return RuntimeError(text)
    if not isinstance(error, PicoGPTError | MemoryError):
        error.add_note(text)
    return error


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Processes that are started now have these variables, whatever this one has."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes that are started now do not see Ctrl-C, also while they import; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
