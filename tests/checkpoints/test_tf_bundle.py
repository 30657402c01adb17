"""Damaged, foreign and unusual bundles. What whole ones must hold is in test_tensorflow.py."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.checkpoints.sorted_table import MAGIC, table_bytes
from picogpt.checkpoints.tf_bundle import (
    check_data,
    data_paths,
    index_path,
    read_bundle,
    read_index,
    write_bundle,
)
from picogpt.errors import PicoGPTError
from picogpt.protobuf import bytes_field, varint_field

DT_INT64 = 9
HEADER = (b"", varint_field(1, 1) + bytes_field(3, varint_field(1, 1)))


def sample(n: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {f"model/h{i}/w": rng.standard_normal((1, 3 + i, 5)).astype(np.float32) for i in range(n)}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model.ckpt", sample())
    return tmp_path / "model.ckpt"


def write_index(prefix: Path, *entries: tuple[bytes, bytes]) -> None:
    index_path(prefix).write_bytes(table_bytes([HEADER, *entries]))


def test_round_trip(prefix: Path) -> None:
    """More than sixteen keys, so that a block has several restarts."""
    tensors = read_bundle(prefix)
    for name, array in sample().items():
        np.testing.assert_array_equal(tensors.pop(name), array, strict=True)
    assert not tensors


def test_weights_are_read_only(prefix: Path) -> None:
    """They are the file; whoever wants to change them copies them first."""
    assert not any(array.flags.writeable for array in read_bundle(prefix).values())


def test_missing_files_are_named(prefix: Path) -> None:
    data_paths(prefix, 1)[0].unlink()
    with pytest.raises(PicoGPTError, match=r"missing: .*model\.ckpt\.data-00000-of-00001"):
        read_bundle(prefix)
    index_path(prefix).unlink()
    with pytest.raises(PicoGPTError, match=r"missing: .*model\.ckpt\.index"):
        read_bundle(prefix)


def test_every_truncation_of_the_index_is_found(tmp_path: Path) -> None:
    prefix = tmp_path / "model.ckpt"
    write_bundle(prefix, sample(3))
    whole = index_path(prefix).read_bytes()
    for size in range(len(whole)):
        index_path(prefix).write_bytes(whole[:size])
        with pytest.raises(PicoGPTError, match=r"model\.ckpt\.index is not a whole TensorFlow checkpoint index"):
            read_index(index_path(prefix))


def test_every_damaged_byte_of_the_index_is_found(tmp_path: Path) -> None:
    """A byte of the index either has no meaning (padding, the empty meta index) or its damage is an error."""
    prefix = tmp_path / "model.ckpt"
    write_bundle(prefix, sample(3))
    whole = index_path(prefix).read_bytes()
    expected = read_index(index_path(prefix))
    for position in range(len(whole)):
        index_path(prefix).write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        with contextlib.suppress(PicoGPTError):
            assert read_index(index_path(prefix)) == expected


@given(st.binary(max_size=60), st.binary(max_size=40))
@settings(deadline=None, derandomize=True)
def test_no_bytes_make_the_reader_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, tail: bytes
) -> None:
    """Whatever stands before the magic number: an error in one line, never a hang or another exception."""
    path = tmp_path_factory.mktemp("junk") / "model.ckpt.index"
    path.write_bytes(junk + tail.ljust(40, b"\0") + MAGIC)
    with pytest.raises(PicoGPTError):
        read_index(path)


def test_data_cut_short(prefix: Path) -> None:
    path = data_paths(prefix, 1)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PicoGPTError, match=r"data-00000-of-00001 is cut short: it has 17999 bytes, .* ends at 18000"):
        read_bundle(prefix)


def test_an_error_page_in_place_of_the_data(prefix: Path) -> None:
    data_paths(prefix, 1)[0].write_text("<?xml version='1.0'?><Error>BlobNotFound</Error>")
    with pytest.raises(PicoGPTError, match="is cut short: it has 48 bytes"):
        read_bundle(prefix)


def entry(dtype: int = 1, shape: tuple[int, ...] = (2, 3), shard: int = 0, offset: int = 0, size: int = 24) -> bytes:
    dims = b"".join(bytes_field(2, varint_field(1, n)) for n in shape)
    return (
        varint_field(1, dtype)
        + bytes_field(2, dims)
        + varint_field(3, shard)
        + varint_field(4, offset)
        + varint_field(5, size)
    )


def test_other_dtypes_are_refused_by_name(prefix: Path) -> None:
    write_index(prefix, (b"global_step", entry(DT_INT64, (), size=8)))
    with pytest.raises(PicoGPTError, match="global_step has TensorFlow's dtype 9; only float32"):
        read_bundle(prefix)


def test_a_size_that_does_not_fit_the_shape(prefix: Path) -> None:
    write_index(prefix, (b"model/wte", entry(shape=(2, 5))))
    with pytest.raises(PicoGPTError, match=r"24 bytes for model/wte \[2, 5\]"):
        read_bundle(prefix)


def test_a_data_file_that_is_not_counted(prefix: Path) -> None:
    write_index(prefix, (b"model/wte", entry(shard=1)))
    with pytest.raises(PicoGPTError, match="a tensor is in data file 1 of 1"):
        read_bundle(prefix)


def test_slices_are_refused(prefix: Path) -> None:
    write_index(prefix, (b"model/wte", entry() + bytes_field(7, b"")))
    with pytest.raises(PicoGPTError, match="stored in slices"):
        read_bundle(prefix)


def test_big_endian_is_refused(prefix: Path) -> None:
    index_path(prefix).write_bytes(table_bytes([(b"", varint_field(1, 1) + varint_field(2, 1)), (b"a", entry())]))
    with pytest.raises(PicoGPTError, match="big-endian"):
        read_bundle(prefix)


def test_a_flipped_bit_is_found_in_its_tensor(prefix: Path) -> None:
    """At load, too, since an exponent's bit makes another model of it."""
    [path] = data_paths(prefix, 1)
    data = bytearray(path.read_bytes())
    data[60 + 1] ^= 1  # the first tensor, h0, has 1·3·5 numbers; the second in the file's order is h1
    path.write_bytes(data)
    for check in partial(check_data, read_index(index_path(prefix)), [path]), partial(read_bundle, prefix):
        with pytest.raises(PicoGPTError, match=r"data-00000-of-00001 is damaged: the bytes of model/h1/w do not match"):
            check()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.ckpt", {"a": np.ones(3, np.float32), "b": np.ones((2, 1), np.float32)})
    [path] = data_paths(tmp_path / "model.ckpt", 1)
    whole = int.from_bytes(path.read_bytes(), "little")
    for bit in range(160):
        path.write_bytes((whole ^ 1 << bit).to_bytes(20, "little"))
        with pytest.raises(PicoGPTError, match=f"the bytes of {'a' if bit < 96 else 'b'} do not match"):
            read_bundle(tmp_path / "model.ckpt")


def test_without_a_fast_checksum_a_model_loads_unchecked(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python alone the checksums of 124M would take minutes; they are left to `picogpt verify`."""
    monkeypatch.setattr("google_crc32c.implementation", "python")
    [path] = data_paths(prefix, 1)
    path.write_bytes(bytes(len(path.read_bytes())))
    assert not any(array.any() for array in read_bundle(prefix).values())
    with pytest.raises(PicoGPTError, match=r"the bytes of model/h0/w, model/h1/w, .* and 20 more do not match"):
        check_data(read_index(index_path(prefix)), [path])
