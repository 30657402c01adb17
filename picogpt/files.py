"""Files: read as text, as JSON or as mapped memory, and written whole or not at all."""

from __future__ import annotations

import codecs
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import regex

from picogpt.errors import PicoGPTError

Bytes = npt.NDArray[np.uint8]

CHECKSUMS = "SHA256SUMS"  # beside a model's files: see `picogpt.checksums`

LAST_WORD_END = regex.compile(r"(?r)\S(?=\s)")


def read_parts(path: Path, n_bytes: int = 1 << 24) -> Iterator[str]:
    """The file's text in parts of about `n_bytes`, which end between words: after a word and before white space.

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
        raise PicoGPTError(f"cannot read {path}: {error.strerror or error}") from error
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
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists within lists
        raise PicoGPTError(f"{path} has JSON that is not read: {error}") from error


def require_files(paths: Iterable[Path]) -> None:
    """Raise one `PicoGPTError` that names every missing file."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise PicoGPTError(f"missing: {', '.join(missing)}; the model is not complete, download or copy it again")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a model's file; raises `PicoGPTError` where it is missing or something else."""
    require_files([path])
    content = read_json(path)
    if not isinstance(content, dict):
        raise PicoGPTError(f"{path} should hold a JSON object, not {type(content).__name__}")
    return content


def map_file(path: Path) -> Bytes:
    """The file's bytes, memory-mapped and read-only: a page is read from the disk when it is first needed."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def reason(error: OSError) -> str:
    """What the system said, in a line: `path: No space left on device`."""
    what = error.strerror or str(error) or type(error).__name__
    return what if error.filename is None else f"{os.fsdecode(error.filename)}: {what}"


def write_text(path: Path, text: str) -> None:
    """Write the file with `replacing`; raises `PicoGPTError` when it cannot be written."""
    write_texts({path: text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write files that belong together: none has its name before all of them are on the disk.

    Raises `PicoGPTError` when one cannot be written; then none that is new is there.
    """
    new = [path for path in texts if not path.exists()]
    try:
        with ExitStack() as files:
            for path, text in texts.items():
                file = files.enter_context(replacing(path))
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            for path in new:
                path.unlink(missing_ok=True)
        raise PicoGPTError(f"cannot write {reason(error)}") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when it is whole and on the disk, and else disappears.

    What a killed process left of an earlier attempt disappears too. An `OSError` always names the path.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in leftovers(path):
            leftover.unlink(missing_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(partial, path)
    except OSError as error:
        if error.filename is None or os.fsdecode(error.filename) == str(partial):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # where the directory could not be made
            partial.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """What `replacing(path)` was writing in processes that were killed."""
    prefix = f".{path.name}."
    found = []
    for other in path.parent.iterdir() if path.parent.is_dir() else ():
        pid = other.name.removeprefix(prefix)
        if other.name.startswith(prefix) and pid.isdecimal() and not is_running(int(pid)):
            found.append(other)
    return found


def is_running(pid: int) -> bool:
    """Whether there may be a process of this number."""
    if os.name != "posix":  # there a signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def publish(partial: Path, path: Path) -> None:
    """Give a finished file, already synced, its name in a way that a power cut cannot undo halfway.

    A list of checksums that has the file's name is removed before it is wrong.
    """
    sums = path.with_name(CHECKSUMS)
    if sums.is_file() and os.fsencode(path.name) in (line[66:] for line in sums.read_bytes().splitlines()):
        sums.unlink()
        sync_directory(sums.parent)
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
