"""A real server on the loopback, in this process, and the application by itself."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import httpx
from starlette.applications import Starlette

import picogpt
from picogpt.pretrained import GPT2
from picogpt.server.app import create_app
from picogpt.server.protocol import Server, listen
from picogpt.server.scheduler import Scheduler
from picogpt.server.served import Served


@cache
def shakespeare() -> GPT2:
    return picogpt.load("shakespeare")


class Running(NamedTuple):
    """A server that runs."""

    url: str
    port: int
    served: Served
    app: Starlette


def serve_model(model: GPT2, name: str = "shakespeare", **options: Any) -> Served:
    engine = {key: options.pop(key) for key in ("slots", "queue") if key in options}
    return Served(model, Scheduler(model.params, model.hparams["n_head"], **engine), name, **options)


@contextmanager
def running(served: Served, grace: float = 5.0, **options: Any) -> Iterator[Running]:
    app = create_app(served, **options)
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(app, served, grace)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield Running(f"http://127.0.0.1:{port}", port, served, app)
    finally:
        server.should_exit = True
        thread.join()


def post(url: str, **options: Any) -> httpx.Response:
    """httpx's function, with more patience: the machine may have other work."""
    return httpx.post(url, **{"timeout": 60, **options})


class Client:
    """Requests to the application without a network, one loop for all of them."""

    def __init__(self, app: Starlette) -> None:
        self.loop = asyncio.new_event_loop()
        # what a bug raises is an answer too
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60)

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.loop.run_until_complete(self.client.request(method, path, **options))

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.request("POST", path, body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()


@contextmanager
def client_of(served: Served, **options: Any) -> Iterator[Client]:
    client = Client(create_app(served, **options))
    try:
        yield client
    finally:
        client.close()
        served.scheduler.close(0)
