"""What is done with the records of a corpus, in whichever process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError

Row = dict[str, Any]  # column -> value
Prepared = TypeVar("Prepared")


class Result(NamedTuple):
    """Of one record: the figures of the whole, and rows of its parts; or why there are none."""

    summary: Row
    parts: Sequence[Row] = ()
    bad: str | None = None


class Job(ABC, Generic[Prepared]):
    """A function of batches that can be sent to another process, and keeps there what it has loaded.

    The results are a batch's own: what is read side by side decides the last digits, so batches are cut the same way
    wherever they are worked on.
    """

    columns: tuple[str, ...] = ()  # those of its rows: columns of the input that are called so get another name

    def begin(self) -> None:
        """Load what is needed, where that has not happened yet."""

    def __call__(self, batch: Iterable[Record]) -> list[Result]:
        """A result for each record; what is wrong with one does not touch the others."""
        prepared: list[Prepared] = []
        bad: list[str | None] = []
        for record in batch:
            try:
                prepared.append(self.prepare(record))
                bad.append(None)
            except PicoGPTError as error:
                bad.append(str(error))
        measured = iter(self.measure(prepared) if prepared else ())
        return [next(measured) if message is None else Result({}, (), message) for message in bad]

    @abstractmethod
    def prepare(self, record: Record) -> Prepared:
        """What `measure` needs of a record; raises `PicoGPTError` for one that cannot be worked on."""

    @abstractmethod
    def measure(self, prepared: Sequence[Prepared]) -> Iterable[Result]:
        """A result for each record that could be prepared, in their order."""
