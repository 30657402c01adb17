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
    beginnings = [Beginning(stop) for stop in stops]
    held = ""
    for piece in pieces:
        n_held, held = len(held), held + piece
        for n, character in enumerate(piece, n_held + 1):
            if ends := [n - len(part.stop) for part in beginnings if part.add(character)]:
                if min(ends) > 0:
                    yield held[: min(ends)]
                return
        n_held = max((part.length for part in beginnings), default=0)
        if n_held < len(held):
            yield held[: len(held) - n_held]
            held = held[len(held) - n_held :]
    if held:
        yield held


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
