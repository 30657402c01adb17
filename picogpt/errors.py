"""The one exception for bad input. The command line prints its message as a single line and exits with 2."""


class PicoGPTError(ValueError):
    """Something the caller gave cannot be used; the message says what was wrong and what to do."""
