"""GGUF, llama.cpp's format: facts by name, then the tensors' descriptions, then the tensors, each aligned.

Everything is little-endian; a string is its length in 64 bits and UTF-8. Shapes are written backwards, the dimension
whose numbers are neighbours first. Source: docs/gguf.md of ggml-org/ggml.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from picogpt.checkpoints.foreign import check_pointer
from picogpt.checkpoints.safetensors import Q8_0, Stored, narrow
from picogpt.errors import PicoGPTError, listed, shown
from picogpt.files import Bytes, map_file, require_files, write_array
from picogpt.types import Array

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of facts
CODES = {0: "F32", 1: "F16", 8: "Q8_0", 24: "I8", 26: "I32", 30: "BF16"}  # types of tensors; others are not read
TYPES = {code: number for number, code in CODES.items()}
BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, Q8_0.itemsize), "I8": (1, 1), "I32": (1, 4)}
FACTS_SIZE = 1 << 24  # bytes; GPT-2's vocabulary takes two million
MOST_STRINGS = 1 << 20
MOST_FACTS, MOST_TENSORS = 1000, 20_000

Facts = dict[str, Any]


class Cursor:
    """A place in the bytes before the tensors, from which values are read one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, n: int) -> bytes:
        part = self.data[self.place : self.place + n]
        if len(part) < n:
            raise ValueError("it ends too early")
        self.place += n
        return part

    def number(self, form: str) -> Any:
        [value] = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))
        return value

    def string(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self) -> Any:
        kind = self.number("I")
        if kind != ARRAY:
            return self.string() if kind == STRING else self.number(NUMBERS[kind])
        kind, n = self.number("I"), self.number("Q")
        if kind == STRING:
            if n > MOST_STRINGS:
                raise ValueError(f"it has a list of {n:,} texts; more than {MOST_STRINGS:,} are not read")
            return [self.string() for _ in range(n)]
        dtype = np.dtype("<" + NUMBERS[kind])
        return np.frombuffer(self.take(n * dtype.itemsize), dtype)


def read_gguf(path: Path) -> tuple[Facts, dict[str, Stored]]:
    """The facts, and the tensors as they lie in the file. Raises `PicoGPTError` for a file that is not whole."""
    require_files([path])
    file = map_file(path)
    check_pointer(path, file)
    try:
        return read_parts(file, path)
    except (ValueError, KeyError, struct.error) as error:
        if isinstance(error, PicoGPTError):
            raise
        reason = f"there is no type {error}" if isinstance(error, KeyError) else listed([str(error)])
        raise PicoGPTError(f"{path} is not a whole GGUF file ({reason}); download or copy it again") from error


def read_parts(file: Bytes, path: Path) -> tuple[Facts, dict[str, Stored]]:
    cursor = Cursor(file[:FACTS_SIZE].tobytes())
    if cursor.take(4) != MAGIC:
        raise ValueError("it does not begin with GGUF")
    if (version := cursor.number("I")) not in VERSIONS:
        raise PicoGPTError(f"{path} is GGUF of version {version}; only {' and '.join(map(str, VERSIONS))} are read")
    n_tensors, n_facts = cursor.number("Q"), cursor.number("Q")
    if n_tensors > MOST_TENSORS or n_facts > MOST_FACTS:
        raise ValueError(f"it speaks of {n_tensors:,} tensors and {n_facts:,} facts")
    facts: Facts = {}
    for _ in range(n_facts):
        name = cursor.string()
        if name in facts:
            raise ValueError(f"it has {shown(name)} twice")
        facts[name] = cursor.value()
    described = [(cursor.string(), *read_description(cursor)) for _ in range(n_tensors)]
    start = aligned(cursor.place, alignment_of(facts))
    return facts, dict(place_tensors(described, file[start:], path))


def alignment_of(facts: Mapping[str, Any]) -> int:
    alignment = facts.get(ALIGNMENT, 32)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 16:
        raise ValueError(f"it has the alignment {shown(alignment)}")
    return alignment


def aligned(place: int, alignment: int) -> int:
    return place + -place % alignment


def read_description(cursor: Cursor) -> tuple[tuple[int, ...], int, int]:
    """A tensor's shape, type and offset."""
    n_dims = cursor.number("I")
    if n_dims > 4:
        raise ValueError(f"a tensor has {n_dims} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dims))[::-1]
    return shape, cursor.number("I"), cursor.number("Q")


def place_tensors(
    described: list[tuple[str, tuple[int, ...], int, int]], data: Bytes, path: Path
) -> list[tuple[str, Stored]]:
    """The tensors, checked: each within the file, and none where another is."""
    found = []
    end = 0
    for name, shape, kind, offset in sorted(described, key=lambda tensor: tensor[3]):
        if kind not in CODES:
            raise PicoGPTError(
                f"{path}: {shown(name)} has llama.cpp's type {kind}; only F32, F16, BF16 and Q8_0 are read, "
                f"so take or make one of these"
            )
        n, size = BLOCKS[CODES[kind]]
        if not shape or shape[-1] % n or 0 in shape:
            raise ValueError(f"{shown(name)} has the shape {shown(list(shape))}")
        if offset < end:
            raise ValueError(f"{shown(name)} has bytes of another tensor, too")
        end = offset + math.prod(shape) // n * size
        if end > len(data):
            raise ValueError(f"{shown(name)} goes beyond its end")
        place = f"{path}: {name if name.isprintable() else shown(name)}"
        found.append((name, Stored(place, CODES[kind], shape, data[offset:end])))
    if len({name for name, _ in found}) < len(found):
        raise ValueError("two tensors have one name")
    return found


class Written(NamedTuple):
    """A tensor to write: its numbers, and the code of how they are stored."""

    array: Array
    code: str


def encoded(tensor: Written) -> npt.NDArray[Any]:
    """The numbers as they are stored."""
    if tensor.code == "Q8_0":
        return quantized(np.ascontiguousarray(tensor.array, np.float32))
    return narrow(tensor.array, {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[tensor.code])


def quantized(array: Array) -> npt.NDArray[Any]:  # [..., n * 32]
    """Blocks of 32 numbers as int8 and a scale, which makes the largest of them 127; halves round away from zero."""
    blocks = np.empty(array.size // 32, Q8_0)
    x = array.reshape(-1, 32)
    scale = np.abs(x).max(axis=1) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    y = x * inverse[:, None]
    blocks["q"] = np.copysign(np.floor(np.abs(y) + np.float32(0.5)), y)
    blocks["scale"] = scale
    return blocks


def write_gguf(file: BinaryIO, facts: Mapping[str, tuple[int, Any]], tensors: Mapping[str, Written]) -> None:
    """`facts` are name -> type and value; a list has the type of its elements. Written a tensor at a time."""
    head = bytearray(MAGIC + struct.pack("<I2Q", VERSIONS[-1], len(tensors), len(facts)))

    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    def one(kind: int, value: Any) -> bytes:
        return text(value) if kind == STRING else struct.pack("<" + NUMBERS[kind], value)

    for name, (kind, value) in facts.items():
        head += text(name)
        if isinstance(value, list):
            head += struct.pack("<2IQ", ARRAY, kind, len(value)) + b"".join(one(kind, each) for each in value)
        else:
            head += struct.pack("<I", kind) + one(kind, value)
    end = 0
    for name, (array, code) in tensors.items():
        n, size = BLOCKS[code]
        head += text(name) + struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape[::-1])
        head += struct.pack("<IQ", TYPES[code], end)
        end = aligned(end + array.size // n * size, 32)
    file.write(head.ljust(aligned(len(head), 32), b"\0"))
    for tensor in tensors.values():
        data = encoded(tensor)
        write_array(file, data)
        file.write(bytes(-data.nbytes % 32))
