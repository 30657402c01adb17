"""The standard streams, made so that what goes wrong with them is told in one line, or does not matter."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress

from picogpt.errors import what


class Notices(io.TextIOWrapper):
    """stderr for what is said about a run: when nobody can read it, the run goes on."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def prepare() -> None:
    """Open what was closed, and make stdout UTF-8 with line ends as they are, whatever the locale says.

    A closed stdout becomes one that cannot be written, so that a result is not lost silently. A closed stderr becomes
    one that nobody reads; `print` would else send to stdout what was meant for it.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if type(sys.stdout) is io.TextIOWrapper:
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    if type(sys.stderr) is io.TextIOWrapper:
        encoding = sys.stderr.encoding
        sys.stderr = Notices(sys.stderr.detach(), encoding, "backslashreplace", line_buffering=True)


def in_colour() -> bool:
    """Whether stdout is a terminal that shows colours, and nobody objects (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def give_up_stdout() -> None:
    """Send what is still in stdout's buffer nowhere: the interpreter would complain again when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def why(error: OSError) -> str:
    """What is wrong with stdout, in words."""
    return "standard output is closed" if error.errno == errno.EBADF else f"standard output: {what(error)}"
