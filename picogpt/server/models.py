"""`GET /v1/models`, `/v1/models/{id}` and `/health`: what is served, and whether it is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.server.errors import ApiError
from picogpt.server.reading import served_by


async def models(request: Request) -> Response:
    served = served_by(request)
    return JSONResponse({"object": "list", "data": [served.model_card(name) for name in served.names]})


async def model(request: Request) -> Response:
    served, name = served_by(request), request.path_params["name"]
    served.check_name(name)
    return JSONResponse(served.model_card(name))


async def health(request: Request) -> Response:
    """Whether requests can be fulfilled: the engine's thread must live, too."""
    if not served_by(request).scheduler.thread.is_alive():
        raise ApiError(503, "the engine has ended; start the server again")
    return JSONResponse({"status": "ok"})
