"""Continuous batching (Yu et al. 2022, "Orca"): one thread computes for all requests, which come and go as they like.

All of the model's work is done in the scheduler's own thread: of the threads that are alive, OpenBLAS heeds only one
that asks for another number of BLAS threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar, overload

from picogpt.decoding.loop import Token
from picogpt.performance.layout import for_decoding
from picogpt.server.batch import Batch
from picogpt.server.requests import (
    Closed,
    Done,
    EngineError,
    Event,
    Failure,
    PromptScores,
    QueueFull,
    Request,
    Stats,
    Ticket,
)
from picogpt.server.row import Row
from picogpt.types import Params

__all__ = [
    "Closed",
    "Done",
    "EngineError",
    "Event",
    "Failure",
    "PromptScores",
    "QueueFull",
    "Request",
    "Scheduler",
    "Stats",
    "Ticket",
    "Token",
]

T = TypeVar("T")
CHUNK = 48  # tokens of prompts read beside a step: with 16 rows at 124M, on two cores, it then takes up to 200 ms
CACHE_BYTES = 1 << 29


class Scheduler:
    """At most `slots` requests side by side, each for as long as it takes; at most `queue` more wait their turn."""

    def __init__(
        self,
        params: Params,
        n_head: int,
        *,
        slots: int = 16,
        queue: int = 256,
        chunk: int = CHUNK,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.params, self.slots, self.queue = params, slots, queue
        self.batch = Batch(params, n_head, max(chunk, slots), cache_bytes)  # so that every prompt gets on in every step
        self.changed = threading.Condition()  # held to read or change what follows
        self.waiting: deque[Row] = deque()
        self.works: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self.deadline: float | None = None  # once it is closed
        self.thread = threading.Thread(target=self.loop, name="picogpt scheduler", daemon=True)
        self.thread.start()

    def submit(self, request: Request) -> Ticket:
        """Accept a request; raises `QueueFull`, `Closed`, and `PicoGPTError` for a prompt that cannot be continued."""
        row = Row(request, self.params)
        with self.changed:
            self.check_open()
            if len(self.waiting) >= self.queue:
                self.waiting = deque(row for row in self.waiting if not row.ticket.is_cancelled)
            if len(self.waiting) >= self.queue:
                raise QueueFull(f"{len(self.waiting)} requests are waiting already; try again later")
            self.waiting.append(row)
            self.changed.notify()
        return row.ticket

    @overload
    def run(self, work: Callable[[], Generator[None, None, T]]) -> Future[T]: ...

    @overload
    def run(self, work: Callable[[], T]) -> Future[T]: ...

    def run(self, work: Callable[[], Any]) -> Future[Any]:
        """Do other work on the model between two steps: a function, or a generator that yields where others may go on.

        The future has what either returns or raises. Raises `Closed`.
        """
        future: Future[Any] = Future()
        with self.changed:
            self.check_open()
            self.works.append((work, future))
            self.changed.notify()
        return future

    def close(self, grace: float) -> None:
        """Refuse new requests, finish others for up to `grace` seconds, fail the rest; returns when none is left."""
        with self.changed:
            self.deadline = time.monotonic() + grace
            self.changed.notify()
        self.thread.join()

    @property
    def stats(self) -> Stats:
        counts, prefixes = asdict(self.batch.counts), self.batch.prefixes
        return Stats(len(self.waiting), self.batch.n_rows, cache_bytes=prefixes.nbytes, **counts)

    def check_open(self) -> None:
        if self.deadline is not None:
            raise Closed("the server is shutting down and takes no more requests")

    def loop(self) -> None:
        with suppress(MemoryError):  # it can be done without
            self.batch.params = for_decoding(self.params)
        while self.let_in():
            if self.batch.n_rows:
                self.batch.step()
            with self.changed:
                work, future = self.works.popleft() if self.works else (None, None)
            if work and future and (rest := piece(work, future)):
                self.works.append((rest, future))

    def let_in(self) -> bool:
        """Let requests join while there are slots, or wait until there is something to do; False when all is over."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.works or self.batch.n_rows or self.deadline is not None)
            if self.deadline is not None and time.monotonic() >= self.deadline:
                self.give_up()
            while self.waiting and self.batch.n_rows < self.slots:
                self.batch.join(self.waiting.popleft())
            # who was waiting may have been cancelled, so nothing to do is no end unless one was announced
            return bool(self.works or self.batch.n_rows or self.deadline is None)

    def give_up(self) -> None:
        """Fail all that is left."""
        error = Closed("the server has shut down before the request was finished")
        for row in [*self.batch.joining, *self.batch.rows, *self.waiting]:
            self.batch.fail(row, error)
        for _, future in self.works:
            settle(future.set_exception, error)
        self.waiting.clear()
        self.works.clear()


def piece(work: Callable[[], Any], future: Future[Any]) -> Callable[[], Any] | None:
    """Do a piece of the work. Returns what does the next one, or None when there is none: the future has the result."""
    if future.cancelled():
        return None
    try:
        value = work()
        if isinstance(value, Generator):
            next(value)
            return lambda: value
        settle(future.set_result, value)
    except StopIteration as end:
        settle(future.set_result, end.value)
    except Exception as error:
        settle(future.set_exception, error)
    return None


def settle(how: Callable[[Any], None], value: object) -> None:
    with suppress(InvalidStateError):  # it was cancelled a moment ago
        how(value)
