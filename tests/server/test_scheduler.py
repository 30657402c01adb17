"""The thread that serves: who gets in, what else it does, and how it ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from picogpt.decoding import sampling
from picogpt.decoding.loop import generate, generate_batch
from picogpt.errors import PicoGPTError
from picogpt.server.scheduler import Closed, Done, Event, Failure, QueueFull, Request, Scheduler, Token
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(11))
LONG = 25  # tokens
SECONDS = 60.0  # that a test waits at most for what must come


@contextmanager
def scheduler(**options: Any) -> Iterator[Scheduler]:
    running = Scheduler(PARAMS, N_HEAD, **options)
    try:
        yield running
    finally:
        running.close(0)
        assert not running.thread.is_alive()


class Inbox:
    """What a request's `receive` got."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()

    def request(self, ids: list[int], n_tokens: int) -> Request:
        return Request(ids, n_tokens, self.events.put)

    def rest(self) -> list[Event]:
        """Up to the last event."""
        events = [self.events.get(timeout=SECONDS)]
        while not isinstance(events[-1], (Done, Failure)):
            events.append(self.events.get(timeout=SECONDS))
        assert self.events.empty()
        return events

    def ids(self) -> list[int]:
        *tokens, end = self.rest()
        assert isinstance(end, Done)
        return [token.id for token in tokens if isinstance(token, Token)]


class Gate:
    """Work that keeps the thread busy until it is opened."""

    def __init__(self, running: Scheduler) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.future = running.run(self.wait)
        assert self.reached.wait(SECONDS)

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(SECONDS)

    def open(self) -> None:
        self.opened.set()
        self.future.result(SECONDS)


def test_requests_of_many_threads_get_what_each_gets_alone() -> None:
    prompts = [[i % 3, *range(3 + i % 7)] for i in range(24)]
    with scheduler(slots=5, chunk=2) as running:
        inboxes = [Inbox() for _ in prompts]
        requests = [inbox.request(ids, 6) for inbox, ids in zip(inboxes, prompts, strict=True)]
        threads = [threading.Thread(target=running.submit, args=[request]) for request in requests]
        for thread in threads:
            thread.start()
        for inbox, ids in zip(inboxes, prompts, strict=True):
            assert inbox.ids() == generate(ids, PARAMS, N_HEAD, 6)
        for thread in threads:
            thread.join()
        running.run(lambda: None).result(SECONDS)
        stats = running.stats
    assert (stats.n_queued, stats.n_running) == (0, 0)
    assert (stats.n_finished, stats.n_generated) == (24, 24 * 6)
    assert stats.n_prompt == sum(map(len, prompts))
    assert 0 < stats.n_hits < 24
    assert stats.n_cached > 0
    assert stats.cache_bytes > 0
    assert stats.n_steps >= 24 * 6 / 5, "at most a token for each slot in a step"


def test_beyond_the_queue_requests_are_refused_and_who_is_cancelled_gives_up_the_place() -> None:
    with scheduler(slots=1, queue=2) as running:
        gate = Gate(running)
        inboxes = [Inbox() for _ in range(4)]
        tickets = [running.submit(inbox.request([3], 2)) for inbox in inboxes[:2]]
        with pytest.raises(QueueFull, match="2 requests are waiting already; try again later"):
            running.submit(inboxes[2].request([3], 2))
        assert running.stats.n_queued == 2
        tickets[0].cancel()
        running.submit(inboxes[3].request([5], 2))
        gate.open()
        assert inboxes[1].ids() == generate([3], PARAMS, N_HEAD, 2)
        assert inboxes[3].ids() == generate([5], PARAMS, N_HEAD, 2)
        assert inboxes[0].events.empty()
        assert inboxes[2].events.empty()


def test_when_all_who_waited_are_gone_the_next_is_served() -> None:
    """The thread ended where it found nothing to do, and no request was ever answered again."""
    with scheduler(slots=1) as running:
        gate = Gate(running)
        for ticket in [running.submit(Inbox().request([3], 2)) for _ in range(3)]:
            ticket.cancel()
        gate.open()
        inbox = Inbox()
        running.submit(inbox.request([5], 2))
        assert inbox.ids() == generate([5], PARAMS, N_HEAD, 2)


def test_a_bad_prompt_is_refused_where_it_is_submitted() -> None:
    with scheduler() as running, pytest.raises(PicoGPTError, match="outside the vocabulary"):
        running.submit(Inbox().request([N_VOCAB], 1))


def test_who_is_cancelled_costs_no_further_token() -> None:
    """The request cancels itself at its third token, when the thread is just about to compute the next."""
    events: list[Event] = []
    with scheduler() as running:

        def receive(event: Event) -> None:
            events.append(event)
            if len(events) == 3:
                ticket.cancel()

        gate = Gate(running)
        ticket = running.submit(Request([3], LONG, receive))
        gate.open()
        while running.stats.n_finished == 0:
            running.run(lambda: None).result(SECONDS)
        assert ticket.is_cancelled
        assert running.stats.n_generated == len(events) == 3


def test_other_work_is_done_a_piece_between_two_tokens() -> None:
    order: list[str] = []

    def work() -> Generator[None, None, str]:
        for _ in range(4):
            order.append(threading.current_thread().name)
            yield
        return "done"

    with scheduler() as running:
        gate = Gate(running)
        done = threading.Event()
        running.submit(Request([3], 9, lambda event: done.set() if isinstance(event, Done) else order.append("token")))
        future = running.run(work)
        gate.open()
        assert future.result(SECONDS) == "done"
        assert done.wait(SECONDS)
    assert order[:8] == ["token", "picogpt scheduler"] * 4


@pytest.mark.parametrize("as_generator", [False, True])
def test_what_other_work_raises_is_the_futures(as_generator: bool) -> None:
    def function() -> None:
        raise PicoGPTError("no")

    def generator() -> Generator[None, None, None]:
        yield
        raise PicoGPTError("no")

    with scheduler() as running:
        future: Future[None] = running.run(generator if as_generator else function)
        with pytest.raises(PicoGPTError, match="no"):
            future.result(SECONDS)
        assert running.run(lambda: 3).result(SECONDS) == 3


def test_other_work_that_is_cancelled_ends_at_the_next_piece() -> None:
    pieces = []
    with scheduler() as running:

        def work() -> Generator[None, None, None]:
            while True:
                pieces.append(1)
                future.cancel()
                yield

        gate = Gate(running)
        future = running.run(work)
        gate.open()
        running.run(lambda: None).result(SECONDS)
        running.run(lambda: None).result(SECONDS)
    assert len(pieces) == 1


def test_closing_finishes_what_runs_and_waits_and_takes_nothing_new() -> None:
    running = Scheduler(PARAMS, N_HEAD, slots=2)
    gate = Gate(running)
    inboxes = [Inbox() for _ in range(5)]
    for inbox in inboxes:
        running.submit(inbox.request([3], LONG))
    future = running.run(lambda: "done")
    closing = threading.Thread(target=running.close, args=[SECONDS])
    closing.start()
    while running.deadline is None:
        pass
    for refused in (lambda: running.submit(Inbox().request([3], 1)), lambda: running.run(lambda: None)):
        with pytest.raises(Closed, match="shutting down"):
            refused()
    gate.open()
    closing.join(SECONDS)
    assert future.result(0) == "done"
    for inbox in inboxes:
        assert inbox.ids() == generate([3], PARAMS, N_HEAD, LONG)
    running.close(0)  # once more is no mistake


def test_when_the_grace_is_over_the_rest_fails() -> None:
    running = Scheduler(PARAMS, N_HEAD, slots=1)
    inboxes = [Inbox() for _ in range(3)]

    def forever() -> Generator[None, None, None]:
        while True:
            yield

    gate = Gate(running)
    for inbox in inboxes:
        running.submit(inbox.request([3], LONG))
    future = running.run(forever)
    closing = threading.Thread(target=running.close, args=[0])
    closing.start()
    while running.deadline is None:
        pass
    gate.open()
    closing.join(SECONDS)
    for inbox in inboxes:
        end = inbox.rest()[-1]
        assert isinstance(end, Failure)
        assert isinstance(end.error, Closed)
    with pytest.raises(Closed, match="shut down before"):
        future.result(0)


def test_a_client_that_cannot_be_told_harms_nobody() -> None:
    def broken(_: Event) -> None:
        raise BrokenPipeError

    with scheduler() as running:
        gate = Gate(running)
        inbox = Inbox()
        running.submit(Request([3], LONG, broken))
        running.submit(inbox.request([3], LONG))
        gate.open()
        assert inbox.ids() == generate([3], PARAMS, N_HEAD, LONG)
        running.run(lambda: None).result(SECONDS)
        assert running.stats.n_finished == 2


def test_samples_of_one_generator_are_those_of_one_call() -> None:
    """n samples are n requests that share a generator: each takes its own from it as it is submitted."""
    expected = generate_batch([[3, 5]], PARAMS, N_HEAD, 6, rng=7, n_samples=3)
    with scheduler() as running:
        rng, inboxes = np.random.default_rng(7), [Inbox() for _ in range(3)]
        for inbox in inboxes:
            running.submit(Request([3, 5], 6, inbox.events.put, {"rng": rng}))
        assert [inbox.ids() for inbox in inboxes] == [continuation.ids for continuation in expected]


def test_memory_stays_bounded_over_many_requests_with_cancels() -> None:
    """What is held after all is the cache, within its bound: no row, no event, no text of a request stays."""
    rng = np.random.default_rng(5)
    bound = 200_000
    with scheduler(slots=4, queue=400, chunk=3, cache_bytes=bound) as running:

        def receiver(n_left: int) -> Callable[[Event], None]:
            def receive(event: Event) -> None:
                nonlocal n_left
                n_left -= 1
                if n_left == 0:
                    ticket_of[receive].cancel()

            return receive

        ticket_of: dict[Callable[[Event], None], Any] = {}
        gate = Gate(running)
        for _ in range(200):
            receive = receiver(int(rng.integers(1, 30)))
            ids = rng.integers(5, size=int(rng.integers(1, N_CTX))).tolist()
            options: Any = {"rng": 3, "transforms": [sampling.top_k(3)]} if rng.random() < 0.5 else {}
            ticket_of[receive] = running.submit(
                Request(ids, int(rng.integers(0, 20)), receive, options, prompt_logprobs=bool(rng.random() < 0.3))
            )
        gate.open()
        while running.stats.n_finished < 200:
            running.run(lambda: None).result(SECONDS)
        batch = running.batch
        assert not batch.rows
        assert not batch.joining
        assert not running.waiting
        assert batch.prefixes.nbytes == sum(past.nbytes for past in batch.prefixes.pasts) <= bound
