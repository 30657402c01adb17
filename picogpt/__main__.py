"""`python -m picogpt` and the command `picogpt`: the process around the front door."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in the midst of an import ends without a traceback
    from picogpt import cli
    from picogpt.cli.streams import prepare

    prepare()
    signal.signal(signal.SIGINT, handler)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
