"""What every test can rely on."""

from __future__ import annotations

import signal

# A shell starts background jobs with Ctrl-C ignored, and programs inherit that: the commands that tests interrupt would
# never stop. A handler, unlike "ignored", is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
