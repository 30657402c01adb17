"""Files made to cost more than they weigh, or to lead elsewhere. Mutated ones are in test_mutations.py."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from picogpt.checkpoints import is_complete, read_checkpoint
from picogpt.checkpoints.sorted_table import FOOTER_SIZE, MAGIC, block_bytes, handle_bytes, sealed
from picogpt.download import verify
from picogpt.errors import PicoGPTError
from picogpt.protobuf import bytes_field, varint, varint_field
from tests.checkpoints.mutations import HPARAMS, huggingface, openai, sharded, table_of

MOST = 32 << 20  # bytes of memory; what is tried here could take gigabytes


def refused(directory: Path, match: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PicoGPTError, match=match):
            read_checkpoint(directory)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    with pytest.raises(PicoGPTError, match=match):
        verify(directory)


def header(n_shards: int = 1) -> tuple[bytes, bytes]:
    return b"", varint_field(1, n_shards) + bytes_field(3, varint_field(1, 1))


def tensor(offset: int = 0, n: int = 1, dims: bytes = bytes_field(2, varint_field(1, 1))) -> bytes:
    return varint_field(1, 1) + bytes_field(2, dims) + varint_field(4, offset) + varint_field(5, 4 * n)


@pytest.mark.parametrize(("write", "config"), [(openai, "hparams.json"), (huggingface, "config.json")])
@pytest.mark.parametrize(
    ("n_layer", "match"),
    [
        (600_000_000, "n_layer = 600000000; it must be a whole number from 1 to 1,000$"),
        (1000, "does not hold the parameters of its model; missing: .* and 11968 more$"),
        (10**100, r"n_layer = 10+\.\.\.0+; it must be"),
    ],
)
def test_layers_that_are_not_there(
    tmp_path: Path, write: Callable[[Path], None], config: str, n_layer: int, match: str
) -> None:
    write(tmp_path)
    content = json.loads((tmp_path / config).read_text())
    (tmp_path / config).write_text(json.dumps(content | {"n_layer": n_layer}))
    refused(tmp_path, match)


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([header(2**40), (b"a", tensor())], "speaks of 1099511627776 data files for 1 tensors"),
        ([header(), (b"a", b"\x08" + b"\xff" * 300_000 + b"\x01")], "a number has more than 64 bits"),
        ([header(), (b"a", varint(5 << 3) + b"\xff" * 9 + b"\x7f")], "a number has more than 64 bits"),
        ([header(), (b"a", bytes_field(5, b"1234"))], "field 5 has bytes and should have a number"),
        ([header(), (b"a", varint_field(2, 7))], "field 2 has a number and should have a message"),
        ([header(), (b"a", varint(5 << 3 | 2) + varint(2**62))], "goes beyond its message's end"),
        ([header(), (b"a", tensor(dims=bytes_field(2, varint_field(1, 2**63)) * 9))], "a tensor has the shape"),
        ([header(), (b"a", tensor(dims=bytes_field(2, b"")))], r"a tensor has the shape \[0\]"),
        ([header(), (b"a", tensor()), (b"b", tensor())], "b has bytes of another tensor, too"),
        ([header(), (b"a", tensor(4, 2)), (b"b", tensor(8, 2))], "b has bytes of another tensor, too"),
        ([header(), (b"b", tensor()), (b"a", tensor(4))], "the key b'a' does not follow b'b'"),
        ([header(), (b"a", tensor()), (b"a", tensor(4))], "the key b'a' does not follow b'a'"),
        ([header(), (b"a\n\x1b[2J", tensor())], r"has the name 'a\\n\\x1b\[2J'"),
        ([header(), (b"a" * 256, tensor())], "has an entry that is longer than its place"),
    ],
)
def test_an_index_whose_checksums_are_right(tmp_path: Path, entries: list[tuple[bytes, bytes]], match: str) -> None:
    openai(tmp_path)
    (tmp_path / "model.ckpt.index").write_bytes(table_of([block_bytes(entries)]))
    refused(tmp_path, f"is not a whole TensorFlow checkpoint index: .*{match}")
    assert not is_complete(tmp_path)


def test_a_block_that_is_named_again_and_again(tmp_path: Path) -> None:
    """It was read each time: a quarter of a megabyte kept the reader busy for more than half a minute."""
    openai(tmp_path)
    block = sealed(block_bytes([header(), *((b"%04d" % i, tensor(4 * i)) for i in range(2000))]))
    meta = sealed(block_bytes([]))
    index = sealed(block_bytes([(b"%05d" % i, handle_bytes(0, block)) for i in range(10_000)]))
    footer = handle_bytes(len(block), meta) + handle_bytes(len(block) + len(meta), index)
    table = block + meta + index + footer.ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC
    (tmp_path / "model.ckpt.index").write_bytes(table)
    refused(tmp_path, "the block at 0 lies within the one before it, or before that")


@pytest.mark.parametrize("shared", [200, 300])
def test_keys_that_are_long_only_in_memory(tmp_path: Path, shared: int) -> None:
    """A few bytes repeat all of the key before them."""
    openai(tmp_path)
    first = varint(0) + varint(shared) + varint(0) + b"a" * shared
    block = first + (varint(shared) + varint(1) + varint(0) + b"b") * 50_000 + b"\0\0\0\0\1\0\0\0"
    (tmp_path / "model.ckpt.index").write_bytes(table_of([block]))
    refused(tmp_path, "longer than its place" if shared == 300 else "does not follow")


@pytest.mark.parametrize("name", ["model.ckpt.index", "checkpoint", "hparams.json"])
def test_files_that_are_far_too_long_are_not_read(tmp_path: Path, name: str) -> None:
    openai(tmp_path)
    os.truncate(tmp_path / name, 1 << 33)
    refused(tmp_path, rf"{name} has 8,589,934,592 bytes, and no such file has more than ")


@pytest.mark.parametrize("size", [1 << 22, (1 << 63) - 1, (1 << 64) - 1])
def test_a_header_that_is_far_too_long_is_not_read(tmp_path: Path, size: int) -> None:
    huggingface(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b"{")
    os.truncate(path, 1 << 23)
    refused(tmp_path, r"a header of 4,194,312 bytes" if size == 1 << 22 else "is not a whole safetensors file")


@pytest.mark.parametrize(
    "name",
    ["../x", "../../../x", "/etc/passwd", "C:\\x", "\\x", "a/../../x", "..", ".", "", "a\0", "a\n", 7 * "n" * 99],
)
def test_names_that_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    model = tmp_path / "model"
    sharded(model)
    (tmp_path / "x").write_bytes((model / "model-00001-of-00002.safetensors").read_bytes())
    index = model / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": weight_map | {"wte.weight": name}}))
    refused(model, r"index\.json names the file .*, which is not in the model's directory$")
    assert not is_complete(model)


def test_a_file_for_each_weight_and_many_more(tmp_path: Path) -> None:
    sharded(tmp_path)
    content = {"weight_map": {str(i): f"{i}.safetensors" for i in range(20_000)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(content))
    refused(tmp_path, r"names 20,000 files of weights; more than 1,000 are not read")


@pytest.mark.parametrize("prefix", ["../model.ckpt", "a/../../model.ckpt", "..", "/..", "/", "C:\\..", "x\\..\\..\\y"])
def test_a_checkpoint_that_leads_out_of_the_directory(tmp_path: Path, prefix: str) -> None:
    model = tmp_path / "model"
    openai(tmp_path)
    openai(model)
    (model / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')
    refused(model, r"checkpoint names the file .*, which is not in the model's directory$")


@pytest.mark.parametrize("root", ["/home/x/", "C:\\models\\", "\\\\server\\share\\x\\"])
def test_a_checkpoint_may_say_where_its_files_once_were(tmp_path: Path, root: str) -> None:
    openai(tmp_path)
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{root}model.ckpt"\n')
    assert read_checkpoint(tmp_path)[0] == HPARAMS


def test_a_tensor_that_is_stored_twice(tmp_path: Path) -> None:
    """Which of the two is meant cannot be known."""
    sharded(tmp_path)
    first, second = (tmp_path / f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    second.write_bytes(first.read_bytes())
    refused(tmp_path, r"model-00002-of-00002\.safetensors has 'wte\.weight', which is stored already")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    huggingface(tmp_path)
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(PicoGPTError, match="holds no model"):
        read_checkpoint(tmp_path)
