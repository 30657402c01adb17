"""The exceptions for what is not our fault. The command line prints the message as one line and exits with the status."""


class PicoGPTError(ValueError):
    """Something the caller gave cannot be used; the message says what was wrong and what to do."""

    exit_status = 2


class NetworkError(PicoGPTError):
    """Something outside failed, and went on failing when it was tried again; later it may work."""

    exit_status = 1
