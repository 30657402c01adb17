"""Files: read as text, as JSON or as mapped memory, and written whole or not at all."""

from __future__ import annotations

import codecs
import json
import math
import mmap
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import regex

from picogpt.errors import PicoGPTError, listed, reason, shown, what

Bytes = npt.NDArray[np.uint8]

JSON_SIZE = 1 << 20  # bytes that a model's JSON may have; a config has a thousand
JSON_DEPTH = 16  # objects and lists within each other; a tokenizer.json has six
NAME_SIZE = 200  # bytes; file systems take 255, and some names get an ending

STRING = regex.compile(r'"(?:[^"\\]++|\\.)*+"?', regex.DOTALL)  # of JSON, or what begins like one
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
        raise PicoGPTError(f"cannot read {path}: {what(error)}") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path, error, n_read - len(error.object)) from error  # the decoder may have kept some bytes
    if text:
        yield text


def not_utf8(path: Path, error: UnicodeDecodeError, start: int = 0) -> PicoGPTError:
    """The error for a file; what could not be decoded begins at its byte `start`."""
    return PicoGPTError(f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {start + error.start}")


def read_text(path: Path) -> str:
    """The file's whole text, with the errors of `read_parts`."""
    return "".join(read_parts(path))


def read_bounded(path: Path, most: int) -> str:
    """The whole text of a file that has at most `most` bytes; raises `PicoGPTError` for any other."""
    check_size(path, most)
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise PicoGPTError(f"cannot read {path}: {what(error)}") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from error


def check_size(path: Path, most: int) -> None:
    """Raise `PicoGPTError` unless there is a file, not a pipe or a device, of at most `most` bytes."""
    try:
        status = path.stat()
    except OSError as error:
        raise PicoGPTError(f"cannot read {path}: {what(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise PicoGPTError(f"cannot read {path}: it is not a file")
    if status.st_size > most:
        raise PicoGPTError(f"{path} has {status.st_size:,} bytes, and no such file has more than {most:,}")


def read_json(path: Path, size: int = JSON_SIZE) -> Any:
    """The JSON in a file of at most `size` bytes; raises `PicoGPTError` where there is none, as `parse_json` does."""
    return parse_json(read_bounded(path, size), str(path))


def parse_json(text: str, source: str) -> Any:
    """JSON that someone else wrote; `source` is where it stands, for the message.

    Raises `PicoGPTError` where it is not JSON, has objects and lists in a depth or number that no file of ours has,
    numbers that are too long or not finite, or a key twice in one object.
    """
    most = n_brackets(text)  # lists and objects
    few = 100 + len(text) // 12  # an empty one takes 30 times its text's memory; safetensors' headers have three in 50
    if most > few and n_brackets(STRING.sub("", text)) > few:
        raise PicoGPTError(f"{source} has too many lists and objects")
    try:
        value = json.loads(
            text, parse_float=finite_float, parse_constant=finite_float, object_pairs_hook=object_of_pairs
        )
    except json.JSONDecodeError as error:
        raise PicoGPTError(
            f"{source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; is it complete?"
        ) from error
    except RecursionError:
        value = ...  # too deep for Python, too
    except ValueError as error:  # of our functions, and of `int` for thousands of digits
        raise PicoGPTError(f"{source} has JSON that is not read: {error}") from error
    if value is ... or (most > JSON_DEPTH and is_deeper(value, JSON_DEPTH)):
        raise PicoGPTError(f"{source} has more than {JSON_DEPTH} lists and objects within each other")
    return value


def n_brackets(text: str) -> int:
    return text.count("[") + text.count("{")


def finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{shown(digits)} is not a finite number")
    return number


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"an object has the key {shown(key)} twice")
    return content


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects lie within each other more than `depth` deep."""
    level = [value]
    for _ in range(depth):
        containers = [node for node in level if isinstance(node, dict | list)]
        level = [child for node in containers for child in (node.values() if isinstance(node, dict) else node)]
    return any(isinstance(node, dict | list) for node in level)


def without_nan(value: Any) -> Any:
    """The value as JSON has it: null for what is not a number, or infinite."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def inside(directory: Path, name: object, source: Path) -> Path:
    """The file in `directory` that `source` calls `name`; raises `PicoGPTError` for what is no name within it."""
    if isinstance(name, str) and name.isprintable() and len(name.encode()) <= NAME_SIZE:
        path = PureWindowsPath(name)  # which splits at both slashes, and knows drives
        if path.name and not path.anchor and ".." not in path.parts:
            return directory / name
    raise PicoGPTError(f"{source} names the file {shown(name)}, which is not in the model's directory")


def require_files(paths: Iterable[Path]) -> None:
    """Raise one `PicoGPTError` that names every missing file."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise PicoGPTError(f"missing: {listed(missing)}; the model is not complete, download or copy it again")


def read_object(path: Path, size: int = JSON_SIZE) -> dict[str, Any]:
    """The JSON object in a model's file; raises `PicoGPTError` where it is missing or something else."""
    require_files([path])
    content = read_json(path, size)
    if not isinstance(content, dict):
        raise PicoGPTError(f"{path} should hold a JSON object, not {type(content).__name__}")
    return content


def map_file(path: Path) -> Bytes:
    """The file's bytes, memory-mapped and read-only: a page is read from the disk when it is first needed."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def write_text(path: Path, text: str) -> None:
    """Write the file with `replacing`; raises `PicoGPTError` when it cannot be written."""
    write_texts({path: text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """`write_files`, in UTF-8."""
    write_files({path: text.encode() for path, text in texts.items()})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none has its name before all of them are on the disk.

    Raises `PicoGPTError` when one cannot be written; then none that is new is there.
    """
    new = [path for path in contents if not path.exists()]
    try:
        with ExitStack() as files:
            for path, content in contents.items():
                file = files.enter_context(replacing(path))
                file.write(content)
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


def write_array(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """The array's bytes in C order. On a full disk `ndarray.tofile` would say how many are missing, and not why."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
