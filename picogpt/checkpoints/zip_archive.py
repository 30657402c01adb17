"""Zip archives as torch writes them: members that are not compressed, so that they can be mapped where they lie.

The standard library's `zipfile` would read the members' bytes, and makes an object of a kilobyte of each entry.
Source: PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (its end).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import Bytes

MAGIC = b"PK\3\4"
LOCAL = struct.Struct("<4s5H3I2H")
ENTRY = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
LOCATOR = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")
COMMENT_SIZE = 1 << 16
MOST_MEMBERS = 20_000  # GPT-2's largest with its optimizer has 1,800
UNKNOWN16, UNKNOWN = 0xFFFF, 0xFFFFFFFF  # where a number is in the form for 64 bits


class Entry(NamedTuple):
    """What the directory says of a member."""

    name: str
    method: int
    size: int
    stored_size: int
    offset: int  # of the local header


def members(file: Bytes, path: Path) -> dict[str, Bytes]:
    """The members' bytes by name, as views of the file. Raises `PicoGPTError` for an archive that is not whole."""
    try:
        return {entry.name: content(file, entry) for entry in entries(file)}
    except (struct.error, ValueError) as error:
        raise PicoGPTError(f"{path} is not a whole zip archive ({error}); download or copy it again") from error


def entries(file: Bytes) -> Iterator[Entry]:
    """The directory's entries."""
    n, size, start = directory(file)
    if n > MOST_MEMBERS:
        raise ValueError(f"it has {n:,} members, and no model that is read needs more than {MOST_MEMBERS:,}")
    data = part(file, start, size)
    names: set[str] = set()
    place = 0
    for _ in range(n):
        magic, _, _, _, method, _, _, _, stored_size, size, n_name, n_extra, n_comment, *_, offset = ENTRY.unpack_from(
            data, place
        )
        if magic != b"PK\1\2":
            raise ValueError("its directory has no entry where one should be")
        place += ENTRY.size
        name = data[place : place + n_name].decode("utf-8", "replace")
        extra = data[place + n_name : place + n_name + n_extra]
        size, stored_size, offset = in_64_bits([size, stored_size, offset], extra)
        if name in names:
            raise ValueError(f"it has {shown(name)} twice")
        names.add(name)
        yield Entry(name, method, size, stored_size, offset)
        place += n_name + n_extra + n_comment


def directory(file: Bytes) -> tuple[int, int, int]:
    """How many entries the directory has, its size and its offset."""
    start = max(0, len(file) - END.size - COMMENT_SIZE)
    found = file[start:].tobytes().rfind(b"PK\5\6")
    if found < 0:
        raise ValueError("its end is missing")
    end = start + found
    _, _, _, _, n, size, offset, _ = END.unpack(part(file, end, END.size))
    if n == UNKNOWN16 or UNKNOWN in (size, offset):
        _, _, end64, _ = LOCATOR.unpack(part(file, end - LOCATOR.size, LOCATOR.size))
        magic, *_, n, size, offset = END64.unpack(part(file, end64, END64.size))
        if magic != b"PK\6\6":
            raise ValueError("its end for 64 bits is missing")
    return n, size, offset


def in_64_bits(numbers: list[int], extra: bytes) -> list[int]:
    """The numbers, those that need 64 bits from the extra field, where they stand one after the other."""
    if UNKNOWN not in numbers:
        return numbers
    place = 0
    while place < len(extra):
        kind, size = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{numbers.count(UNKNOWN)}Q", extra[: place + 4 + size], place + 4))
            return [next(wide) if number == UNKNOWN else number for number in numbers]
        place += 4 + size
    raise ValueError("a number of 64 bits is missing")


def content(file: Bytes, entry: Entry) -> Bytes:
    """The bytes of a member."""
    if entry.method or entry.size != entry.stored_size:
        raise ValueError(f"{shown(entry.name)} is compressed, which torch does not do")
    magic, *_, n_name, n_extra = LOCAL.unpack(part(file, entry.offset, LOCAL.size))
    start = entry.offset + LOCAL.size + n_name + n_extra
    if magic != MAGIC or start + entry.size > len(file):
        raise ValueError(f"{shown(entry.name)} is not where the directory says")
    return file[start : start + entry.size]


def part(file: Bytes, start: int, size: int) -> bytes:
    if not 0 <= start <= start + size <= len(file):
        raise ValueError("it ends too early")
    return file[start : start + size].tobytes()
