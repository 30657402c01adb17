"""LevelDB's sorted table, which TensorFlow keeps a checkpoint's index in.

Blocks of key-value entries, each followed by its compression and checksum; an index of the blocks; and a footer that
points to that index.

Sources: `doc/table_format.md` of google/leveldb; tensorflow/core/lib/io/format.cc and table_builder.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.errors import shown
from picogpt.protobuf import read_varint, varint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_SIZE = 48  # two block handles, padded, and the magic number
TRAILER_SIZE = 5  # after each block: one byte says its compression, four are its checksum
RESTART_INTERVAL = 16  # every 16th key of a block is written whole
KEY_SIZE = 255  # bytes; a few bytes in the file can stand for a key of any length


def read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The key-value pairs of a table, in order. Raises `ValueError` or `IndexError` where the bytes are none.

    Blocks follow one another and keys ascend, as in every table that was written: so none is read twice.
    """
    if len(table) < FOOTER_SIZE or not table.endswith(MAGIC):
        raise ValueError(f"it does not end in the format's magic number ({len(table)} bytes)")
    footer = len(table) - FOOTER_SIZE
    _, position = read_handle(table, footer)  # the meta index, which bundles leave empty
    index_handle, _ = read_handle(table, position)
    block_end, last_key = 0, None
    for _, value in read_block(table, *index_handle):
        (offset, size), _ = read_handle(value, 0)
        if offset < block_end:
            raise ValueError(f"the block at {offset} lies within the one before it, or before that")
        block_end = offset + size + TRAILER_SIZE
        for key, content in read_block(table, offset, size):
            if last_key is not None and key <= last_key:
                raise ValueError(f"the key {shown(key)} does not follow {shown(last_key)}")
            last_key = key
            yield key, content


def read_block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of one block. A key says how many bytes it shares with the key before it."""
    block, trailer = table[offset : offset + size], table[offset + size : offset + size + TRAILER_SIZE]
    if len(trailer) < TRAILER_SIZE:
        raise ValueError(f"a block of {size} bytes at {offset} goes beyond its end at {len(table)}")
    (checksum,) = struct.unpack("<I", trailer[1:])
    if checksum != masked_crc32c(block + trailer[:1]):
        raise ValueError(f"the block at {offset} does not match its checksum")
    if trailer[0]:
        raise ValueError("it is compressed (snappy), which TensorFlow does not do for checkpoints")
    if size < 4:
        raise ValueError(f"the block at {offset} has {size} bytes, not even a count")
    (n_restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 - 4 * n_restarts
    position, key = 0, b""
    while position < end:
        n_shared, position = read_varint(block, position)
        n_unshared, position = read_varint(block, position)
        n_value, position = read_varint(block, position)
        value_start = position + n_unshared
        if n_shared > len(key) or n_shared + n_unshared > KEY_SIZE or value_start + n_value > end:
            raise ValueError(f"the block at {offset} has an entry that is longer than its place")
        key = key[:n_shared] + block[position:value_start]
        position = value_start + n_value
        yield key, block[value_start:position]


def read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size), and where the handle ends."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def table_bytes(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A table of one block, which is what TensorFlow writes for fewer than some thousand tensors."""
    block, meta_index = sealed(block_bytes(entries)), sealed(block_bytes([]))
    last_key = entries[-1][0]
    successor = bytes([last_key[0] + 1])  # the index may say any key that is not below the block's last
    index = sealed(block_bytes([(successor, handle_bytes(0, block))]))
    footer = handle_bytes(len(block), meta_index) + handle_bytes(len(block) + len(meta_index), index)
    return block + meta_index + index + footer.ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC


def block_bytes(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The inverse of `read_block`: entries with shortened keys, then where the whole keys are."""
    block, restarts, last_key = b"", [0], b""
    for i, (key, value) in enumerate(entries):
        if i and i % RESTART_INTERVAL == 0:
            restarts.append(len(block))
            last_key = b""
        n_shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(last_key, key, strict=False)))
        rest = key[n_shared:]
        block += varint(n_shared) + varint(len(rest)) + varint(len(value)) + rest + value
        last_key = key
    return block + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def sealed(block: bytes) -> bytes:
    """The block with its trailer: not compressed, and its checksum."""
    return block + b"\0" + struct.pack("<I", masked_crc32c(block + b"\0"))


def handle_bytes(offset: int, block: bytes) -> bytes:
    """Where a sealed block is; its trailer does not count."""
    return varint(offset) + varint(len(block) - TRAILER_SIZE)


def crc32c_is_fast() -> bool:
    """Whether the package came with its extension; in Python alone a megabyte takes a fifth of a second."""
    import google_crc32c  # here and not above, since only this layout needs it

    return bool(google_crc32c.implementation == "c")


def masked_crc32c(data: bytes | npt.NDArray[Any]) -> int:
    """CRC-32C, rotated and shifted so that a checksum of checksums is none (LevelDB's util/crc32c.h)."""
    import google_crc32c

    if isinstance(data, np.ndarray):
        data = data.view()
        data.flags.writeable = False  # google_crc32c takes nothing that could change under its hands
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
