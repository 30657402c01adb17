"""uvicorn, with two things that it has not: times within which clients must send and read, and our way to end."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from picogpt.errors import PicoGPTError, what
from picogpt.server.errors import ApiError
from picogpt.server.served import Served

ARRIVED = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)  # what h11 says of a client that owes nothing
NOT_ANSWERED = (h11.IDLE, h11.SEND_RESPONSE)  # what it says of us


class Protocol(H11Protocol):
    """A connection that is closed when a request, its head and its body, has not arrived in time.

    So it is when a client does not read its answer.
    """

    seconds = 30.0
    deadline: asyncio.TimerHandle | None = None  # for the request
    patience: asyncio.TimerHandle | None = None  # with a client that does not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.expect()

    def data_received(self, data: bytes) -> None:
        self.expect()
        super().data_received(data)
        if self.conn.their_state in ARRIVED:
            self.stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        if self.patience is not None:
            self.patience.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.patience is not None:
            self.patience.cancel()

    def expect(self) -> None:
        if self.deadline is None:
            self.deadline = self.loop.call_later(self.seconds, self.expire)

    def stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def expire(self) -> None:
        if self.conn.our_state in NOT_ANSWERED:
            error = ApiError(408, f"the request has not arrived within {self.seconds:g} seconds")
            body = json.dumps(error.content).encode()
            head = f"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()


class Server(uvicorn.Server):
    """A server that tells the scheduler when it ends, and lets it finish what runs for `grace` seconds."""

    def __init__(self, app: Any, served: Served, grace: float) -> None:
        protocol = type("Protocol", (Protocol,), {"seconds": served.limits.seconds})
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=math.ceil(grace) + 2,  # the scheduler ends before, and says so to its clients
            )
        )
        self.scheduler, self.grace = served.scheduler, grace

    def run_on(self, listener: socket.socket) -> None:
        """Serve until Ctrl-C or SIGTERM; another Ctrl-C ends at once."""
        before = {signum: signal.signal(signum, self.handle_exit) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.run([listener])
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.get_running_loop().run_in_executor(None, self.scheduler.close, self.grace)
        await super().shutdown(sockets)
        if self.force_exit:
            self.scheduler.close(0)
        await closing


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises `PicoGPTError` where none can."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        hint = "is another server running there? Choose another --port, or 0 for any that is free"
        raise PicoGPTError(f"cannot listen at {host}, port {port}: {what(error)}; {hint}") from None
