"""Exceptions for bad input and the world outside. The command line prints the message as one line, no traceback."""

from __future__ import annotations

import os
from collections.abc import Iterable
from reprlib import Repr


class PicoGPTError(ValueError):
    """Something the caller gave cannot be used; the message says what was wrong and what to do."""

    exit_status = 2  # of the command line

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class NetworkError(PicoGPTError):
    """Something outside failed, and went on failing when it was tried again; later it may work."""

    exit_status = 1


def reason(error: OSError) -> str:
    """What the system said, in a line: `path: No space left on device`."""
    return what(error) if error.filename is None else f"{os.fsdecode(error.filename)}: {what(error)}"


def what(error: OSError) -> str:
    """The same without the path; libraries raise errors that have a message only."""
    return error.strerror or " ".join(map(str, error.args)) or type(error).__name__


SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 80
NAMES, NAME_SIZE = 20, 300  # in a list of them


def shown(value: object) -> str:
    """A value from a file as a message has it: its repr, shortened, so that it is one line whatever it is."""
    try:
        return SHORT.repr(value)
    except ValueError:  # Python's limit of digits
        return "a number of thousands of digits"


def listed(names: Iterable[str]) -> str:
    """Names from a file as a message has them: the first of them, and how many more there are."""
    names = list(names)
    first = [name if name.isprintable() and len(name) <= NAME_SIZE else shown(name) for name in names[:NAMES]]
    return ", ".join(first) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


def printable(text: str) -> str:
    """The text on one line, with escapes for what a terminal would obey: it may quote a server or a file."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def decode_utf8(data: bytes, what: str) -> str:
    """The text of `data`; raises `PicoGPTError` with the place of the first byte that is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PicoGPTError(f"{what} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}") from None
