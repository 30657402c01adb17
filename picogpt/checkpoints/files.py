"""Reading and writing the files of a model: whole or not at all."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError

Bytes = npt.NDArray[np.uint8]


def require_files(paths: Iterable[Path]) -> None:
    """Raise one `PicoGPTError` that names every missing file."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise PicoGPTError(f"missing: {', '.join(missing)}; the model is not complete, download or copy it again")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object."""
    require_files([path])
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise PicoGPTError(f"{path} is not JSON: {error}; download or copy it again") from error
    if not isinstance(content, dict):
        raise PicoGPTError(f"{path} should hold a JSON object, not {type(content).__name__}")
    return content


def map_file(path: Path) -> Bytes:
    """The file's bytes, memory-mapped and read-only: a page is read from the disk when it is first needed."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when it is whole and on the disk, and else disappears."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Give a finished file, already synced, its name in a way that a power cut cannot undo halfway."""
    partial.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames within the directory last; only POSIX has this, and needs it."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
