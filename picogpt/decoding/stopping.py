"""Stop strings: where the text ends, however the tokens fall, and nothing of a stop string is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import Tokenizer
from picogpt.types import Ids

END = 16  # characters at the end of a stop string that are looked for first


def stop_criterion(tokenizer: Tokenizer, stops: Sequence[str]) -> Callable[[Ids], bool]:
    """A function that tells whether ids, whose last one is new, have completed a stop string."""
    if not all(stops):
        raise PicoGPTError("a stop string must not be empty")

    def written_last(stops: Sequence[str]) -> Callable[[Ids], bool]:
        # a token is at least a byte long, and what a token adds to the text may depend on the one before it
        n_tail = max((len(stop.encode()) for stop in stops), default=0) + 1

        def contained(written: Ids) -> bool:
            tail = tokenizer.decode(written[-n_tail:].tolist())
            return any(stop in tail for stop in stops)

        return contained

    whole, end = written_last(stops), written_last([stop[-END:] for stop in stops])
    # a long one is rarely there, and its end tells soon
    return lambda written: end(written) and whole(written)


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The text of `pieces` up to the first stop string; what may be the beginning of one is held back."""
    text = UntilStop(stops)
    for piece in pieces:
        if shown := text.add(piece):
            yield shown
        if text.stopped:
            return
    if text.held:
        yield text.held


class UntilStop:
    """`until_stop` for pieces that come one by one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.beginnings = [Beginning(stop) for stop in stops]
        self.held = ""  # what may be the beginning of a stop string
        self.stopped = False  # a stop string is there: the text has ended before it

    def add(self, piece: str) -> str:
        """What may be shown now."""
        n_held, text = len(self.held), self.held + piece
        for n, character in enumerate(piece, n_held + 1):
            if ends := [n - len(part.stop) for part in self.beginnings if part.add(character)]:
                self.held, self.stopped = "", True
                return text[: min(ends)]
        n_shown = len(text) - max((part.length for part in self.beginnings), default=0)
        self.held = text[n_shown:]
        return text[:n_shown]


class Beginning:
    """The longest beginning of a stop string that a text ends with, character by character (Knuth, Morris, Pratt 1977).

    A character takes constant time on average, and the stop string is only read as far as the text has followed it.
    """

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.length = 0
        self.shorter = [0]  # [i]: how much of the beginning of i + 1 characters it ends with itself, besides all of it

    def add(self, character: str) -> bool:
        """Whether the character completes the stop string, after which no other may follow."""
        self.length = self._extended(self.length, character)
        while len(self.shorter) < self.length:
            self.shorter.append(self._extended(self.shorter[-1], self.stop[len(self.shorter)]))
        return self.length == len(self.stop)

    def _extended(self, length: int, character: str) -> int:
        """The length of the longest beginning when a character follows one of `length`."""
        while length and self.stop[length] != character:
            length = self.shorter[length - 1]
        return length + (self.stop[length] == character)
