"""TensorFlow's checkpoint format V2, "tensor bundle", read and written without TensorFlow.

A bundle `PREFIX` is `PREFIX.index`, a sorted table from tensor name to where its bytes are, and the bytes themselves
in `PREFIX.data-00000-of-0000N`. The table has LevelDB's format: blocks of key-value entries, each followed by its
compression and checksum, an index of the blocks, and a footer that points to that index.

Sources: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, tensorflow/core/protobuf/tensor_bundle.proto,
tensorflow/core/lib/io/format.cc; `doc/table_format.md` of google/leveldb.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.checkpoints.files import Bytes, map_file, replacing, require_files
from picogpt.errors import PicoGPTError

Array = npt.NDArray[np.floating[Any]]

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_SIZE = 48  # two block handles, padded, and the magic number
TRAILER_SIZE = 5  # after each block: one byte says its compression, four are its checksum
RESTART_INTERVAL = 16  # every 16th key of a block is written whole
DT_FLOAT = 1  # TensorFlow's number for float32

VARINT, BYTES, FIXED32 = 0, 2, 5  # a protocol buffer's wire types, as far as bundles use them

Message = dict[int, list[Any]]  # a protocol buffer: field number -> its values


class Entry(NamedTuple):
    """Where one tensor is: `size` bytes at `offset` of the data file number `shard`."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int


class Index(NamedTuple):
    n_shards: int
    entries: dict[str, Entry]


def index_path(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def data_paths(prefix: Path, n_shards: int) -> list[Path]:
    return [prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{n_shards:05d}") for shard in range(n_shards)]


def read_bundle(prefix: Path) -> dict[str, Array]:
    """Every tensor by its name, as read-only views of the memory-mapped data files: no weight is copied.

    Raises `PicoGPTError` for a missing, truncated or damaged file and for tensors that are not float32.
    """
    index = read_index(index_path(prefix))
    tensors = {}
    for name, data in tensor_bytes(index, data_paths(prefix, index.n_shards)):
        entry = index.entries[name]
        if entry.dtype != DT_FLOAT:
            raise PicoGPTError(
                f"{index_path(prefix)}: {name} has TensorFlow's dtype {entry.dtype}; only float32 is read"
            )
        if entry.size != 4 * math.prod(entry.shape):
            raise PicoGPTError(f"{index_path(prefix)} is damaged: {entry.size} bytes for {name} {list(entry.shape)}")
        tensors[name] = data.view("<f4").reshape(entry.shape)
    return tensors


def tensor_bytes(index: Index, paths: Sequence[Path]) -> Iterator[tuple[str, Bytes]]:
    """Each tensor's name and its bytes in the data files at `paths`, memory-mapped."""
    require_files(paths)
    shards = [map_file(path) for path in paths]
    for name, entry in index.entries.items():
        shard, end = shards[entry.shard], entry.offset + entry.size
        if end > len(shard):
            raise PicoGPTError(f"{paths[entry.shard]} is cut short: it has {len(shard)} bytes, {name} ends at {end}")
        yield name, shard[entry.offset : end]


def damaged_tensors(index: Index, paths: Sequence[Path]) -> list[str]:
    """The names of the tensors whose bytes do not match the checksum in the index. Reads every byte."""
    return [name for name, data in tensor_bytes(index, paths) if masked_crc32c(data) != index.entries[name].crc32c]


def read_index(path: Path) -> Index:
    """The table of a bundle. Raises `PicoGPTError` when the file is missing or its bytes are not what was written."""
    require_files([path])
    try:
        table = dict(read_table(path.read_bytes()))
        if b"" not in table:
            raise ValueError("it has no header")
        header = parse_message(table.pop(b""))
        if number(header, 2):
            raise ValueError("it is big-endian, and only little-endian bundles are read")
        n_shards = number(header, 1)
        entries = {name.decode(): parse_entry(value, n_shards) for name, value in table.items()}
    except (ValueError, IndexError, struct.error) as error:
        raise PicoGPTError(f"{path} is not a whole TensorFlow checkpoint index: {error}") from error
    return Index(n_shards, entries)


def read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The key-value pairs of a LevelDB-style table, in order."""
    if len(table) < FOOTER_SIZE or not table.endswith(MAGIC):
        raise ValueError(f"it does not end in the format's magic number ({len(table)} bytes)")
    footer = len(table) - FOOTER_SIZE
    _, position = read_handle(table, footer)  # the meta index, which bundles leave empty
    index_handle, _ = read_handle(table, position)
    for _, value in read_block(table, *index_handle):
        block_handle, _ = read_handle(value, 0)
        yield from read_block(table, *block_handle)


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
    (n_restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 - 4 * n_restarts
    position, key = 0, b""
    while position < end:
        n_shared, position = read_varint(block, position)
        n_unshared, position = read_varint(block, position)
        n_value, position = read_varint(block, position)
        value_start = position + n_unshared
        key = key[:n_shared] + block[position:value_start]
        position = value_start + n_value
        yield key, block[value_start:position]


def read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size), and where the handle ends."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def parse_message(data: bytes) -> Message:
    """The fields of a protocol buffer."""
    message: Message = {}
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position)
        value: int | bytes
        wire_type = tag & 7
        if wire_type == VARINT:
            value, position = read_varint(data, position)
        elif wire_type == BYTES:
            size, position = read_varint(data, position)
            value, position = data[position : position + size], position + size
        elif wire_type == FIXED32:
            (value,), position = struct.unpack_from("<I", data, position), position + 4
        else:
            raise ValueError(f"a field has the wire type {wire_type}")
        message.setdefault(tag >> 3, []).append(value)
    return message


def number(message: Message, field: int) -> int:
    """The field's last value, or a protocol buffer's default, 0."""
    value: int = message.get(field, [0])[-1]
    return value


def parse_entry(data: bytes, n_shards: int) -> Entry:
    """A BundleEntryProto."""
    message = parse_message(data)
    if 7 in message:
        raise ValueError("a tensor is stored in slices (a partitioned variable), which is not read")
    dims = parse_message(message.get(2, [b""])[-1]).get(2, [])
    shape = tuple(number(parse_message(dim), 1) for dim in dims)
    dtype, shard, offset, size, crc32c = (number(message, field) for field in (1, 3, 4, 5, 6))
    if shard >= n_shards:
        raise ValueError(f"a tensor is in data file {shard} of {n_shards}")
    return Entry(dtype, shape, shard, offset, size, crc32c)


def write_bundle(prefix: Path, tensors: Mapping[str, Array]) -> None:
    """Write the tensors in float32 as TensorFlow's Saver does, byte for byte: sorted, in one data file."""
    table = [(b"", varint_field(1, 1) + bytes_field(3, varint_field(1, 1)))]  # one data file; format version 1
    offset = 0
    [path] = data_paths(prefix, 1)
    with replacing(path) as file:
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name], "<f4")
            array.tofile(file)
            table.append((name.encode(), entry_bytes(array, offset)))
            offset += array.nbytes
    with replacing(index_path(prefix)) as file:
        file.write(table_bytes(table))


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


def entry_bytes(array: Array, offset: int) -> bytes:
    """A BundleEntryProto for a tensor in the first data file."""
    dims = b"".join(bytes_field(2, varint_field(1, size)) for size in array.shape)
    checksum = varint(6 << 3 | FIXED32) + struct.pack("<I", masked_crc32c(array))
    return (
        varint_field(1, DT_FLOAT)
        + bytes_field(2, dims)
        + varint_field(4, offset)
        + varint_field(5, array.nbytes)
        + checksum
    )


def varint(number: int) -> bytes:
    """The inverse of `read_varint`."""
    groups = b""
    while number >= 0x80:
        groups += bytes([number & 0x7F | 0x80])
        number >>= 7
    return groups + bytes([number])


def varint_field(field: int, number: int) -> bytes:
    """A protocol buffer's field; 0, the default, is left out."""
    return varint(field << 3 | VARINT) + varint(number) if number else b""


def bytes_field(field: int, value: bytes) -> bytes:
    return varint(field << 3 | BYTES) + varint(len(value)) + value


def masked_crc32c(data: bytes | npt.NDArray[Any]) -> int:
    """CRC-32C, rotated and shifted so that a checksum of checksums is none (LevelDB's util/crc32c.h)."""
    import google_crc32c  # here and not above, since only this layout needs it

    if isinstance(data, np.ndarray):
        data = data.view()
        data.flags.writeable = False  # google_crc32c takes nothing that could change under its hands
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
