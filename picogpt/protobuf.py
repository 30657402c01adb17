"""Protocol buffers, as far as TensorFlow and SentencePiece use them: fields of numbers, of bytes, and of fixed 32 bits.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from typing import Any

VARINT, BYTES, FIXED32 = 0, 2, 5  # policy types
VARINT_SIZE = 10  # bytes of 64 bits, seven to each

Message = dict[int, list[Any]]  # field number -> its values


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends.

    Raises `IndexError` at the end of `data`, and `ValueError` for a number of more than 64 bits.
    """
    value = 0
    for i in range(VARINT_SIZE):
        byte = data[position + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80 and value < 1 << 64:
            return value, position + i + 1
    raise ValueError("a number has more than 64 bits")


def parse_message(data: bytes) -> Message:
    """The fields of a protocol buffer. Raises `ValueError`, `IndexError` or `struct.error` where it is none.

    Together they have no more bytes than `data`.
    """
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
            if position > len(data):
                raise ValueError(f"a field of {size} bytes goes beyond its message's end")
        elif wire_type == FIXED32:
            (value,), position = struct.unpack_from("<I", data, position), position + 4
        else:
            raise ValueError(f"a field has the policy type {wire_type}")
        message.setdefault(tag >> 3, []).append(value)
    return message


def number(message: Message, field: int) -> int:
    """The field's last value, or a protocol buffer's default, 0. Raises `ValueError` where it is no number."""
    value = message.get(field, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {field} has bytes and should have a number")
    return value


def messages(message: Message, field: int) -> list[Message]:
    """The field's values, which are messages themselves. Raises `ValueError` where they are not."""
    values = message.get(field, [])
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError(f"field {field} has a number and should have a message")
    return [parse_message(value) for value in values]


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
