"""Protocol buffers, as far as TensorFlow's checkpoints use them: fields of numbers, of bytes, and of fixed 32 bits.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from typing import Any

VARINT, BYTES, FIXED32 = 0, 2, 5  # policy types

Message = dict[int, list[Any]]  # field number -> its values


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
    """The fields of a protocol buffer. Raises `ValueError`, `IndexError` or `struct.error` where it is none."""
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
            raise ValueError(f"a field has the policy type {wire_type}")
        message.setdefault(tag >> 3, []).append(value)
    return message


def number(message: Message, field: int) -> int:
    """The field's last value, or a protocol buffer's default, 0."""
    value: int = message.get(field, [0])[-1]
    return value


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


def fixed32_field(field: int, number: int) -> bytes:
    return varint(field << 3 | FIXED32) + struct.pack("<I", number)
