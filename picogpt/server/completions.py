"""`POST /v1/completions`: a prompt and what follows it, with log-probabilities of both."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.ranges import at_least
from picogpt.server import fields
from picogpt.server.disconnect import unless_gone
from picogpt.server.errors import bad
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.generation import DECODING, MAX_TOKENS, Generation, read_prompt
from picogpt.server.log import note
from picogpt.server.reading import read_request
from picogpt.server.served import Served
from picogpt.server.sse import EventStream
from picogpt.server.text import Entry

COMPLETION = (
    *DECODING,
    Field("prompt", fields.prompts, REQUIRED),
    Field("max_tokens", fields.whole(MAX_TOKENS), 16),
    Field("logprobs", fields.whole(at_least(0))),
    Field("echo", fields.flag, False),
    Field("best_of", fields.whole(at_least(1))),
    Field("suffix", fields.refused("GPT-2 continues a text, it does not fill one in")),
)


async def completions(request: Request) -> Response:
    served, asked = await read_request(request, COMPLETION)
    n_top = asked["logprobs"]
    check(served, asked)
    prompts = [await read_prompt(served, prompt, asked["max_tokens"]) for prompt in asked["prompt"]]
    generation = Generation(served, prompts, asked, note(request), n_top, asked["echo"])
    answer = {
        "id": f"cmpl-{uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": served.name,
        "system_fingerprint": served.fingerprint,
    }
    if asked["stream"]:
        return await EventStream.begin(request, chunks(generation, answer, asked["stream_options"]))
    pieces = await unless_gone(request.receive, generation.whole())
    choices = [choice(generation, *piece) for piece in pieces]
    return JSONResponse({**answer, "choices": choices, "usage": generation.usage})


def check(served: Served, asked: dict[str, Any]) -> None:
    """Raises a 400 for what one field makes of another."""
    if asked["best_of"] not in (None, asked["n"]):
        raise bad("best_of other than n is not supported: all continuations are returned", "best_of")
    if (asked["logprobs"] or 0) > (most := served.limits.n_logprobs):
        raise bad(f"logprobs must be from 0 to {most}, not {asked['logprobs']}", "logprobs")


async def chunks(
    generation: Generation, answer: dict[str, Any], options: dict[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in parts; the last one has the usage where that was asked for."""
    usage = {"usage": None} if options.get("include_usage") else {}
    async with aclosing(generation.pieces()) as pieces:
        async for piece in pieces:
            if piece.text or piece.entries or piece.finish_reason:
                yield {**answer, "choices": [choice(generation, *piece)], **usage}
    if usage:
        yield {**answer, "choices": [], "usage": generation.usage}


def choice(
    generation: Generation, row: int, text: str, entries: Sequence[Entry], finish_reason: str | None
) -> dict[str, Any]:
    return {
        "index": row,
        "text": text,
        "logprobs": None if generation.n_top is None else logprobs(entries),
        "finish_reason": finish_reason,
    }


def logprobs(entries: Iterable[Entry]) -> dict[str, Any]:
    """The tokens as four lists; a prompt's first token has no log-probability."""
    entries = list(entries)
    return {
        "tokens": [entry.name for entry in entries],
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": [
            None if entry.top is None else {likely.name: likely.logprob for likely in entry.top} for entry in entries
        ],
        "text_offset": [entry.offset for entry in entries],
    }
