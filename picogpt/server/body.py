"""The body of a request: JSON in UTF-8, and not more of it than is allowed."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from picogpt.errors import PicoGPTError
from picogpt.files import parse_json
from picogpt.server.disconnect import DisconnectError
from picogpt.server.errors import ApiError, bad


async def read_body(request: Request, most: int) -> dict[str, Any]:
    """The object in the body of `request`; raises a 413 for more than `most` bytes and a 400 for anything else."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_large(most)
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise DisconnectError
        body += message.get("body", b"")
        if len(body) > most:  # a body in chunks does not say how long it is
            raise too_large(most)
        if not message.get("more_body", False):
            return read_object(bytes(body))


def too_large(most: int) -> ApiError:
    return ApiError(413, f"the body has more than {most} bytes; send less at once, or start the server with --max-body")


def read_object(body: bytes) -> dict[str, Any]:
    try:
        content = parse_json(body.decode(), "the body")
    except UnicodeDecodeError as error:
        raise bad(f"the body is not UTF-8: byte {body[error.start]:#04x} at offset {error.start}") from None
    except PicoGPTError as error:
        raise bad(str(error)) from None
    if not isinstance(content, dict):
        raise bad("the body must be a JSON object with the fields of the request")
    return content
