"""The machines of a Dask cluster: a batch is a task, and every worker loads the model once.

`local` starts workers on this machine. Where workers are started by hand they want the `WORKER_VARIABLES` in the
environment of `dask worker --nthreads 1`. Dask's own MALLOC_TRIM_THRESHOLD_ gives memory back to the system after every
layer, which costs a third of the speed; and since glibc, once it is told one threshold, no longer adapts the other,
every larger array would be mapped anew: with MALLOC_MMAP_THRESHOLD_, too, a run takes a third less (19.9 -> 13.1 s).
"""

from __future__ import annotations

import math
import os
import pickle
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from picogpt.corpus.ordered import LEAD, in_order
from picogpt.corpus.processes import ONE_THREAD, environment, n_cores
from picogpt.errors import PicoGPTError

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

TRIM = "MALLOC_TRIM_THRESHOLD_"
WORKER_VARIABLES = {**ONE_THREAD, TRIM: str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
RETRIES = 2  # of a batch that ended in an error; of one whose worker died Dask itself allows three
CONNECT = 30  # seconds until there must be a scheduler
LOOK = 10  # seconds between two looks at how many workers there are


class Work(Protocol[T_in, R_out]):
    """What is done with an item, which may want to load something before the first."""

    def begin(self) -> None: ...

    def __call__(self, item: T_in, /) -> R_out: ...


JOBS: dict[bytes, Work[Any, Any]] = {}  # on a worker: what was sent, and with it the model, is kept
LOADING = threading.Lock()


@contextmanager
def connected(address: str, n_workers: int | None = None) -> Iterator[Any]:
    """A client of the cluster at an address, or of one with so many workers that is started here ("local").

    Raises `PicoGPTError` where Dask is not installed, and where there is no cluster.
    """
    try:
        import distributed
    except ImportError:
        raise PicoGPTError("--dask needs Dask: pip install 'dask[distributed]', here and on every worker") from None
    if address != "local":
        try:
            client = distributed.Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise PicoGPTError(f"there is no Dask scheduler at {address}: {error}") from None
        with client:
            yield client
        return
    quiet = {"DASK_LOGGING__DISTRIBUTED": "critical"}  # what goes wrong is raised; how a worker ends is no news
    with environment({**WORKER_VARIABLES, **quiet}):  # which Dask prefers to its configuration
        cluster = distributed.LocalCluster(
            n_workers=n_workers or n_cores(), threads_per_worker=1, memory_limit=0, dashboard_address=None
        )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def in_cluster(work: Work[T, R], items: Iterable[T], client: Any) -> Iterator[R]:
    """`map(work, items)` on the workers of the cluster; `work` is pickled. The results come in the order of the items.

    Raises what `work` raises, and `PicoGPTError` where the scheduler, or every worker that had an item, is lost.
    """
    return in_order(Tasks(pickle.dumps(work), client), items)


class Tasks:
    """Items as tasks of a cluster, whose workers come and go."""

    def __init__(self, work: bytes, client: Any) -> None:
        from distributed import as_completed

        self.work, self.client = work, client
        self.numbers: dict[str, int] = {}
        self.n_ahead, self.looked = 0, -math.inf
        with told_when_lost():
            self.futures = as_completed(loop=client.loop)

    def lead(self) -> int:
        if time.monotonic() > self.looked + LOOK:
            with told_when_lost():
                self.n_ahead = LEAD * max(1, sum(self.client.nthreads().values()))
            self.looked = time.monotonic()
        return self.n_ahead

    def has_room(self) -> bool:
        return True

    def give(self, number: int, item: Any) -> None:
        with told_when_lost():
            future = self.client.submit(do, self.work, item, pure=False, retries=RETRIES)
            self.numbers[future.key] = number
            self.futures.add(future)

    def answers(self) -> Iterator[tuple[int, Any]]:
        with told_when_lost():
            future = next(self.futures)
        yield self.numbers.pop(future.key), answer_of(future)


def answer_of(future: Any) -> Any:
    """What came of a task that has ended."""
    from distributed import KilledWorker

    if future.status == "error":
        error = future.exception()
        if isinstance(error, KilledWorker):
            raise PicoGPTError(f"workers died over the same batch; is there too little memory? ({error})")
        raise error
    with told_when_lost():
        answer, message = future.result()
    if message is not None:
        raise PicoGPTError(message)
    return answer


@contextmanager
def told_when_lost() -> Iterator[None]:
    """Raises `PicoGPTError` where the scheduler does not answer."""
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    try:
        yield
    except (CancelledError, CommClosedError, TimeoutError, OSError) as error:
        raise PicoGPTError(f"the Dask scheduler is lost; run it again with --resume ({type(error).__name__})") from None


def do(work: bytes, item: Any) -> tuple[Any, str | None]:
    """On a worker: what comes of an item, or what was wrong with it, which no second try would put right."""
    try:
        with LOADING:  # threads of a worker share one model
            if work not in JOBS:
                JOBS.clear()
                JOBS[work] = pickle.loads(work)
                JOBS[work].begin()
        return JOBS[work](item), None
    except PicoGPTError as error:
        return None, str(error)


def variables() -> dict[str, str | None]:
    """On a worker: what decides how fast it is."""
    return {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", TRIM)}


def slow_workers(client: Any) -> list[str]:
    """What is said of workers whose environment makes them slow."""
    found = list(client.run(variables).values())
    n_trimming = sum((worker[TRIM] or "").isdecimal() and int(worker[TRIM] or 0) < 1 << 20 for worker in found)
    n_threads = sum(worker["OPENBLAS_NUM_THREADS"] != "1" for worker in found)
    wanted = ((n_trimming, f"{TRIM}={WORKER_VARIABLES[TRIM]}"), (n_threads, "OPENBLAS_NUM_THREADS=1"))
    return [
        f"{n} of {len(found)} workers are slower for want of {what} in their environment" for n, what in wanted if n
    ]
