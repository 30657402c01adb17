"""Exceptions for bad input and the world outside. The command line prints the message as one line, no traceback."""

from __future__ import annotations

import os


class PicoGPTError(ValueError):
    """Something the caller gave cannot be used; the message says what was wrong and what to do."""

    exit_status = 2  # of the command line


class NetworkError(PicoGPTError):
    """Something outside failed, and went on failing when it was tried again; later it may work."""

    exit_status = 1


def reason(error: OSError) -> str:
    """What the system said, in a line: `path: No space left on device`."""
    return what(error) if error.filename is None else f"{os.fsdecode(error.filename)}: {what(error)}"


def what(error: OSError) -> str:
    """The same without the path; libraries raise errors that have a message only."""
    return error.strerror or " ".join(map(str, error.args)) or type(error).__name__
