"""One thread computes for many requests, which join and leave between its steps."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar, Unpack

import numpy as np

from picogpt.decoding.loop import Options, Token, decode, most_likely
from picogpt.decoding.rows import check_prompts
from picogpt.errors import PicoGPTError
from picogpt.performance import gpt2
from picogpt.server.requests import (
    Closed,
    Done,
    Event,
    Failure,
    PromptScores,
    QueueFull,
    Request,
    Stats,
    Ticket,
)
from picogpt.types import Params

__all__ = [
    "Closed",
    "Done",
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
CHUNK = 32
CACHE_BYTES = 1 << 30


class Scheduler:
    """Runs at most `slots` requests side by side; at most `queue` more wait."""

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
        self.params, self.n_head, self.slots, self.queue = params, n_head, slots, queue
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._work: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._running: list[tuple[Ticket, Iterator[Event]]] = []
        self._closed = False
        self._deadline = float("inf")
        self._counts = dict.fromkeys(("n_finished", "n_prompt", "n_generated", "n_steps"), 0)
        self._thread = threading.Thread(target=self._loop, name="picogpt engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Ticket:
        """Raises `QueueFull`, `Closed`, and `PicoGPTError` for a prompt that cannot be continued."""
        check_prompts([request.ids], len(self.params["wpe"]), request.n_tokens)
        ticket = Ticket(request)
        with self._changed:
            if self._closed:
                raise Closed("the server is shutting down; it takes no more requests")
            if len(self._waiting) >= self.queue:
                raise QueueFull(f"{self.queue} requests are waiting already; try again later")
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def run(self, work: Callable[[], Generator[None, None, T] | T]) -> Future[T]:
        """Other work on the model, between steps in the engine's thread: a value, or a generator that returns one and
        yields whenever others may be served."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise Closed("the server is shutting down; it takes no more requests")
            self._work.append((work, future))
            self._changed.notify()
        return future

    def close(self, grace: float) -> None:
        """Refuse new requests, finish the others for up to `grace` seconds, fail the rest; returns when all have
        ended."""
        with self._changed:
            self._closed = True
            self._deadline = time.monotonic() + grace
            self._changed.notify()
        self._thread.join()

    @property
    def stats(self) -> Stats:
        return Stats(len(self._waiting), len(self._running), n_cached=0, n_hits=0, cache_bytes=0, **self._counts)

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._work or self._running or self._closed):
                    self._changed.wait()
                if self._closed and not (self._waiting or self._work or self._running):
                    return
                while self._waiting and len(self._running) < self.slots:
                    ticket = self._waiting.popleft()
                    self._running.append((ticket, self._events(ticket.request)))
                work = self._work.popleft() if self._work else None
            if work is not None:
                self._do(*work)
            self._counts["n_steps"] += 1
            self._running = [pair for pair in self._running if self._step(*pair)]
            if time.monotonic() > self._deadline:
                self._fail_all()

    def _do(self, work: Callable[[], Any], future: Future[Any]) -> None:
        try:
            value = work()
            if isinstance(value, Generator):
                try:
                    next(value)
                    self._work.append((lambda: value, future))
                except StopIteration as stop:
                    future.set_result(stop.value)
            else:
                future.set_result(value)
        except BaseException as error:
            future.set_exception(error)

    def _step(self, ticket: Ticket, events: Iterator[Event]) -> bool:
        """One event more; whether another may follow."""
        if not ticket.is_cancelled:
            try:
                event = next(events)
                ticket.request.receive(event)
                if not isinstance(event, Done):
                    return True
            except PicoGPTError as error:
                ticket.request.receive(Failure(error))
        self._counts["n_finished"] += 1
        return False

    def _events(self, request: Request) -> Iterator[Event]:
        n_top = request.options.get("n_top")
        if request.prompt_logprobs:
            logits = gpt2(request.ids, **self.params, n_head=self.n_head)[:-1]
            scores = most_likely(logits, np.asarray(request.ids[1:], np.int64), n_top or 0)
            yield PromptScores([None, *(score for score, _ in scores)], [(), *(top for _, top in scores)])
        options: Options = {**request.options, "slide": False, "lookup": False}
        n, reason = 0, None
        for token in self._tokens(request, **options):
            n, reason = n + 1, token.finish_reason
            yield token
        yield Done(reason or "length", len(request.ids), 0, n)

    def _tokens(self, request: Request, **options: Unpack[Options]) -> Iterator[Token]:
        return decode([request.ids], self.params, self.n_head, request.n_tokens, **options)

    def _fail_all(self) -> None:
        error = Closed("the server is shutting down; the request was not finished")
        with self._changed:
            tickets = [ticket for ticket, _ in self._running] + list(self._waiting)
            self._running, self._waiting = [], deque()
            for _, future in self._work:
                future.set_exception(error)
            self._work.clear()
        for ticket in tickets:
            ticket.request.receive(Failure(error))
