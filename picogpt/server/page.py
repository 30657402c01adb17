"""`GET /`: the page, whose files are in `page/`; where there are none, a short description."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from picogpt import __version__
from picogpt.server.errors import ApiError
from picogpt.server.reading import served_by

FOLDER = Path(__file__).with_name("page")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
DESCRIPTION = """\
picogpt {version} serves {name}, with a context of {n_ctx} tokens.

POST /v1/completions        continue a prompt, as OpenAI's API does
POST /v1/chat/completions   the same for a conversation, with --chat-template
POST /v1/embeddings         the mean of the last hidden states
POST /v1/score              surprisal of tokens and words
POST /inside                attention, logit lens and every other value of a pass
POST /tokenize, /detokenize
GET  /tokenizer_info, /v1/models, /health, /metrics
"""


async def page(request: Request) -> Response:
    if (FOLDER / "index.html").is_file():
        return file("index.html")
    served = served_by(request)
    text = DESCRIPTION.format(version=__version__, name=served.name, n_ctx=served.n_ctx)
    return PlainTextResponse(text, headers=HEADERS)


async def part(request: Request) -> Response:
    """A file of the page; only what is there has a name, so no other can be asked for."""
    return file(request.path_params["name"])


def file(name: str) -> Response:
    files = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}
    if name not in files:
        raise ApiError(404, f"the page has no file {name!r}")
    return FileResponse(files[name], headers=HEADERS)
