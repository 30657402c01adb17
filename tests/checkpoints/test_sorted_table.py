"""LevelDB's table. What TensorFlow writes is in test_tensorflow.py."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.checkpoints.sorted_table import (
    MAGIC,
    block_bytes,
    handle_bytes,
    masked_crc32c,
    read_block,
    read_table,
    sealed,
    table_bytes,
)


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=6).filter(lambda key: key[0] < 255), st.binary(max_size=9), min_size=1
    )
)
@settings(deadline=None, derandomize=True)
def test_tables_round_trip(entries: dict[bytes, bytes]) -> None:
    """Keys that share any beginning, in any number, come back whole."""
    table = sorted(entries.items())
    assert list(read_table(table_bytes(table))) == table


def test_a_table_of_several_blocks_is_read_whole() -> None:
    """Thousands of tensors fill more than one block, each with its own handle in the index."""
    blocks = [sealed(block_bytes([(b"a", b"1"), (b"ab", b"2")])), sealed(block_bytes([(b"b", b"3")]))]
    starts = [0, len(blocks[0])]
    meta = sealed(block_bytes([]))
    index = sealed(block_bytes([(b"b", handle_bytes(0, blocks[0])), (b"c", handle_bytes(starts[1], blocks[1]))]))
    body = b"".join(blocks)
    footer = handle_bytes(len(body), meta) + handle_bytes(len(body) + len(meta), index)
    table = body + meta + index + footer.ljust(40, b"\0") + MAGIC
    assert list(read_table(table)) == [(b"a", b"1"), (b"ab", b"2"), (b"b", b"3")]


def test_a_compressed_block_is_refused_by_name() -> None:
    block = block_bytes([(b"", b"")])
    compressed = block + b"\1" + struct.pack("<I", masked_crc32c(block + b"\1"))
    with pytest.raises(ValueError, match="snappy"):
        list(read_block(compressed, 0, len(block)))
