"""The application: which function answers which request, and what every request passes first."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from picogpt.errors import PicoGPTError
from picogpt.server import log, models, page
from picogpt.server.chat import chat
from picogpt.server.completions import completions
from picogpt.server.disconnect import DisconnectError
from picogpt.server.embeddings import embeddings
from picogpt.server.errors import ApiError, bad
from picogpt.server.inside import inside
from picogpt.server.looks import Looks
from picogpt.server.metrics import Metrics, metrics
from picogpt.server.score import score
from picogpt.server.security import LOCAL_ORIGIN, HostGuard, KeyGuard, OriginGuard
from picogpt.server.served import Served
from picogpt.server.tokens import detokenize, tokenize, tokenizer_info
from picogpt.server.views import views

ROUTES = (
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/chat/completions", chat, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/score", score, methods=["POST"]),
    Route("/v1/models", models.models),
    Route("/v1/models/{name:path}", models.model),
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/tokenizer_info", tokenizer_info),
    Route("/inside", inside, methods=["POST"]),
    Route("/inside/views", views, methods=["POST"]),
    Route("/health", models.health),
    Route("/metrics", metrics),
    Route("/", page.page),
    Route("/page/{name:path}", page.part),
)


def create_app(
    served: Served, *, key: str | None = None, origins: Sequence[str] = (), hosts: Sequence[str] = ()
) -> Starlette:
    """The ASGI application. `origins` are those of pages that may use it, besides its own and this machine's."""
    counted = Metrics(served, [route.path for route in ROUTES])
    middleware = [
        Middleware(log.Notes, receivers=[log.log_access, counted.count]),
        Middleware(HostGuard, hosts=hosts),
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_origin_regex=LOCAL_ORIGIN,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        ),
        Middleware(OriginGuard, origins=origins),
        *([Middleware(KeyGuard, key=key)] if key is not None else []),
    ]
    app = Starlette(
        routes=ROUTES,
        middleware=middleware,
        exception_handlers={
            ApiError: answer_error,
            PicoGPTError: answer_refusal,
            HTTPException: answer_http,
            DisconnectError: answer_nobody,
            MemoryError: answer_no_memory,
            Exception: answer_bug,
        },
    )
    app.state.served, app.state.metrics, app.state.looks = served, counted, Looks(served.model)
    return app


async def answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response


async def answer_refusal(request: Request, error: Exception) -> Response:
    """What a lower floor refuses is the request's fault."""
    return bad(str(error)).response


async def answer_http(request: Request, error: Exception) -> Response:
    """No such route, or no such method there."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    message = f"there is nothing at {path}; GET / says what there is"
    if error.status_code == 405:
        message = f"{path} is not for {request.method}"
    return ApiError(error.status_code, message, headers=error.headers).response


async def answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=log.GONE)


async def answer_no_memory(request: Request, error: Exception) -> Response:
    return ApiError(503, "not enough memory for this; ask for less at once", headers={"Retry-After": "1"}).response


async def answer_bug(request: Request, error: Exception) -> Response:
    log.LOG.error("%s has failed", request.url.path, exc_info=error)
    return ApiError(500, "the server has failed; its log says why").response
