"""Text on its way in and out: UTF-8 both ways, and what a special token in it means."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, TypedDict

from picogpt.errors import PicoGPTError, decode_utf8

if TYPE_CHECKING:
    from picogpt.tokenizers import SpecialTokens, Tokenizer


LOOKS_LIKE_A_FILE = (".txt", ".text", ".md", ".json", ".jsonl", ".ndjson", ".tsv", ".csv")


def is_file(name: str) -> bool:
    """Whether there is a file of that name, which may be a long text: Path.is_file would raise."""
    return os.path.isfile(name)  # noqa: PTH113


def read_stdin() -> str:
    """All of standard input; where there is none, nothing."""
    return decode_utf8(sys.stdin.buffer.read() if sys.stdin is not None else b"", "standard input")


def check_argument(text: str, what: str) -> str:
    """A text from the command line, where bytes that are not UTF-8 have become lone surrogates."""
    return decode_utf8(text.encode(errors="surrogateescape"), what)


def add_special_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--special",
        choices=("token", "text"),
        help="whether <|endoftext|> in the text is the token or plain text (default: an error)",
    )


class SpecialOptions(TypedDict):
    """What `--special` says, as the arguments that tokenizers have for it."""

    allowed_special: SpecialTokens
    disallowed_special: SpecialTokens


def special_options(special: str | None) -> SpecialOptions:
    """The arguments for what `--special` says; without it, `check_special` says what is wrong in words of its own."""
    return {"allowed_special": "all" if special == "token" else (), "disallowed_special": ()}


def check_special(encoder: Tokenizer, text: str, special: str | None) -> None:
    """Raises `PicoGPTError` for a special token of which `--special` says nothing."""
    from picogpt.tokenizers.base import special_token_in

    if special is None and (token := special_token_in(encoder, text)):
        raise PicoGPTError(
            f"the text contains {token}: say --special token if it means the token, --special text if it does not"
        )


def encode(encoder: Tokenizer, text: str, special: str | None) -> list[int]:
    """The ids of a text; `special` is what `--special` says."""
    check_special(encoder, text, special)
    return encoder.encode(text, **special_options(special))
