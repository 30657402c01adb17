"""Words that seem to be commands: what is said to someone who mistypes one, or knows it from another program."""

from __future__ import annotations

import itertools
import shlex
from difflib import get_close_matches

from picogpt.cli import COMMANDS
from picogpt.errors import PicoGPTError

HABITS = {  # what other programs call it
    "list": "models",
    "ls": "models",
    "pull": "download",
    "get": "download",
    "install": "download",
    "chat": "generate",
    "run": "generate",
    "complete": "generate",
    "perplexity": "score",
    "surprisal": "score",
    "diff": "compare",
    "encode": "tokenize",
    "tokens": "tokenize",
    "finetune": "train",
    "fine-tune": "train",
    "quantize": "convert",
    "show": "info",
}
LIKENESS = 0.75  # "scor" and "score" have 0.89, "hello" and "help" 0.67


def closest(word: str) -> str | None:
    """The command that was probably meant by the word, if any."""
    habit = HABITS.get(word.lower()) or (word.lower() if word.lower() in COMMANDS else None)
    return habit or next(iter(get_close_matches(word, COMMANDS, n=1, cutoff=LIKENESS)), None)


def check_first_word(argv: list[str]) -> None:
    """Raises `PicoGPTError`, which says how to have either, for a first word that is close to a command's name."""
    if command := closest(argv[0]):
        text = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), argv))
        raise PicoGPTError(
            f"there is no command {argv[0]!r}; did you mean `picogpt {command}`? "
            f"To continue the text: `picogpt generate {shlex.quote(text)}`"
        )
