"""A process that dies at its n-th operation on a file, for every n: what is left must lead on.

Operations are what changes the disk: a write, of which half is done, a sync, a rename, a removal, a new directory.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DIED = 77


class Dying:
    """Patches this process so that it ends, or its disk is full, at operation number `at`."""

    def __init__(self, at: int, full_disk: bool = False, writes: bool = True) -> None:
        self.left, self.full_disk, self.writes = at, full_disk, writes

    def operation(self) -> None:
        if self.left == 0 and not self.full_disk:
            os._exit(DIED)
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*arguments: Any, **options: Any) -> Any:
            self.operation()
            return function(*arguments, **options)

        return replacement

    def patch(self) -> None:
        dying = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                if dying.left == 0:
                    super().write(bytes(data)[: len(data) // 2])
                dying.operation()
                return super().write(data)

        path_open = Path.open

        def open_(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if mode in ("wb", "ab"):
                return io.BufferedWriter(File(path, mode), 1 << 15)
            return path_open(path, mode, *arguments, **options)

        names = ("fsync", "replace", "mkdir") if self.full_disk else ("fsync", "replace", "mkdir", "unlink", "rmdir")
        for name in names:
            setattr(os, name, self.before(getattr(os, name)))
        if self.writes:
            Path.open = open_  # type: ignore[method-assign,assignment]


def crashes(work: Callable[[], object], full_disk: bool = False, writes: bool = True) -> Iterator[int]:
    """Do `work` in a child that dies at operation 0, then 1, …, until one comes to its end; each time give the number.

    On a full disk the child's error is what `work` makes of it; it must be an `OSError` or a `PicoGPTError`. Without
    `writes` only the other operations count, which are a tenth of all.
    """
    for n in itertools.count():
        child = os.fork()
        if not child:
            try:
                Dying(n, full_disk, writes).patch()
                work()
                os._exit(0)
            except (OSError, ValueError) as error:
                os._exit(DIED if "No space left" in str(error) else 1)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return
        assert status == DIED, f"operation {n}: the child ended with {status}"
        yield n
