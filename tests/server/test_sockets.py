"""Clients that do not speak HTTP, or stop in the midst of it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from picogpt.server.served import Limits
from tests.server.running import Running, running, serve_model, shakespeare

SECONDS = 0.4  # until a request must be there
BODY = json.dumps({"prompt": "A", "max_tokens": 2}).encode()
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    limits = Limits(n_bytes=1000, seconds=SECONDS)
    with running(serve_model(shakespeare(), limits=limits)) as server:
        yield server


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def all_of(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def is_alive(server: Running) -> bool:
    with connect(server) as client:
        client.sendall(WHOLE.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
        return b"200 OK" in all_of(client)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/x.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n\r\nHELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without Host
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_a_400(server: Running, data: bytes) -> None:
    with connect(server) as client:
        client.sendall(data)
        assert all_of(client).startswith(b"HTTP/1.1 400")
    assert is_alive(server)


@pytest.mark.parametrize(
    "data", [b"", b"POST /v1/comp", HEAD, WHOLE[:-5], HEAD + b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_who_stops_in_the_midst_is_sent_away_in_time(server: Running, data: bytes) -> None:
    with connect(server) as client:
        client.sendall(data)
        began = time.monotonic()
        assert all_of(client).startswith(b"HTTP/1.1 408")
        assert SECONDS / 2 < time.monotonic() - began < SECONDS + 20
    assert is_alive(server)


@pytest.mark.parametrize("data", [WHOLE, b"X: y\r\n" * 50])
def test_a_byte_at_a_time_is_no_way_to_stay(server: Running, data: bytes) -> None:
    """Slow loris: each byte comes in time, the request does not."""
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if data is not WHOLE:
            client.sendall(HEAD)
        began, answer = time.monotonic(), b""
        try:
            for i in range(len(data)):
                client.sendall(data[i : i + 1])
                time.sleep(SECONDS / 20)
        except (BrokenPipeError, ConnectionResetError):
            answer = b"closed"
        assert answer == b"closed"
        assert time.monotonic() - began < SECONDS + 20
    assert is_alive(server)


def test_a_second_request_on_the_connection_has_as_long(server: Running) -> None:
    with connect(server) as client:
        for _ in range(3):
            client.sendall(WHOLE)
            answer = b""
            while b"total_tokens" not in answer:
                answer += client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(SECONDS * 0.6)
        client.sendall(WHOLE[:40])
        assert all_of(client).startswith(b"HTTP/1.1 408")


def test_a_long_answer_is_not_a_slow_request(server: Running) -> None:
    server.served.scheduler.run(lambda: time.sleep(SECONDS * 2))  # which the answer has to wait for
    began = time.monotonic()
    assert is_alive(server)
    assert time.monotonic() - began > SECONDS


def test_who_does_not_read_the_answer_is_cut_off() -> None:
    """The answer is larger than what the system holds back for a client."""
    values = [{"name": f"blocks.{i}.attn.{name}"} for i in range(5) for name in ("scores", "pattern")]
    body = json.dumps({"prompt": [5] * 250, "values": values, "dtype": "float32"}).encode()
    head = b"POST /inside HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream\r\n"
    with running(serve_model(shakespeare(), limits=Limits(seconds=SECONDS))) as server, connect(server) as client:
        client.sendall(head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        begun = client.recv(1)
        time.sleep(SECONDS * 5)
        head, _, answer = (begun + all_of(client)).partition(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head)
        assert len(answer) < int(length)


def test_half_a_body_and_away(server: Running) -> None:
    with connect(server) as client:
        client.sendall(WHOLE[:-5])
    assert is_alive(server)


def test_a_body_that_is_too_large_is_a_413_however_it_comes(server: Running) -> None:
    large = b" " * 2000
    chunk = b"%x\r\n%s\r\n" % (400, large[:400])
    for data in (
        HEAD + b"Content-Length: 2000\r\n\r\n",
        HEAD + b"Content-Length: 2000\r\n\r\n" + large,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 4,
        HEAD + b"Content-Length: %s\r\n\r\n" % (b"9" * 19),
    ):
        with connect(server) as client:
            client.sendall(data)
            assert client.recv(65536).startswith(b"HTTP/1.1 413")
    assert is_alive(server)


def test_an_upload_without_end_is_cut_off(server: Running) -> None:
    with connect(server) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        began = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < SECONDS + 20:
                client.sendall(b"%x\r\n%s\r\n" % (4000, b" " * 4000))
        assert time.monotonic() - began < SECONDS + 20
    assert is_alive(server)
