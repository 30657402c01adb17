"""The loop: batches of one size, results in order, and what an earlier run did is not done again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from picogpt.corpus import loop
from picogpt.corpus.jobs import Job, Result
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError


class Lengths(Job[str]):
    """How long a text is, and how many were read beside it."""

    def prepare(self, record: Record) -> str:
        return record.text("text")

    def measure(self, prepared: Sequence[str]) -> Iterable[Result]:
        return [Result({"length": len(text), "beside": len(prepared)}) for text in prepared]


class Sink:
    def __init__(self, done: int = 0) -> None:
        self.done = done
        self.written: list[tuple[int, int, int]] = []
        self.refused: list[tuple[int, str]] = []
        self.advanced: list[tuple[int, bool]] = []

    def has(self, record: Record) -> bool:
        return record.line <= self.done

    def write(self, record: Record, result: Result) -> None:
        self.written.append((record.line, result.summary["length"], result.summary["beside"]))

    def refuse(self, record: Record, why: str) -> None:
        self.refused.append((record.line, why))

    def advance(self, n_records: int, worked: bool = True) -> None:
        self.advanced.append((n_records, worked))


RECORDS = [
    *(Record("x", i, {"text": "a" * i}) for i in (1, 2, 3)),
    Record("x", 4, {}, "no"),
    Record("x", 5, {"text": "aaaaa"}),
]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHUNK", 2)


def test_records_go_through_in_order_and_bad_ones_are_told() -> None:
    sink = Sink()
    loop.run(RECORDS, Lengths(), sink)
    assert sink.written == [(1, 1, 2), (2, 2, 2), (3, 3, 1), (5, 5, 1)]
    assert sink.refused == [(4, "no")]
    assert sink.advanced == [(2, True), (2, True), (1, True)]


def test_a_batch_that_an_earlier_run_began_is_worked_on_as_a_whole() -> None:
    sink = Sink(done=3)
    loop.run(RECORDS, Lengths(), sink)
    assert sink.written == [(5, 5, 1)]
    assert sink.refused == [(4, "no")]
    assert sink.advanced == [(2, False), (2, True), (1, True)]


def test_a_refusal_ends_the_run_where_the_sink_says_so() -> None:
    class Strict(Sink):
        def refuse(self, record: Record, why: str) -> None:
            raise PicoGPTError(why)

    sink = Strict()
    with pytest.raises(PicoGPTError, match="no"):
        loop.run(RECORDS, Lengths(), sink)
    assert sink.written == [(1, 1, 2), (2, 2, 2), (3, 3, 1)]
