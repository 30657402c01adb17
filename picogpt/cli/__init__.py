"""The front door: `picogpt PROMPT` generates, `picogpt COMMAND …` does what the command says.

Each command is a module of this folder with a `main(argv) -> exit status`, imported only when it is called, so
that text comes as soon as it can. Text goes to stdout, everything about the run to stderr.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from picogpt.errors import PicoGPTError

# command -> the module that does it. A first argument that is not listed here is a prompt.
COMMANDS = {
    "compare": "picogpt.cli.compare",
    "convert": "picogpt.cli.convert",
    "download": "picogpt.cli.download",
    "generate": "picogpt.cli.generate",
    "info": "picogpt.cli.info",
    "ladder": "picogpt.cli.ladder",
    "score": "picogpt.cli.score",
    "tokenize": "picogpt.cli.tokenize",
    "train": "picogpt.cli.train",
    "train-tokenizer": "picogpt.cli.train_tokenizer",
    "verify": "picogpt.cli.verify",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a failure outside, 2 bad input, 130 Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    name, rest = ("generate", argv) if not argv or argv[0] not in COMMANDS else (argv[0], argv[1:])
    try:
        status: int = import_module(COMMANDS[name]).main(rest)
        sys.stdout.flush()
        return status
    except PicoGPTError as error:
        print(f"picogpt: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has left; without this the interpreter would complain again when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
