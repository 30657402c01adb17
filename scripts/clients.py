"""A server in a process of its own, and clients that stream from it over the loopback: for the benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SPREAD = 0.05  # seconds from one client's request to the next one's


class Figures(NamedTuple):
    """Of some streams at once; times are milliseconds."""

    rate: float  # tokens a second while all of them are written
    first: float  # from a request to its first token, the median
    first_p95: float
    gap_p95: float  # from a token to the next one of the same stream


class Place(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    pid: int


@contextmanager
def serving(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[Place]:
    """`picogpt serve` with these options, on any free port."""
    command = [sys.executable, "-m", "picogpt", "serve", "--port", "0", "--log-level", "error", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"at http://([\d.]+):(\d+);", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        yield Place(found[1], int(found[2]), process.pid)
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def another(*command: str, environment: Mapping[str, str]) -> Iterator[Place]:
    """Another server, whose command ends with the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {**os.environ, **environment}
    process = subprocess.Popen([*command, str(port)], stdout=-3, stderr=-3, env=env)
    try:
        for _ in range(1200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, f"{command} has ended"
            time.sleep(0.1)
        yield Place("127.0.0.1", port, process.pid)
    finally:
        process.terminate()
        process.wait()


async def stream(place: Place, body: dict[str, Any], wait: float = 0.0) -> list[float]:
    """The moments of a request and of each of its parts, from a bare socket: a client that costs little."""
    await asyncio.sleep(wait)
    reader, writer = await asyncio.open_connection(place.host, place.port)
    data = json.dumps({**body, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {place.host}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    times = [time.perf_counter()]
    writer.write(head.encode() + data)
    status = await reader.readline()
    assert b" 200 " in status, status
    async for line in reader:
        if line.startswith(b"data: {"):
            assert b'"error"' not in line, line
            times.append(time.perf_counter())
    writer.close()
    await writer.wait_closed()
    return times


async def spread(place: Place, bodies: Sequence[dict[str, Any]], seconds: float) -> list[list[float]]:
    return await asyncio.gather(*(stream(place, body, i * seconds) for i, body in enumerate(bodies)))


def measure(place: Place, bodies: Sequence[dict[str, Any]], seconds: float = SPREAD) -> Figures:
    """What these requests find, each `seconds` after the one before it."""
    streams = asyncio.run(spread(place, bodies, seconds))
    begin, end = max(times[1] for times in streams), min(times[-1] for times in streams)
    if end <= begin:  # a small model has done with one before the next one comes
        begin, end = min(times[1] for times in streams), max(times[-1] for times in streams)
    n_tokens = sum(begin < moment <= end for times in streams for moment in times)
    firsts = [1e3 * (times[1] - times[0]) for times in streams]
    gaps = [1e3 * (after - before) for times in streams for before, after in pairwise(times[1:])]
    return Figures(n_tokens / (end - begin), statistics.median(firsts), percentile(firsts), percentile(gaps))


def first_token(place: Place, body: dict[str, Any]) -> float:
    """Milliseconds until the first token of a request by itself."""
    times = asyncio.run(stream(place, body))
    return 1e3 * (times[1] - times[0])


def percentile(values: Sequence[float], share: float = 0.95) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
