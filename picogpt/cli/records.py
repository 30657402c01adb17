"""Texts from the command line, files and pipes: the options that say what they are, and their records."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Self

from picogpt.cli.text import LOOKS_LIKE_A_FILE, check_argument, is_file
from picogpt.corpus.records import KINDS, Record, Survey, kind_of, read
from picogpt.errors import PicoGPTError, what

IN_MEMORY = 1 << 24  # bytes of a pipe


def add_input_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("inputs", nargs="*", metavar="TEXT|FILE", help="sentences, or files (default: standard input)")
    add(
        "--format",
        choices=KINDS,
        help="a whole file is a text, or each line, or a column of each row, or a key of each JSON line "
        "(default: what the file's name ends in; text); in a raw-tsv quotes mean nothing",
    )
    add("--lines", dest="format", action="store_const", const="lines", help="short for --format lines")
    add(
        "--id",
        action="append",
        metavar="NAME",
        help="a column or key that comes along; may be given several times "
        "(default: all of them, in a table for people none)",
    )


def add_text_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--column", "--key", "--text", default="text", metavar="NAME", help="where the text is (default: text)"
    )


def require_input(args: argparse.Namespace) -> None:
    """Raises `PicoGPTError` where the text would have to be typed."""
    if not args.inputs and sys.stdin is not None and sys.stdin.isatty():
        raise PicoGPTError("there is no text: give it in quotes, or a file, or pipe it in")


def is_one_text(args: argparse.Namespace) -> bool:
    """Whether the input is a single text, and not rows that may be many."""
    return len(args.inputs) < 2 and {kind_of(name, args.format) for name in files(args.inputs) or ["-"]} == {"text"}


def files(inputs: list[str]) -> list[str]:
    """The inputs, if they are files; none, if they are texts or nothing. Raises `PicoGPTError` for a lost file.

    One input that is no file and is not called like one is a text; several are where there are spaces in them.
    """
    lost = [name for name in inputs if not is_file(name)]
    are_texts = len(inputs) == 1 or any(" " in name for name in inputs)
    if are_texts and lost == inputs and not any(name.endswith(LOOKS_LIKE_A_FILE) for name in inputs):
        return []
    if lost:
        raise PicoGPTError(f"there is no file {lost[0]} (a text with spaces goes into quotes)")
    return inputs


class Input:
    """The records of the inputs, bad ones too. They can be read more than once, also those of a pipe."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.format, self.column = args.format, getattr(args, "column", "text")
        self.names, self.texts = files(args.inputs), args.inputs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "_pipe" in self.__dict__:
            self._pipe.close()

    def __iter__(self) -> Iterator[Record]:
        if self.names:
            for name in self.names:
                try:
                    with Path(name).open("rb") as file:
                        yield from self._read(as_utf8(name), file)
                except OSError as error:
                    raise PicoGPTError(f"{name} cannot be read: {what(error)}") from None
        elif self.texts:
            for number, text in enumerate(self.texts, 1):
                yield Record("the text", number, {self.column: check_argument(text, "the text")})
        else:
            self._pipe.seek(0)
            yield from self._read("standard input", self._pipe)

    def _read(self, name: str, file: IO[bytes]) -> Iterator[Record]:
        yield from read(name, file, kind_of(name, self.format), self.column)

    @cached_property
    def _pipe(self) -> IO[bytes]:
        """What standard input had."""
        copy = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (`__exit__` closes it)
        if sys.stdin is not None:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        return copy

    def survey(self) -> Survey:
        """What there is, from reading all of it once."""
        survey = Survey(self)
        for name, n_rows in survey.joined.items():
            if kind_of(name, self.format) == "tsv":
                rows = f"{n_rows:,} row{'s' if n_rows > 1 else ''}"
                print(
                    f"picogpt: {name}: quotes join lines in {rows}; if quotes mean nothing there: --format raw-tsv",
                    file=sys.stderr,
                )
        return survey


def as_utf8(name: str) -> str:
    """A file's name as rows have it, which are UTF-8: bytes that are not become escapes."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
