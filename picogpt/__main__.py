"""`python -m picogpt` and the command `picogpt`: the process around the front door."""

from __future__ import annotations

import sys

# `signal` would load enum first, and Ctrl-C meanwhile would leave a traceback
from _signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    handler = getsignal(SIGINT)
    if handler is default_int_handler:
        signal(SIGINT, SIG_DFL)  # Ctrl-C in the midst of an import ends without a traceback
    import numpy  # noqa: F401  # its C code would make an ImportError of Ctrl-C

    from picogpt import cli
    from picogpt.cli.streams import prepare

    prepare()
    signal(SIGINT, handler)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
