"""`GET /metrics`: counters, gauges and histograms in Prometheus's text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from picogpt.server.log import Note
from picogpt.server.served import Served

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
FORMAT = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"  # paths that are not here have no series of their own, or anybody could make thousands


class Histogram:
    """How many values lie below each bound."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterator[str]:
        totals = list(accumulate(self.counts))
        for bound, total in zip([*map(str, self.bounds), "+Inf"], totals, strict=True):
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {totals[-1]}"


class Metrics:
    """What has been counted since the start."""

    def __init__(self, served: Served, paths: Sequence[str] = ()) -> None:
        self.served, self.paths = served, frozenset(paths)
        self.requests: Counter[tuple[str, int]] = Counter()
        self.n_prompt = self.n_written = 0
        self.first, self.between, self.whole = Histogram(), Histogram(), Histogram()

    def count(self, note: Note) -> None:
        self.requests[note.path if note.path in self.paths else OTHER, note.status] += 1
        self.n_prompt += note.n_prompt
        self.n_written += len(note.token_times)
        self.whole.add(note.seconds)
        if note.token_times:
            self.first.add(note.token_times[0])
        for before, after in pairwise(note.token_times):
            self.between.add(after - before)

    def lines(self) -> Iterator[str]:
        yield from head("picogpt_requests_total", "counter", "Requests by path and status.")
        for (path, status), n in sorted(self.requests.items()):
            yield f'picogpt_requests_total{{path="{path}",status="{status}"}} {n}'
        stats = self.served.scheduler.stats
        numbers = {
            "prompt_tokens_total": (self.n_prompt, "Tokens of prompts."),
            "generated_tokens_total": (self.n_written, "Tokens that were written."),
            "steps_total": (stats.n_steps, "Passes of the model."),
            "reread_tokens_total": (stats.n_again, "Tokens read again so that company changes no choice."),
            "cached_tokens_total": (stats.n_cached, "Tokens of prompts that did not have to be read again."),
            "cache_hits_total": (stats.n_hits, "Prompts whose beginning was in the prefix cache."),
            "queue": (stats.n_queued, "Continuations that wait."),
            "batch_size": (stats.n_running, "Continuations that are being written."),
            "cache_bytes": (stats.cache_bytes, "Memory that the prefix cache takes."),
        }
        for name, (number, help) in numbers.items():
            yield from head(f"picogpt_{name}", "counter" if name.endswith("_total") else "gauge", help)
            yield f"picogpt_{name} {number}"
        histograms = {
            "picogpt_time_to_first_token_seconds": (self.first, "From a request to its first token."),
            "picogpt_token_seconds": (self.between, "From a request's token to its next one."),
            "picogpt_request_seconds": (self.whole, "From a request to the end of its answer."),
        }
        for name, (histogram, help) in histograms.items():
            yield from head(name, "histogram", help)
            yield from histogram.lines(name)


def head(name: str, kind: str, help: str) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"


async def metrics(request: Request) -> Response:
    found: Metrics = request.app.state.metrics
    return PlainTextResponse("\n".join([*found.lines(), ""]), media_type=FORMAT)
