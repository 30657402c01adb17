"""The one loop over a corpus: records are read, worked on in batches, and written in their order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol

from picogpt.corpus.jobs import Job, Result
from picogpt.corpus.records import Record

CHUNK = 64  # records that are read side by side, sorted by length; a run that is killed loses no more than these

Batch = list[Record]
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # map, or what does the same side by side


class Sink(Protocol):
    """Where results go."""

    def has(self, record: Record) -> bool:
        """Whether an earlier run has dealt with this record; asked of all in their order."""

    def write(self, record: Record, result: Result) -> None:
        """Keep a result."""

    def refuse(self, record: Record, why: str) -> None:
        """A record that could not be worked on; raises to end the run."""

    def advance(self, n_records: int, worked: bool = True) -> None:
        """So many records are done, now or (unless `worked`) in an earlier run."""


def run(records: Iterable[Record], job: Job[Any], sink: Sink, spread: Spread = map) -> None:
    """Work on every record that the sink does not have yet."""
    begun: deque[tuple[Batch, int]] = deque()

    def to_do() -> Iterator[Batch]:
        for batch in batches(records):
            n_done = sum(sink.has(record) for record in batch)
            if n_done < len(batch):  # it is worked on as a whole: what is read side by side decides the last digits
                begun.append((batch, n_done))
                yield batch
            else:
                sink.advance(len(batch), worked=False)

    results_of_batches = spread(job, to_do())
    try:
        for results in results_of_batches:
            batch, n_done = begun.popleft()
            for record, result in zip(batch[n_done:], results[n_done:], strict=True):
                if result.bad is None:
                    sink.write(record, result)
                else:
                    sink.refuse(record, result.bad)
            sink.advance(len(batch))
    finally:
        if isinstance(results_of_batches, Generator):
            results_of_batches.close()  # whoever works on what comes next may stop


def batches(records: Iterable[Record]) -> Iterator[Batch]:
    """Records in batches, which are the same however many processes there are."""
    iterator = iter(records)
    while batch := list(itertools.islice(iterator, CHUNK)):
        yield batch
