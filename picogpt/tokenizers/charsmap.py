"""SentencePiece's table of what becomes of characters before they are looked up: ﬁ is fi, and a wide Ａ is A.

The file holds a trie of byte strings, as a double array, and the replacements, each ended by a zero byte. A leaf's
value is the place where its replacement begins.

Source: the double array is darts-clone's, whose `Details` say what the bits of a unit mean.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from functools import lru_cache

from picogpt.errors import PicoGPTError

IS_LEAF = 1 << 8
LABEL, VALUE = 1 << 31 | 0xFF, (1 << 31) - 1


class CharsMap:
    """The table; raises `PicoGPTError` where `data` is none."""

    def __init__(self, data: bytes, source: str) -> None:
        size = struct.unpack_from("<I", data)[0] if len(data) >= 4 else 0
        if not size or size % 4 or size > len(data) - 4:
            raise PicoGPTError(f"{source}: the table of characters is damaged (precompiled_charsmap)")
        self.units = array("I", data[4 : 4 + size])
        if sys.byteorder == "big":
            self.units.byteswap()
        self.replacements = data[4 + size :]
        self.shortest = lru_cache(1 << 16)(self._shortest)

    def matches(self, text: bytes) -> Iterator[tuple[int, str]]:
        """The lengths of the beginnings of `text` that have a replacement, shortest first, and the replacements."""
        place = offset(self.units[0])
        for n, byte in enumerate(text, 1):
            place ^= byte
            if place >= len(self.units) or not byte or self.units[place] & LABEL != byte:
                return
            unit = self.units[place]
            place ^= offset(unit)
            if unit & IS_LEAF and place < len(self.units):
                yield n, self.replacement(self.units[place] & VALUE)

    def replacement(self, start: int) -> str:
        end = self.replacements.find(b"\0", start)
        return self.replacements[start : end if end >= 0 else None].decode("utf-8", "replace")

    def _shortest(self, text: str) -> str | None:
        """The replacement of the shortest beginning that has one."""
        return next((replacement for _, replacement in self.matches(text.encode())), None)

    def longest(self, text: bytes) -> tuple[int, str] | None:
        """The longest beginning that has a replacement, its length in bytes, and the replacement."""
        found = None
        for found in self.matches(text):  # noqa: B007
            pass
        return found


def offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)
