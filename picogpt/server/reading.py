"""A request's model and fields, the same way for every route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from picogpt.errors import listed
from picogpt.server.body import read_body
from picogpt.server.fields import Field, read_fields, unknown_fields
from picogpt.server.log import LOG
from picogpt.server.served import Served


def served_by(request: Request) -> Served:
    found: Served = request.app.state.served
    return found


async def read_request(request: Request, table: Sequence[Field]) -> tuple[Served, dict[str, Any]]:
    """What is served, and the fields of the body; those that are not in the table are ignored, and the log says so."""
    served = served_by(request)
    body = await read_body(request, served.limits.n_bytes)
    asked = read_fields(table, body)
    served.check_name(asked.get("model"))
    if unknown := unknown_fields(table, body):
        LOG.warning("%s ignores the fields %s", request.url.path, listed(unknown))
    return served, asked
