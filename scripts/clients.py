"""A server in a process of its own, and clients that stream from it over the loopback: for the benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


@contextmanager
def serving(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[tuple[str, int, int]]:
    """`picogpt serve` with these options, on any free port; gives host, port and process id."""
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
        yield found[1], int(found[2]), process.pid
    finally:
        process.terminate()
        process.communicate()


async def stream(host: str, port: int, body: dict[str, Any], wait: float) -> list[float]:
    """The moments of a request and of each of its parts, from a bare socket: a client that costs little."""
    await asyncio.sleep(wait)
    reader, writer = await asyncio.open_connection(host, port)
    data = json.dumps({**body, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    times = [time.perf_counter()]
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    async for line in reader:
        if line.startswith(b"data: {"):
            assert b'"error"' not in line, line
            times.append(time.perf_counter())
    writer.close()
    await writer.wait_closed()
    return times


async def at_once(host: str, port: int, bodies: Sequence[dict[str, Any]]) -> list[list[float]]:
    return await asyncio.gather(*(stream(host, port, body, i * SPREAD) for i, body in enumerate(bodies)))


def measure(host: str, port: int, bodies: Sequence[dict[str, Any]]) -> Figures:
    """What these requests, one shortly after the other, find."""
    streams = asyncio.run(at_once(host, port, bodies))
    begin, end = max(times[1] for times in streams), min(times[-1] for times in streams)
    n_tokens = sum(begin < moment <= end for times in streams for moment in times)
    firsts = [1e3 * (times[1] - times[0]) for times in streams]
    gaps = [1e3 * (after - before) for times in streams for before, after in pairwise(times[1:])]
    return Figures(n_tokens / (end - begin), statistics.median(firsts), percentile(firsts), percentile(gaps))


def percentile(values: Sequence[float], share: float = 0.95) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
