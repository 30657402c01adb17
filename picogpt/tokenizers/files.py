"""Reading and writing the small text files that vocabularies are stored in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from picogpt.errors import PicoGPTError


def read_text(path: Path) -> str:
    """The file's text; raises `PicoGPTError` when it cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise PicoGPTError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PicoGPTError(
            f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}"
        ) from error


def read_json(path: Path) -> Any:
    """The file's JSON; raises `PicoGPTError` when there is none."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise PicoGPTError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; is it complete?"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write the file whole or not at all: whoever reads it never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(text.encode("utf-8"))
    partial.replace(path)
