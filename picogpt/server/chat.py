"""`POST /v1/chat/completions`: a conversation and its next message, where a template says how one is written."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.errors import PicoGPTError
from picogpt.ranges import between
from picogpt.server import fields
from picogpt.server.chat_template import Message
from picogpt.server.disconnect import unless_gone
from picogpt.server.errors import bad
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.generation import DECODING, MAX_TOKENS, Generation, Prompt, read_prompt
from picogpt.server.log import note
from picogpt.server.reading import read_request
from picogpt.server.served import Served
from picogpt.server.sse import EventStream
from picogpt.server.text import Entry, Likely

NO_TEMPLATE = (
    "GPT-2 was not trained on conversations, so this model has no chat template; use /v1/completions, or start the "
    "server with --chat-template plain, or with a file of your own"
)
NO_TOOLS = "GPT-2 knows no tools"
ROLES = {"developer": "system"}  # another name


def content(name: str, value: Any) -> str:
    """A message's text: a string, or parts of type text."""
    if isinstance(value, str):
        return fields.text(name, value)
    part = fields.nested([Field("type", fields.one_of("text"), REQUIRED), Field("text", fields.text, REQUIRED)])
    return "".join(read["text"] for read in fields.list_of(part)(name, value))


MESSAGE = (
    Field("role", fields.text, REQUIRED),
    Field("content", content, REQUIRED),
    Field("name", fields.any_value),
)
CHAT = (
    *DECODING,
    Field("messages", fields.list_of(fields.nested(MESSAGE)), REQUIRED),
    Field("max_tokens", fields.whole(MAX_TOKENS)),
    Field("max_completion_tokens", fields.whole(MAX_TOKENS)),
    Field("logprobs", fields.flag, False),
    Field("top_logprobs", fields.whole(between(0, 20)), 0),
    Field("tools", fields.refused(NO_TOOLS)),
    Field("functions", fields.refused(NO_TOOLS)),
    Field("response_format", fields.refused("the model writes text", lambda value: value == {"type": "text"})),
)


async def chat(request: Request) -> Response:
    served, asked = await read_request(request, CHAT)
    prompt = await read_messages(served, asked)
    assert served.template is not None
    stops = [*asked["stop"], *served.template.stops]
    n_top = asked["top_logprobs"] if asked["logprobs"] else None
    generation = Generation(served, [prompt], {**asked, "stop": stops}, note(request), n_top)
    answer = {
        "id": f"chatcmpl-{uuid4().hex}",
        "created": int(time.time()),
        "model": served.name,
        "system_fingerprint": served.fingerprint,
    }
    if asked["stream"]:
        return await EventStream.begin(request, chunks(generation, answer, asked["stream_options"]))
    pieces = await unless_gone(request.receive, generation.whole())
    choices = [choice(generation, *piece) for piece in pieces]
    return JSONResponse({**answer, "object": "chat.completion", "choices": choices, "usage": generation.usage})


async def read_messages(served: Served, asked: dict[str, Any]) -> Prompt:
    """The conversation as a prompt."""
    if served.template is None:
        raise bad(NO_TEMPLATE, "messages", "no_chat_template")
    messages = [Message(ROLES.get(m["role"], m["role"]), m["content"]) for m in asked["messages"]]
    for token in served.model.encoder.special_tokens:  # which may well be part of the template
        if any(token in message.content for message in messages):
            raise bad(f"a message must not contain the special token {token}", "messages")
    try:
        text = served.template.prompt(messages)
    except PicoGPTError as error:
        raise bad(str(error), "messages") from None
    n_tokens = asked["max_tokens"] if asked["max_completion_tokens"] is None else asked["max_completion_tokens"]
    return await read_prompt(served, text, n_tokens, "messages")


def choice(generation: Generation, row: int, text: str, entries: Sequence[Entry], reason: str | None) -> dict[str, Any]:
    return {
        "index": row,
        "message": {"role": "assistant", "content": text.removeprefix(" "), "refusal": None},
        "logprobs": logprobs(generation, entries),
        "finish_reason": reason,
    }


async def chunks(
    generation: Generation, answer: dict[str, Any], options: dict[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in parts: each message begins with its role, and ends with its finish reason."""
    usage = {"usage": None} if options.get("include_usage") else {}
    answer = {**answer, "object": "chat.completion.chunk"}
    named, begun = set[int](), set[int]()

    def chunk(row: int, delta: dict[str, str], entries: Sequence[Entry] = (), reason: str | None = None) -> Any:
        choice = {
            "index": row,
            "delta": delta,
            "logprobs": logprobs(generation, entries) if entries else None,
            "finish_reason": reason,
        }
        return {**answer, "choices": [choice], **usage}

    async with aclosing(generation.pieces()) as pieces:
        async for row, text, entries, reason in pieces:
            if row not in named:
                named.add(row)
                yield chunk(row, {"role": "assistant", "content": ""})
            if text or entries:
                yield chunk(row, {"content": text if row in begun else text.removeprefix(" ")}, entries)
            if text:
                begun.add(row)
            if reason is not None:
                yield chunk(row, {}, (), reason)
    if usage:
        yield {**answer, "choices": [], "usage": generation.usage}


def logprobs(generation: Generation, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """The tokens with their bytes, as chat has them."""
    if generation.n_top is None:
        return None
    rows = []
    for entry in entries:
        top = [likely_row(likely) for likely in (entry.top or [])[: generation.n_top]]
        rows.append({**likely_row(Likely(entry.name, entry.data, entry.logprob or 0.0)), "top_logprobs": top})
    return {"content": rows, "refusal": None}


def likely_row(likely: Likely) -> dict[str, Any]:
    return {"token": likely.name, "logprob": likely.logprob, "bytes": list(likely.data)}
