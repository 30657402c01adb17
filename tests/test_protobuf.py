"""Protocol buffers, as far as they are read. What TensorFlow writes is in test_tensorflow.py."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.protobuf import parse_message, read_varint, varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
@settings(deadline=None, derandomize=True)
def test_varints_round_trip(number: int, rest: bytes) -> None:
    encoded = varint(number)
    assert read_varint(encoded + rest, 0) == (number, len(encoded))


@given(st.binary(max_size=40))
@settings(deadline=None, derandomize=True)
def test_no_protocol_buffer_makes_the_parser_fail_otherwise(data: bytes) -> None:
    with contextlib.suppress(ValueError, IndexError, struct.error):  # what read_index turns into one line
        parse_message(data)
