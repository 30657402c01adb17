"""Parts of one computation, side by side.

BLAS spreads a matrix product over its threads, and everything between two products waits for one of them. Where there
is much of everything it is faster the other way round: a thread for each part, and one BLAS thread for each product.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import ThreadpoolController

T = TypeVar("T")

BUSY = threading.RLock()  # held by the one thread that may change how many threads BLAS has
PARTS = threading.local()  # `.are_running`: a part that has parts of its own does them itself, one by one
TAKEN: list[tuple[int, Callable[[], object]]] = []  # who has taken threads from BLAS, and what gives them back to it


def each(work: Callable[[T], object], items: Iterable[T], many: bool = True) -> None:
    """`work(item)` for every item, in as many threads as BLAS has; in which order is left open.

    Unless there is much to do they are better done one by one (`many` is False): threads have to be woken, and between
    products that BLAS spreads its own keep the cores busy for a while. What `work` raises is raised here, when the
    parts that had begun have ended; the others do not begin. What `np.errstate` says here holds in all of the threads.
    """
    waiting = deque(items)

    def run() -> None:
        try:
            while waiting:
                try:
                    item = waiting.popleft()
                except IndexError:  # another thread was faster
                    return
                work(item)
        except BaseException:
            waiting.clear()
            raise

    n_threads = n_blas_threads() if many and not getattr(PARTS, "are_running", False) else 1
    if n_threads < 2 or not BUSY.acquire(blocking=False):
        return run()
    PARTS.are_running = True
    try:
        with one_blas_thread():
            futures = [pool().submit(copy_context().run, run) for _ in range(min(n_threads, len(waiting)) - 1)]
            try:
                run()
            finally:
                for future in futures:
                    if not future.cancel():  # a thread that has not begun by now is not needed any more
                        future.result()
    finally:
        PARTS.are_running = False
        BUSY.release()


def n_blas_threads() -> int:
    """How many threads a matrix product has; 1 where that cannot be known."""
    return max((int(library.num_threads) for library in blas().lib_controllers), default=1)


def set_blas_threads(n: int) -> None:
    """Let matrix products use n threads, everywhere in this process; takes a microsecond."""
    for library in blas().lib_controllers:
        library.set_num_threads(n)


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Matrix products with one thread each; gives False where this cannot be had."""
    with blas().limit(limits=1) as limiter:
        taken = threading.get_ident(), limiter.restore_original_limits
        TAKEN.append(taken)
        try:
            yield bool(blas().lib_controllers)
        finally:
            TAKEN.remove(taken)


def after_fork() -> None:
    """In a new process: only the thread that forked is there, and what the others had taken is free again."""
    global BUSY
    for _, give_back in reversed(TAKEN):
        give_back()
    TAKEN[:] = [taken for taken in TAKEN if taken[0] == threading.get_ident()]
    if BUSY.acquire(blocking=False):  # it is free, or this thread's own
        BUSY.release()
    else:
        BUSY = threading.RLock()
    pool.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=after_fork)


@cache
def blas() -> ThreadpoolController:
    """The libraries of linear algebra in this process: NumPy's, and those of whatever else was loaded before."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@cache
def pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(thread_name_prefix="picogpt")
