"""`GET /`: the page. Its files are in `page/`, beside the components that `picogpt inside --html` has too."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from picogpt.inspection.page import WEB
from picogpt.server.errors import ApiError

FOLDERS = (WEB, Path(__file__).with_name("page"))
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def page(request: Request) -> Response:
    return file("index.html")


async def part(request: Request) -> Response:
    """A file of the page; only what is there has a name, so no other can be asked for."""
    return file(request.path_params["name"])


def file(name: str) -> Response:
    files = {path.name: path for folder in FOLDERS for path in folder.iterdir() if path.is_file()}
    if name not in files:
        raise ApiError(404, f"the page has no file {name!r}")
    return FileResponse(files[name], headers=HEADERS)
