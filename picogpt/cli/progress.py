"""How far a long run is: a bar where stderr is a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tqdm import tqdm

EVERY = 30.0  # seconds between two lines


class Progress:
    """Counts records towards `total`. What an earlier run did counts, but not for the time that is left."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic, unit: str = "texts") -> None:
        self.total, self.clock, self.unit = total, clock, unit
        self.n = self.n_skipped = 0
        self.start = self.last = clock()
        self.bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, n: int, worked: bool = True) -> None:
        self.n += n
        if not worked:
            self.n_skipped += n
        if self.bar is not None:
            self.bar.initial += 0 if worked else n
            self.bar.update(n)
        elif (now := self.clock()) >= self.last + EVERY:
            self.last = now
            self.say(self.line(now - self.start))

    def line(self, seconds: float) -> str:
        rate = (self.n - self.n_skipped) / seconds
        left = f", {duration((self.total - self.n) / rate)} left" if rate else ""
        return f"{self.n:,} of {self.total:,} {self.unit} in {duration(seconds)}, {rate:.3g} a second{left}"

    def say(self, message: str) -> None:
        """A line on stderr, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(f"picogpt: {message}", file=sys.stderr)
        else:
            print(f"picogpt: {message}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
