"""Exceptions for bad input and the world outside. The command line prints the message as one line, no traceback."""


class PicoGPTError(ValueError):
    """Something the caller gave cannot be used; the message says what was wrong and what to do."""

    exit_status = 2  # of the command line

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class NetworkError(PicoGPTError):
    """Something outside failed, and went on failing when it was tried again; later it may work."""

    exit_status = 1


def printable(text: str) -> str:
    """The text on one line, with escapes for what a terminal would obey: it may quote a server or a file."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
