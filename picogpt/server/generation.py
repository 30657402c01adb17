"""What completions and chat have in common: fields of decoding, continuations on their way to the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from picogpt.decoding.loop import Options, Token
from picogpt.decoding.options import SAMPLING_OPTIONS, decoding_options
from picogpt.decoding.ranges import RANGES
from picogpt.decoding.sampling import generators, logit_bias, min_length
from picogpt.ranges import at_least, between
from picogpt.server import fields
from picogpt.server.errors import ApiError, bad
from picogpt.server.fields import Field
from picogpt.server.log import Note
from picogpt.server.scheduler import Closed, Done, EngineError, Event, Failure, PromptScores, QueueFull, Request, Ticket
from picogpt.server.served import Served
from picogpt.server.text import Entry, Text

SEEDS = 1 << 63  # OpenAI's are from minus this number on
DECODING = (
    Field("model", fields.text),
    Field("temperature", fields.number(RANGES["temperature"]), 1.0),
    Field("top_p", fields.number(RANGES["top_p"], off=(1,))),
    Field("top_k", fields.whole(RANGES["top_k"], off=(0, -1))),
    Field("min_p", fields.number(RANGES["min_p"], off=(0,))),
    Field("typical_p", fields.number(RANGES["typical_p"], off=(1,))),
    Field("presence_penalty", fields.number(RANGES["presence_penalty"], off=(0,))),
    Field("frequency_penalty", fields.number(RANGES["frequency_penalty"], off=(0,))),
    Field("repetition_penalty", fields.number(RANGES["repetition_penalty"], off=(1,))),
    Field("logit_bias", fields.logit_bias),
    Field("n", fields.whole(between(1, 128)), 1),
    Field("stop", fields.stops, ()),
    Field("seed", fields.whole(between(-SEEDS, SEEDS - 1))),
    Field("ignore_eos", fields.flag, False),
    Field("min_tokens", fields.whole(RANGES["min_length"]), 0),
    Field("stream", fields.flag, False),
    Field("stream_options", fields.nested([Field("include_usage", fields.flag, False)]), {}),
    Field("user", fields.any_value),
)
MAX_TOKENS = at_least(0)


class Prompt(NamedTuple):
    ids: list[int]
    n_tokens: int  # the most that may follow


async def read_prompt(
    served: Served, given: str | Sequence[int], n_tokens: int | None, param: str = "prompt"
) -> Prompt:
    """A prompt's ids and how many tokens may follow: `n_tokens`, or without a number as many as fit; never more."""
    ids = await served.encode(given, param)
    room = served.n_ctx - len(ids)
    if not room and n_tokens != 0:
        message = (
            f"the prompt has {len(ids)} tokens, and after them the model's context of {served.n_ctx} has no room; "
            f"shorten the prompt, or ask for no tokens"
        )
        raise bad(message, param, "context_length_exceeded")
    return Prompt(ids, room if n_tokens is None else min(n_tokens, room))


def check_amount(served: Served, prompts: Sequence[Prompt], n: int) -> None:
    """Raises a 400 for more than one request may have."""
    n_rows, n_tokens = n * len(prompts), n * sum(prompt.n_tokens for prompt in prompts)
    if n_rows > served.limits.n_rows:
        raise bad(f"{n_rows} continuations are more than the {served.limits.n_rows} of one request", "n")
    if n_tokens > served.limits.n_tokens:
        message = f"{n_tokens} tokens of all continuations are more than the {served.limits.n_tokens} of one request"
        raise bad(message, "max_tokens")


def row_options(served: Served, asked: dict[str, Any], n_rows: int, n_top: int | None) -> list[Options]:
    """The options of each continuation but for `min_tokens`; the draws are those of `generate_batch`."""
    is_greedy = asked["temperature"] == 0
    chosen: dict[str, Any] = {option.name: asked.get(option.name) for option in SAMPLING_OPTIONS}
    for option in SAMPLING_OPTIONS:
        if option.samples and is_greedy:
            chosen[option.name] = None
    if chosen["temperature"] == 1:
        chosen["temperature"] = None  # which is the same, and no work
    options = decoding_options(served.model.encoder, **chosen, stop=asked["stop"], ignore_eos=asked["ignore_eos"])
    if asked["logit_bias"]:
        if max(asked["logit_bias"]) >= served.n_vocab:
            raise bad(f"logit_bias has a token outside the vocabulary of {served.n_vocab} ids", "logit_bias")
        options["transforms"] = [logit_bias(asked["logit_bias"]), *options["transforms"]]
    options["n_top"] = n_top
    if is_greedy:
        return [{**options, "rng": None}] * n_rows
    seed = asked["seed"]
    rng = np.random.default_rng(None if seed is None else seed % (2 * SEEDS))
    return [{**options, "rng": row_rng} for row_rng in parents(rng, n_rows)]


def parents(rng: np.random.Generator, n_rows: int) -> Iterator[np.random.Generator]:
    """A generator for each row by itself: `generators` makes of the i-th alone what it makes of `rng` for row i."""
    for _ in range(n_rows):
        yield deepcopy(rng)
        generators(rng, 1)


class Piece(NamedTuple):
    """A part of one continuation."""

    row: int
    text: str
    entries: list[Entry]
    finish_reason: str | None  # of the last part


class Generation:
    """The continuations of some prompts, `n` of each: row i * n + j is prompt i's j-th."""

    def __init__(
        self,
        served: Served,
        prompts: Sequence[Prompt],
        asked: dict[str, Any],
        note: Note,
        n_top: int | None = None,
        echo: bool = False,
    ) -> None:
        check_amount(served, prompts, asked["n"])
        self.served, self.n_top, self.echo, self.note = served, n_top, echo, note
        self.prompts = [prompt for prompt in prompts for _ in range(asked["n"])]
        self.options = row_options(served, asked, len(self.prompts), n_top)
        self.min_tokens = asked["min_tokens"]
        self.is_exact = asked["temperature"] == 0 or asked["seed"] is not None  # otherwise nobody could tell
        self.n_prompt = note.n_prompt = sum(len(prompt.ids) for prompt in prompts)
        self.texts = [self.text(prompt, asked["stop"]) for prompt in self.prompts]

    def text(self, prompt: Prompt, stops: Sequence[str]) -> Text:
        encoder = self.served.model.encoder
        is_counted = self.n_top is not None and not self.echo
        offset = len(encoder.decode(prompt.ids)) if is_counted else 0
        return Text(encoder, stops, offset, () if self.echo else prompt.ids)

    @property
    def usage(self) -> dict[str, int]:
        n_written = sum(text.n_tokens for text in self.texts)
        return {
            "prompt_tokens": self.n_prompt,
            "completion_tokens": n_written,
            "total_tokens": self.n_prompt + n_written,
        }

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The parts of all continuations as they come; the last of each has a finish reason."""
        with_scores = self.echo and self.n_top is not None
        if self.echo and not with_scores:
            for row, prompt in enumerate(self.prompts):
                nothing = [None] * len(prompt.ids)
                yield Piece(row, *self.texts[row].echo(prompt.ids, nothing, nothing), None)
        async with aclosing(self.events(with_scores)) as events:
            async for row, event in events:
                yield self.piece(row, event)

    def piece(self, row: int, event: Event) -> Piece:
        text = self.texts[row]
        if isinstance(event, PromptScores):
            return Piece(row, *text.echo(self.prompts[row].ids, event.logprob, event.top), None)
        if isinstance(event, Token):
            self.note.token()
            return Piece(row, *text.add(event), text.finish_reason)
        shown = text.end()
        return Piece(row, *shown, text.finish_reason if any(shown) or not text.n_tokens else None)

    async def whole(self) -> list[Piece]:
        """Every continuation in one piece."""
        texts: list[list[str]] = [[] for _ in self.prompts]
        entries: list[list[Entry]] = [[] for _ in self.prompts]
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                texts[piece.row].append(piece.text)
                entries[piece.row] += piece.entries
        return [
            Piece(row, "".join(texts[row]), entries[row], text.finish_reason) for row, text in enumerate(self.texts)
        ]

    async def events(self, with_scores: bool) -> AsyncGenerator[tuple[int, Event], None]:
        """What the scheduler says of each row; whoever stops listening cancels them all."""
        queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def receive(row: int, event: Event) -> None:  # in the scheduler's thread
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(queue.put_nowait, (row, event))

        tickets: list[Ticket] = []
        try:
            for row, prompt in enumerate(self.prompts):
                options = self.with_min_tokens(self.options[row], len(prompt.ids))
                request = Request(
                    prompt.ids, prompt.n_tokens, partial(receive, row), options, with_scores, self.is_exact
                )
                tickets.append(submit(self.served, request))
            n_open = len(tickets)
            while n_open:
                row, event = await queue.get()
                if isinstance(event, Failure):
                    raise failure(event)
                n_open -= isinstance(event, Done)
                yield row, event
        finally:
            for ticket in tickets:
                ticket.cancel()

    def with_min_tokens(self, options: Options, n_prompt: int) -> Options:
        eos_tokens = self.served.model.encoder.eos_tokens
        if not self.min_tokens or not eos_tokens:
            return options
        no_end = min_length(n_prompt + self.min_tokens, eos_tokens)
        return {**options, "transforms": [no_end, *options["transforms"]]}


def submit(served: Served, request: Request) -> Ticket:
    """The scheduler's ticket; raises a 503 where it takes no more."""
    try:
        return served.scheduler.submit(request)
    except QueueFull as error:
        raise ApiError(503, str(error), None, "queue_full", {"Retry-After": "1"}) from None
    except Closed as error:
        raise ApiError(503, str(error), None, "shutting_down") from None


def failure(event: Failure) -> Exception:
    """What went wrong with a request, as an answer where it was the request's fault."""
    if isinstance(event.error, Closed):
        return ApiError(503, str(event.error), None, "shutting_down")
    if isinstance(event.error, EngineError):  # its message is for the log, which has it already
        return ApiError(500, "the server has failed; its log says why")
    return bad(str(event.error))
