"""`POST /tokenize`, `/detokenize`, `GET /tokenizer_info`: vLLM's, as evaluation harnesses ask for them."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.errors import PicoGPTError
from picogpt.server import fields
from picogpt.server.errors import bad
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.reading import read_request, served_by
from picogpt.tokenizers import Tokenizer, token_bytes

TOKENIZE = (
    Field("model", fields.text),
    Field("prompt", fields.text, REQUIRED),
    Field("add_special_tokens", fields.any_value),  # GPT-2 puts none around a text
    Field("return_token_strs", fields.flag, False),
)
DETOKENIZE = (Field("model", fields.text), Field("tokens", fields.ids, REQUIRED))


async def tokenize(request: Request) -> Response:
    served, asked = await read_request(request, TOKENIZE)
    encoder = served.model.encoder
    try:
        ids = await asyncio.to_thread(encoder.encode, asked["prompt"], "all")
    except PicoGPTError as error:
        raise bad(str(error), "prompt") from None
    answer: dict[str, Any] = {"tokens": ids, "count": len(ids), "max_model_len": served.n_ctx}
    if asked["return_token_strs"]:
        answer["token_strs"] = [piece.decode("utf-8", "replace") for piece in token_bytes(encoder, ids)]
    return JSONResponse(answer)


async def detokenize(request: Request) -> Response:
    served, asked = await read_request(request, DETOKENIZE)
    try:
        return JSONResponse({"prompt": served.model.encoder.decode(asked["tokens"])})
    except PicoGPTError as error:
        raise bad(str(error), "tokens") from None


async def tokenizer_info(request: Request) -> Response:
    served = served_by(request)
    encoder = served.model.encoder
    return JSONResponse(
        {
            "tokenizer_class": type(encoder).__name__,
            "vocab_size": served.n_vocab,
            "model_max_length": served.n_ctx,
            "bos_token": token(encoder, encoder.bos_token),
            "eos_token": token(encoder, encoder.eos_tokens[0] if encoder.eos_tokens else None),
        }
    )


def token(encoder: Tokenizer, i: int | None) -> str | None:
    return None if i is None else encoder.decode([i])
