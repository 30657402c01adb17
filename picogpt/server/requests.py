"""What the scheduler is asked for, and what it tells whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from picogpt.decoding.loop import FinishReason, Options, Token
from picogpt.errors import PicoGPTError


class PromptScores(NamedTuple):
    """How likely the model finds each token of the prompt; the first has none before it, and no score."""

    logprob: list[float | None]
    top: list[tuple[tuple[int, float], ...]]  # the most likely tokens in its place, best first; of the first none


class Failure(NamedTuple):
    """The request ends without (the rest of) its tokens."""

    error: PicoGPTError


class Done(NamedTuple):
    """The request has all of its tokens; the last of them has the same finish reason."""

    finish_reason: FinishReason
    n_prompt: int
    n_cached: int  # tokens of the prompt that did not have to be read
    n_generated: int  # tokens decoded, an end token included


Event = PromptScores | Token | Failure | Done  # PromptScores first, if asked for; Failure or Done is the last


@dataclass(frozen=True)
class Request:
    """A prompt to continue; `receive` gets the events, in the engine's thread, and must return at once.

    An `exact` request has the same ids in any company. Where two tokens are as good as equal, it reads again alone what
    it has read beside others. That is rare where the most likely tokens are taken, and not worth its time where many
    unlikely ones may be drawn and no one knows the seed.
    """

    ids: Sequence[int]
    n_tokens: int  # to decode, 0 or more
    receive: Callable[[Event], None]
    options: Options = field(default_factory=Options)  # transforms, rng, eot_token, stop, n_top; the others are ignored
    prompt_logprobs: bool = False
    exact: bool = True  # where rounding might decide between two tokens, choose as if nobody else was served


class Ticket:
    """A request that was accepted."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._cancelled = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Nobody wants the rest: at the next token the request ends, and no event follows. May be called by anyone."""
        self._cancelled.set()


class EngineError(PicoGPTError):
    """A bug, or too little memory; the log has the rest, and it is nothing that the request could mend."""


class QueueFull(PicoGPTError):  # noqa: N818 (queue.Full is its namesake)
    """As many requests wait as may."""


class Closed(PicoGPTError):  # noqa: N818 (a state, not a mistake)
    """The scheduler takes no more requests."""


class Stats(NamedTuple):
    """A snapshot; the counts are since the start."""

    n_queued: int  # requests that wait
    n_running: int  # rows in the batch
    n_finished: int  # requests, cancelled and failed ones included
    n_prompt: int  # tokens of prompts
    n_cached: int  # of these, tokens that did not have to be read
    n_generated: int
    n_steps: int
    n_again: int  # tokens read again by exact requests
    n_hits: int  # requests that found their beginning in the prefix cache
    cache_bytes: int  # that the prefix cache holds
