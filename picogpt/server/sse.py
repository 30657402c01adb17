"""Server-sent events, as OpenAI's API streams: a line of JSON for each part, and at last `[DONE]`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from picogpt.server.disconnect import DisconnectError, unless_gone
from picogpt.server.errors import ApiError
from picogpt.server.log import GONE, LOG

Part = dict[str, Any]
LAST = "[DONE]"


class EventStream(Response):
    """A response whose parts are sent as they come. When the client goes away, no more of them are made."""

    media_type = "text/event-stream"

    def __init__(self, first: Part | None, rest: AsyncGenerator[Part, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.first, self.rest = first, rest

    @classmethod
    async def begin(cls, request: Request, parts: AsyncGenerator[Part, None]) -> Self:
        """The stream when its first part is there; what goes wrong before that has a status of its own."""
        try:
            return cls(await unless_gone(request.receive, anext(parts, None)), parts)
        except BaseException:
            await parts.aclose()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self.send_all(send))
        except DisconnectError:  # nobody is left to be told
            scope["picogpt.note"].status = GONE

    async def send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for line in self.lines():
            await send({"type": "http.response.body", "body": f"data: {line}\n\n".encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def lines(self) -> AsyncIterator[str]:
        """What is sent; an error after the first part can only be a part itself."""
        async with aclosing(self.rest) as rest:
            try:
                if self.first is not None:
                    yield dumps(self.first)
                    async for part in rest:
                        yield dumps(part)
            except ApiError as error:
                yield dumps(error.content)
                return
            except Exception:
                LOG.exception("a stream has failed")
                yield dumps(ApiError(500, "the server has failed; its log says why").content)
                return
        yield LAST


def dumps(part: Part) -> str:
    """JSON in ASCII: some clients end a line at whatever Unicode calls a line end."""
    return json.dumps(part, allow_nan=False, separators=(",", ":"))
