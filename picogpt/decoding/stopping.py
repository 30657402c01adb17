"""Stop strings: where the text ends, however the tokens fall, and nothing of a stop string is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import Tokenizer
from picogpt.types import Ids


def stop_criterion(tokenizer: Tokenizer, stops: Sequence[str]) -> Callable[[Ids], bool]:
    """A function that tells whether ids, whose last one is new, have completed a stop string."""
    if not all(stops):
        raise PicoGPTError("a stop string must not be empty")
    # a token is at least a byte long, and what a token adds to the text may depend on the one before it
    n_tail = max((len(stop.encode()) for stop in stops), default=0) + 1

    def stop(written: Ids) -> bool:
        tail = tokenizer.decode(written[-n_tail:].tolist())
        return any(stop in tail for stop in stops)

    return stop


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The text of `pieces` up to the first stop string; what may be the beginning of one is held back."""
    held = ""
    for piece in pieces:
        held += piece
        ends = [held.index(stop) for stop in stops if stop in held]
        if ends:
            if min(ends) > 0:
                yield held[: min(ends)]
            return
        n_held = max((n for stop in stops for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        if n_held < len(held):
            yield held[: len(held) - n_held]
            held = held[len(held) - n_held :]
    if held:
        yield held
