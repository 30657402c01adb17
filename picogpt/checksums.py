"""SHA256SUMS: the checksums of a model's files, kept beside them in the format of `sha256sum`.

Whoever completes a model writes the list last, and `picogpt.files.publish`, through which every file gets its name,
removes a list that names the file. So a list that is there is of the files that are there, or they are damaged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from picogpt.errors import PicoGPTError
from picogpt.files import CHECKSUMS, read_bounded, replacing

LIST_SIZE = 1 << 20  # bytes; a model has tens of files
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]([^/\\]+)")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(directory: Path, names: Iterable[str]) -> None:
    """Write the list of the files, which must be in their final state."""
    lines = [f"{sha256(directory / name)}  {name}\n" for name in sorted(names)]
    with replacing(directory / CHECKSUMS) as file:
        file.write("".join(lines).encode())


def read_checksums(directory: Path) -> dict[str, str]:
    """Name -> SHA-256; nothing where there is no list. Raises `PicoGPTError` for what is no list of files here."""
    path = directory / CHECKSUMS
    sums = {}
    for number, line in enumerate(read_bounded(path, LIST_SIZE).splitlines() if path.is_file() else (), 1):
        if not (found := LINE.fullmatch(line)):
            raise PicoGPTError(
                f"{path} has no SHA-256 and file name in line {number}; remove it, or get the model again"
            )
        sums[found[2]] = found[1].lower()
    return sums


def check_checksums(directory: Path) -> dict[str, str]:
    """Hold the files against the list, and return it. Raises `PicoGPTError` that names every file that differs."""
    sums = read_checksums(directory)
    wrong = [
        f"{name} {'differs' if (directory / name).is_file() else 'is missing'}"
        for name, expected in sums.items()
        if not (directory / name).is_file() or sha256(directory / name) != expected
    ]
    if wrong:
        raise PicoGPTError(
            f"{directory / CHECKSUMS} has other checksums: {', '.join(wrong)}; download or convert the model again"
        )
    return sums
