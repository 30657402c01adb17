"""What is noted of each request: one line, with its tokens and times; the metrics are made of the same notes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from picogpt.errors import printable

LOG = logging.getLogger("picogpt.server")
GONE = 499  # the status of an answer that nobody waited for


@dataclass
class Note:
    """One request. Times are seconds from its beginning."""

    method: str
    path: str
    client: str
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    n_prompt: int = 0
    token_times: list[float] = field(default_factory=list)  # of all continuations
    seconds: float = 0.0

    def token(self) -> None:
        self.token_times.append(time.perf_counter() - self.began)

    def __str__(self) -> str:
        line = f"{self.client} {self.method} {self.path} {self.status} {self.seconds:.3f} s"
        if self.n_prompt:
            line += f", {self.n_prompt} prompt tokens"
        if self.token_times:
            line += f", {len(self.token_times)} written, the first after {self.token_times[0]:.3f} s"
        return line


def note(request: Request) -> Note:
    """The note of this request, for whoever has something to add."""
    found: Note = request.scope["picogpt.note"]
    return found


class Notes:
    """The outermost layer: a note for each request, given to `receivers` when it is over."""

    def __init__(self, app: ASGIApp, receivers: list[Callable[[Note], object]]) -> None:
        self.app, self.receivers = app, receivers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        client = scope.get("client") or ("-", 0)
        made = scope["picogpt.note"] = Note(scope["method"], scope["path"], client[0])

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                made.status = message["status"]
            await send(message)

        try:
            return await self.app(scope, receive, noting)
        finally:
            made.seconds = time.perf_counter() - made.began
            made.status = made.status or GONE
            for receiver in self.receivers:
                receiver(made)


def log_access(made: Note) -> None:
    LOG.info("%s", printable(str(made)))


def set_up(level: str) -> None:
    """One line on stderr for each record from `level` on; what uvicorn has to say only when it is an error."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    LOG.setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
