"""A lock file: one process at a time. The system lets go of it when its holder ends, in whatever way."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None], poll: float = 0.2) -> Iterator[None]:
    """Hold the lock file `path`, which is gone again afterwards; `on_wait` is called once if another holds it."""
    descriptor = acquire(path, on_wait, poll)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not delete what is open; an empty file remains
            path.unlink()
        os.close(descriptor)


def acquire(path: Path, on_wait: Callable[[], None], poll: float) -> int:
    """The descriptor of the locked file. Another look makes sure that its last holder has not just deleted it."""
    waited = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # it may have gone together with its last holder
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        if try_lock(descriptor):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        os.close(descriptor)
        if not waited:
            on_wait()
            waited = True
        time.sleep(poll)
