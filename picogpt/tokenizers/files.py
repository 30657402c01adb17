"""Reading and writing text files: corpora, and the small files that vocabularies are stored in."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import regex

from picogpt.errors import PicoGPTError

LAST_WORD_END = regex.compile(r"(?r)\S(?=\s)")


def read_parts(path: Path, n_bytes: int = 1 << 24) -> Iterator[str]:
    """The file's text in parts of about `n_bytes`, which end between words: behind a word and before white space.

    Raises `PicoGPTError` when the file cannot be read or is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    text = ""
    n_read = 0
    try:
        with path.open("rb") as file:
            while data := file.read(n_bytes):
                n_read += len(data)
                text += decoder.decode(data)
                if match := LAST_WORD_END.search(text):
                    yield text[: match.end()]
                    text = text[match.end() :]
            text += decoder.decode(b"", final=True)
    except OSError as error:
        raise PicoGPTError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        offset = n_read - len(error.object) + error.start  # the decoder may have kept bytes of the part before
        raise PicoGPTError(f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {offset}") from error
    if text:
        yield text


def read_text(path: Path) -> str:
    """The file's whole text, with the errors of `read_parts`."""
    return "".join(read_parts(path))


def read_json(path: Path) -> Any:
    """The file's JSON; raises `PicoGPTError` where there is none."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise PicoGPTError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; is it complete?"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write the file whole or not at all: whoever reads it never sees half of it."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(text.encode("utf-8"))
        partial.replace(path)
    except OSError as error:
        raise PicoGPTError(f"cannot write {path}: {error.strerror}") from error
