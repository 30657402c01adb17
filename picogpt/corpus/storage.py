"""Files of a corpus that lies somewhere else: names with `*`, and addresses such as s3:// through the user's fsspec."""

from __future__ import annotations

import glob
import gzip
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from picogpt.errors import PicoGPTError, what
from picogpt.files import replacing


def is_address(name: str) -> bool:
    return "://" in name


def file_system(address: str) -> tuple[Any, str]:
    """Who reads an address, and what the file is called there; raises `PicoGPTError` where nobody does."""
    try:
        from fsspec.core import url_to_fs

        return cast(tuple[Any, str], url_to_fs(address))
    except ImportError as error:
        raise PicoGPTError(f"{address} needs fsspec, and what it wants for such addresses: {error}") from None
    except ValueError as error:
        raise PicoGPTError(f"{address} cannot be read: {error}") from None


def expand(pattern: str) -> list[str]:
    """The files that a name with `*`, `?` or `[` stands for, in order; or the name itself."""
    if not glob.has_magic(pattern):
        return [pattern]
    if is_address(pattern):
        system, path = file_system(pattern)
        found = [system.unstrip_protocol(name) for name in system.glob(path)]
    else:
        found = [name for name in glob.glob(pattern, recursive=True) if Path(name).is_file()]  # noqa: PTH207
    if not found:
        raise PicoGPTError(f"there is no file {pattern}")
    return sorted(found)


@contextmanager
def open_source(name: str) -> Iterator[IO[bytes]]:
    """A file to read, its contents if it is called .gz; raises `PicoGPTError` where it cannot be read."""
    try:
        if is_address(name):
            system, path = file_system(name)
            raw = system.open(path, "rb")
        else:
            raw = Path(name).open("rb")  # noqa: SIM115
        with raw:
            yield cast(IO[bytes], io.BufferedReader(gzip.GzipFile(fileobj=raw)) if name.endswith(".gz") else raw)
    except OSError as error:
        raise PicoGPTError(f"{name} cannot be read: {what(error)}") from None


def names_in(directory: str) -> set[str]:
    """What there is in a directory, without its path."""
    if is_address(directory):
        system, path = file_system(directory)
        return {Path(name).name for name in system.ls(path, detail=False)} if system.exists(path) else set()
    return {path.name for path in Path(directory).iterdir()} if Path(directory).is_dir() else set()


def inside(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def keep(finished: Path, target: str) -> None:
    """Copy a finished file to where it belongs: it is there whole or not at all."""
    try:
        if not is_address(target):
            with finished.open("rb") as source, replacing(Path(target)) as file:
                shutil.copyfileobj(source, file)
            return
        system, path = file_system(target)
        system.makedirs(system._parent(path), exist_ok=True)
        partial = f"{path}.part"
        system.put_file(str(finished), partial)
        system.mv(partial, path)
    except OSError as error:
        raise PicoGPTError(f"{target} cannot be written: {what(error)}") from None
