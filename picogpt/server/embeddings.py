"""`POST /v1/embeddings`: the mean of a text's last hidden states.

GPT-2 was not trained to compare texts, so this is what it is: a summary of what the model has made of them.
"""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.server import fields
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.log import note
from picogpt.server.reading import read_request
from picogpt.server.served import check_total
from picogpt.server.work import in_engine, mean_states
from picogpt.types import Array

EMBEDDING = (
    Field("model", fields.text),
    Field("input", fields.prompts, REQUIRED),
    Field("encoding_format", fields.one_of("float", "base64"), "float"),
    Field("dimensions", fields.refused("an embedding has as many numbers as the model's hidden states")),
    Field("user", fields.any_value),
)


async def embeddings(request: Request) -> Response:
    served, asked = await read_request(request, EMBEDDING)
    prompts = [await served.encode(given, "input") for given in asked["input"]]
    n_tokens = note(request).n_prompt = check_total(served, prompts, "input")
    means = await in_engine(request, served, mean_states(served.model, prompts))
    data = [
        {"object": "embedding", "index": i, "embedding": encoded(mean, asked["encoding_format"])}
        for i, mean in enumerate(means)
    ]
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return JSONResponse({"object": "list", "data": data, "model": served.name, "usage": usage})


def encoded(mean: Array, form: str) -> Any:
    """The numbers, or base64 of them as little-endian float32."""
    return mean.tolist() if form == "float" else base64.b64encode(mean.astype("<f4").tobytes()).decode("ascii")
