"""`POST /v1/score`: what `picogpt score` says of texts, or of choices that continue one."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.errors import PicoGPTError
from picogpt.files import without_nan
from picogpt.ranges import at_least
from picogpt.scoring import Scorer, TextScore
from picogpt.server import fields
from picogpt.server.errors import bad
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.log import note
from picogpt.server.reading import read_request
from picogpt.server.served import Served, check_total
from picogpt.server.work import in_engine, ranked, scores
from picogpt.tokenizers.base import special_token_in


def one_or_more(name: str, value: Any) -> list[str]:
    """A text or several."""
    found: list[str] = fields.list_of(fields.text)(name, [value] if isinstance(value, str) else value)
    if not found:
        raise bad(f"{name} must not be empty", name)
    return found


MOST_TOKENS = 1 << 13  # of choices that are scored side by side
SCORE = (
    Field("model", fields.text),
    Field("text", one_or_more, REQUIRED),
    Field("choices", one_or_more),
    Field("by", fields.one_of("token", "word", "text"), "token"),
    Field("bos", fields.flag),
    Field("bow", fields.flag, False),
    Field("nats", fields.flag, False),
    Field("stride", fields.whole(at_least(1))),
    Field("special", fields.one_of("token", "text")),
)


async def score(request: Request) -> Response:
    served, asked = await read_request(request, SCORE)
    scorer = await asyncio.to_thread(make_scorer, served, asked)
    if asked["choices"] is not None:
        if len(asked["text"]) > 1:
            raise bad("choices continue one text", "choices")
        texts = [asked["text"][0] + choice for choice in asked["choices"]]
        check_special(served, texts, asked["special"])
        check_memory([await asyncio.to_thread(encode, scorer, text) for text in texts])
        rows = await in_engine(request, served, ranked(scorer, asked["text"][0], asked["choices"]))
        return JSONResponse({"object": "list", "model": served.name, "choices": rows})
    check_special(served, asked["text"], asked["special"])
    encoded = [(text, await asyncio.to_thread(encode, scorer, text)) for text in asked["text"]]
    n_tokens = note(request).n_prompt = check_total(served, [ids for _, ids in encoded], "text")
    found = await in_engine(request, served, scores(scorer, encoded))
    data = [{"object": "score", "index": i, **row(one, asked["by"])} for i, one in enumerate(found)]
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return JSONResponse({"object": "list", "model": served.name, "data": data, "usage": usage})


def check_memory(texts: list[list[int]]) -> None:
    """Raises a 400 for choices whose keys and values, side by side, would take too much."""
    if (n_tokens := len(texts) * max(map(len, texts))) > MOST_TOKENS:
        raise bad(f"{len(texts)} choices with their text are {n_tokens} tokens, more than {MOST_TOKENS}", "choices")


def make_scorer(served: Served, asked: dict[str, Any]) -> Scorer:
    options = {name: asked[name] for name in ("bos", "bow", "nats", "stride")}
    allowed = "all" if asked["special"] == "token" else ()
    details = asked["by"] != "text"
    return Scorer(served.model, **options, allowed_special=allowed, disallowed_special=(), details=details)


def check_special(served: Served, texts: list[str], special: str | None) -> None:
    """Raises a 400 for a special token of which the request does not say what it is."""
    for text in texts if special is None else ():
        if token := special_token_in(served.model.encoder, text):
            message = f'the text contains {token}: say "special": "token" if it means the token, "text" if it does not'
            raise bad(message, "special")


def encode(scorer: Scorer, text: str) -> list[int]:
    try:
        return scorer.encode(text)
    except PicoGPTError as error:
        raise bad(str(error), "text") from None


def row(score: TextScore, by: str) -> dict[str, Any]:
    """A text's figures, and those of its tokens or words where they are asked for; null for what is not a number."""
    parts = {"token": {"tokens": score.tokens}, "word": {"words": score.words}, "text": {}} if by != "text" else {}
    return without_nan({"text": score.text, "unit": score.unit, **score.summary, **parts.get(by, {})})
