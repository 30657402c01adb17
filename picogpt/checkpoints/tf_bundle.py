"""TensorFlow's checkpoint format V2, "tensor bundle", read and written without TensorFlow.

A bundle `PREFIX` is `PREFIX.index`, a sorted table from each tensor's name to where its bytes are, and the bytes
themselves in `PREFIX.data-00000-of-0000N`.

Sources: tensorflow/core/util/tensor_bundle/tensor_bundle.cc and tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from picogpt.checkpoints.sorted_table import crc32c_is_fast, masked_crc32c, read_table, table_bytes
from picogpt.errors import PicoGPTError, listed, shown
from picogpt.files import Bytes, check_size, map_file, replacing, require_files, write_array
from picogpt.performance.threads import each
from picogpt.protobuf import bytes_field, fixed32_field, messages, number, parse_message, varint_field
from picogpt.types import Array

DT_FLOAT = 1  # TensorFlow's number for float32
INDEX_SIZE = 1 << 19  # bytes; GPT-2's largest has 580 tensors in 20,000, and the most layers we read fit in here
MOST_AXES = 8
FEW_BYTES = 1 << 24  # up to here one thread has checked them before others are woken


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


def read_bundle(prefix: Path, leave_out: re.Pattern[str] | None = None) -> dict[str, Array]:
    """Every tensor by its name, as read-only views of the memory-mapped data files: no weight is copied.

    Those whose whole name matches `leave_out` are not read. Raises `PicoGPTError` for a missing, truncated or damaged
    file and for tensors that are not float32. Where checksums are fast every byte is read and checked.
    """
    n_shards, entries = read_index(index_path(prefix))
    index = Index(n_shards, {k: v for k, v in entries.items() if leave_out is None or not leave_out.fullmatch(k)})
    for name, entry in index.entries.items():
        if entry.dtype != DT_FLOAT:
            raise PicoGPTError(
                f"{index_path(prefix)}: {name} has TensorFlow's dtype {entry.dtype}; only float32 is read"
            )
        if entry.size != 4 * math.prod(entry.shape):
            raise PicoGPTError(f"{index_path(prefix)} is damaged: {entry.size} bytes for {name} {list(entry.shape)}")
    paths = data_paths(prefix, index.n_shards)
    if crc32c_is_fast():
        check_data(index, paths)
    return {name: data.view("<f4").reshape(index.entries[name].shape) for name, data in tensor_bytes(index, paths)}


def tensor_bytes(index: Index, paths: Sequence[Path]) -> Iterator[tuple[str, Bytes]]:
    """Each tensor's name and its bytes in the data files at `paths`, memory-mapped."""
    require_files(paths)
    shards = [map_file(path) for path in paths]
    for name, entry in index.entries.items():
        shard, end = shards[entry.shard], entry.offset + entry.size
        if end > len(shard):
            raise PicoGPTError(f"{paths[entry.shard]} is cut short: it has {len(shard)} bytes, {name} ends at {end}")
        yield name, shard[entry.offset : end]


def data_sizes(index: Index) -> list[int]:
    """How long each data file must be: to the end of its last tensor, and no longer."""
    sizes = [0] * index.n_shards
    for entry in index.entries.values():
        sizes[entry.shard] = max(sizes[entry.shard], entry.offset + entry.size)
    return sizes


def check_data(index: Index, paths: Sequence[Path]) -> None:
    """Read every byte, and raise a `PicoGPTError` that names the tensors that do not match their checksum."""
    damaged = set()

    def check(tensor: tuple[str, Bytes]) -> None:
        name, data = tensor
        if masked_crc32c(data) != index.entries[name].crc32c:
            damaged.add(name)

    # the largest first, so that no thread is left alone with it
    tensors = sorted(tensor_bytes(index, paths), key=lambda tensor: -tensor[1].size)
    each(check, tensors, sum(data_sizes(index)) > FEW_BYTES)
    if damaged:
        where, which = listed(map(str, paths)), listed(name for name in index.entries if name in damaged)
        raise PicoGPTError(
            f"{where} is damaged: the bytes of {which} do not match their checksum; download or copy it again"
        )


def read_index(path: Path) -> Index:
    """The table of a bundle. Raises `PicoGPTError` when the file is missing or its bytes are not what was written."""
    require_files([path])
    check_size(path, INDEX_SIZE)
    try:
        table = dict(read_table(path.read_bytes()))
        if b"" not in table:
            raise ValueError("it has no header")
        header = parse_message(table.pop(b""))
        if number(header, 2):
            raise ValueError("it is big-endian, and only little-endian bundles are read")
        n_shards = number(header, 1)
        if n_shards > max(1, len(table)):
            raise ValueError(f"it speaks of {n_shards} data files for {len(table)} tensors")
        entries = {parse_name(name): parse_entry(value, n_shards) for name, value in table.items()}
        check_places(entries)
    except (ValueError, IndexError, struct.error) as error:
        raise PicoGPTError(f"{path} is not a whole TensorFlow checkpoint index: {error}") from error
    return Index(n_shards, entries)


def parse_name(key: bytes) -> str:
    name = key.decode()
    if not name.isprintable():
        raise ValueError(f"a tensor has the name {shown(name)}")
    return name


def parse_entry(data: bytes, n_shards: int) -> Entry:
    """A BundleEntryProto."""
    message = parse_message(data)
    if 7 in message:
        raise ValueError("a tensor is stored in slices (a partitioned variable), which is not read")
    shapes = messages(message, 2) or [{}]
    shape = tuple(number(dim, 1) for dim in messages(shapes[-1], 2))
    if len(shape) > MOST_AXES or 0 in shape:
        raise ValueError(f"a tensor has the shape {shown(list(shape))}")
    dtype, shard, offset, size, crc32c = (number(message, field) for field in (1, 3, 4, 5, 6))
    if shard >= n_shards:
        raise ValueError(f"a tensor is in data file {shard} of {n_shards}")
    return Entry(dtype, shape, shard, offset, size, crc32c)


def check_places(entries: Mapping[str, Entry]) -> None:
    """Raise `ValueError` where two tensors share bytes: then the tensors could have more than the files."""
    ends: dict[int, int] = {}
    for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].shard, pair[1].offset)):
        if entry.offset < ends.get(entry.shard, 0):
            raise ValueError(f"{name} has bytes of another tensor, too")
        ends[entry.shard] = entry.offset + entry.size


def write_bundle(prefix: Path, tensors: Mapping[str, Array]) -> None:
    """Write the tensors in float32 as TensorFlow's Saver does, byte for byte: sorted, in one data file."""
    table = [(b"", varint_field(1, 1) + bytes_field(3, varint_field(1, 1)))]  # one data file; format version 1
    offset = 0
    [path] = data_paths(prefix, 1)
    with replacing(path) as file:
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name], "<f4")
            write_array(file, array)
            table.append((name.encode(), entry_bytes(array, offset)))
            offset += array.nbytes
    with replacing(index_path(prefix)) as file:
        file.write(table_bytes(table))


def entry_bytes(array: Array, offset: int) -> bytes:
    """A BundleEntryProto for a tensor in the first data file."""
    dims = b"".join(bytes_field(2, varint_field(1, size)) for size in array.shape)
    return (
        varint_field(1, DT_FLOAT)
        + bytes_field(2, dims)
        + varint_field(4, offset)
        + varint_field(5, array.nbytes)
        + fixed32_field(6, masked_crc32c(array))
    )
