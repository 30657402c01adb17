"""The front door: `picogpt PROMPT` generates, `picogpt COMMAND …` does what the command says.

Each command is a module of this folder with a `main(argv) -> exit status`, imported only when it is called, so
that text comes as soon as it can. Text goes to stdout, everything about the run to stderr.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from picogpt.cli.streams import give_up_stdout, why
from picogpt.errors import PicoGPTError, reason

# A command and what it does; the module has its name. A first argument that is not listed here is a prompt.
COMMANDS = {
    "generate": "continue a prompt",
    "score": "surprisal of tokens or words, perplexity of texts",
    "pairs": "accuracy on minimal pairs, such as BLiMP's",
    "compare": "two sentences' surprisals side by side",
    "inside": "attention, logit lens and every other value of a pass",
    "features": "hidden states or attention of many texts, for a study",
    "serve": "answer clients of OpenAI's API, many at a time",
    "tokenize": "show the tokens of a text",
    "train-tokenizer": "learn a vocabulary from text",
    "train": "train a GPT-2 on text, or fine-tune one",
    "ladder": "train a model of each kind, from a table of pairs to GPT-2",
    "models": "list the models that are here, and those to download",
    "download": "get GPT-2, whole and verified",
    "verify": "check a model's files against their checksums",
    "convert": "write a model in another layout, or in fewer bits",
    "info": "say what a model is",
    "completion": "complete commands and options in bash, zsh or fish",
    "help": "explain picogpt, or a command",
    "version": "the versions that a bug report needs",
}
FLAGS = {"-h": "help", "--help": "help", "-V": "version", "--version": "version"}  # first, in a command's place


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0 done, 1 something outside failed (the network, standard output), 2 bad input, or a file that cannot be read or
    written, 130 Ctrl-C, 143 SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        try:
            return run(argv)
        finally:
            sys.stdout.flush()
    except PicoGPTError as error:
        print(f"picogpt: {error}", file=sys.stderr)
        return error.exit_status
    except MemoryError as error:
        print(f"picogpt: not enough memory; do less at once ({error or 'no size is known'})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has left
        give_up_stdout()
        return 0
    except OSError as error:
        if error.filename is not None:
            print(f"picogpt: {reason(error)}", file=sys.stderr)
            return 2
        give_up_stdout()
        print(f"picogpt: {why(error)}", file=sys.stderr)
        return 1


def run(argv: list[str]) -> int:
    """Do what the arguments say; returns the exit status, or raises what went wrong."""
    name, rest = chosen(argv)
    import numpy as np

    # what is not finite is an error that names its cause, and needs no warnings before it
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        status: int = module(name).main(rest)
    return status


def chosen(argv: list[str]) -> tuple[str, list[str]]:
    """The command that is meant, and its arguments; raises `PicoGPTError` for a word that only seems to be one."""
    first = argv[0] if argv else ""
    name = FLAGS.get(first, first)
    if name in COMMANDS:
        return name, argv[1:]
    if first[:1].isalpha() and first.replace("-", "").isalpha():
        from picogpt.cli.words import check_first_word

        check_first_word(argv)
    return "generate", argv


def module(command: str) -> ModuleType:
    """The module of a command."""
    return import_module(f"picogpt.cli.{command.replace('-', '_')}")
