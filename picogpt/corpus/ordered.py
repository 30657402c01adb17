"""Items that several workers have at once; the results come in the items' order, whoever is done first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

LEAD = 4  # items for each worker that may be done before the oldest one is


class Workers(Protocol[T_in, R_out]):
    """Who does it, each item under a number of its own."""

    def lead(self) -> int:
        """How many items may be given before the oldest one is done."""

    def has_room(self) -> bool:
        """Whether one more may be given now."""

    def give(self, number: int, item: T_in) -> None: ...

    def answers(self) -> Iterable[tuple[int, R_out]]:
        """Numbers of items that are done, and what came of them; waits until there is news."""


def in_order(workers: Workers[T, R], items: Iterable[T]) -> Iterator[R]:
    """What the workers make of each item. No more are taken than will be worked on soon."""
    to_do = enumerate(items)
    done: dict[int, R] = {}
    n_given = n_taken = 0
    while True:
        while n_given - n_taken < workers.lead() and workers.has_room() and (task := next(to_do, None)):
            workers.give(*task)
            n_given += 1
        if n_taken == n_given:
            return
        done.update(workers.answers())
        while n_taken in done:
            yield done.pop(n_taken)
            n_taken += 1
