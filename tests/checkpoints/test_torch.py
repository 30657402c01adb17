"""Files that torch wrote, against the logits of torch and transformers; and those that mean ill."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import picogpt
from picogpt import model, performance
from picogpt.activations import gelu_erf
from picogpt.cache import KVCache
from picogpt.checkpoints import is_complete, layout, read_checkpoint
from picogpt.checkpoints.names import flatten
from picogpt.checkpoints.torch_file import FUNCTIONS, Saved, Storage, Tensor, read_torch
from picogpt.checkpoints.unpickler import PICKLE_SIZE, Fields, unpickle
from picogpt.checkpoints.zip_archive import members
from picogpt.cli import main
from picogpt.errors import PicoGPTError
from picogpt.files import map_file
from picogpt.performance.layout import Untied, for_decoding
from picogpt.tokenizers import CharTokenizer

DATA = Path(__file__).parents[1] / "data" / "torch"
LOGITS = dict(np.load(DATA / "logits.npz"))
IDS = LOGITS.pop("ids")
SINGLE = {"nanogpt": "ckpt.pt", "nanogpt_compiled": "ckpt.pt", "mingpt": "model.pt"}


def close(actual: Any, name: str) -> None:
    expected = LOGITS[name]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_those_of_torch(name: str) -> None:
    """In plain formulas, at speed, and token by token with weights laid out for it."""
    hparams, params = read_checkpoint(DATA / name)
    assert hparams == {"n_vocab": 31, "n_ctx": 17, "n_embd": 12, "n_head": 3, "n_layer": 2}
    assert {array.dtype for path, array in flatten(params).items() if hasattr(array, "dtype")} == {np.dtype("float32")}
    close(model.gpt2(IDS, **params, n_head=3), name)
    close(performance.gpt2(IDS, **params, n_head=3), name)
    arranged, cache = for_decoding(params), KVCache.for_params(params, 3)
    close([performance.gpt2([token], **arranged, n_head=3, cache=cache)[0] for token in IDS], name)
    assert isinstance(params["wte"], Untied) == (name == "mingpt")


@pytest.mark.parametrize("name", LOGITS)
def test_a_model_is_found_by_its_directory_and_its_file(name: str) -> None:
    expected = "nanogpt" if name in SINGLE else "huggingface"
    assert layout(DATA / name) == expected
    assert is_complete(DATA / name)
    if name in SINGLE:
        path = DATA / name / SINGLE[name]
        assert layout(path) == expected
        close(model.gpt2(IDS, **read_checkpoint(path)[1], n_head=3), name)


def test_float32_is_mapped_and_not_copied() -> None:
    _, params = read_checkpoint(DATA / "nanogpt")
    for path in ("wte", "blocks.1.mlp.c_fc.w"):  # the latter is a transpose
        array = flatten(params)[path]
        assert not array.flags.owndata
        assert not array.flags.writeable
        while isinstance(array, np.ndarray) and array.base is not None:
            array = array.base
        assert isinstance(array, memoryview), "the file's memory"


def test_nanogpt_writes_text_with_its_characters(capsys: pytest.CaptureFixture[str]) -> None:
    encoder, _, _ = picogpt.load(DATA / "nanogpt")
    assert isinstance(encoder, CharTokenizer)
    assert encoder.decode([0, 1, 2, 30]) == "\n !v"
    for place in (DATA / "nanogpt", DATA / "nanogpt" / "ckpt.pt"):
        assert main(["--model", str(place), "-n", "5", "to be"]) == 0
        assert main(["info", str(place)]) == 0
        assert main(["verify", str(place)]) == 0
        assert main(["tokenize", "--model", str(place), "be"]) == 0
    assert "layout      nanoGPT's" in capsys.readouterr().out


def test_a_training_checkpoint_becomes_a_model_of_hugging_faces(tmp_path: Path) -> None:
    assert main(["convert", str(DATA / "nanogpt_compiled"), "-o", str(tmp_path / "hf")]) == 0
    _, params = read_checkpoint(tmp_path / "hf")
    close(model.gpt2(IDS, **params, n_head=3), "nanogpt_compiled")
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["activation_function"] == "gelu"


def test_without_meta_pkl_the_vocabulary_is_gpt2s_or_none(tmp_path: Path) -> None:
    shutil.copy(DATA / "nanogpt" / "ckpt.pt", tmp_path)
    with pytest.raises(PicoGPTError, match=r"ckpt\.pt has 31 tokens and no vocabulary beside it; copy meta\.pkl from "):
        picogpt.load(tmp_path)


def test_a_state_dict_alone_needs_its_heads(tmp_path: Path) -> None:
    shutil.copy(DATA / "mingpt" / "model.pt", tmp_path / "any name.pth")
    with pytest.raises(PicoGPTError, match=r'does not say the number of heads; write a config\.json beside it: \{"n_h'):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"n_head": 3}')
    close(model.gpt2(IDS, **read_checkpoint(tmp_path)[1], n_head=3), "mingpt")
    (tmp_path / "config.json").write_text('{"model": {"model_type": "gpt-nano", "n_layer": null, "vocab_size": 31}}')
    assert read_checkpoint(tmp_path)[0]["n_head"] == 3
    (tmp_path / "config.json").write_text('{"n_head": 3, "n_layer": 12}')
    with pytest.raises(PicoGPTError, match="has weights of n_layer = 2, and is said to have 12"):
        read_checkpoint(tmp_path)


def test_a_config_beside_a_checkpoint_says_which_gelu_it_has(tmp_path: Path) -> None:
    """nanoGPT's own was GPT-2's until June 2023, and nothing in the file tells."""
    shutil.copy(DATA / "nanogpt" / "ckpt.pt", tmp_path)
    assert read_checkpoint(tmp_path)[1]["blocks"][0]["mlp"]["activation"] is gelu_erf
    (tmp_path / "config.json").write_text('{"activation_function": "gelu_new"}')
    assert "activation" not in read_checkpoint(tmp_path)[1]["blocks"][0]["mlp"]


def test_options_of_nanogpts_descendants_are_not_passed_over(tmp_path: Path) -> None:
    data = (DATA / "nanogpt" / "ckpt.pt").read_bytes()
    (tmp_path / "ckpt.pt").write_bytes(data.replace(b"dropout", b"use_rms"))  # 0.0, which says that it has none
    read_checkpoint(tmp_path)
    assert data.count(b"X\4\0\0\0bias") == 1
    place = data.index(b"X\4\0\0\0bias")
    end = data.index(b"\x89", place)  # False
    (tmp_path / "ckpt.pt").write_bytes(
        data[:place] + b"X\4\0\0\0relu" + data[place + 9 : end] + b"\x88" + data[end + 1 :]
    )
    with pytest.raises(PicoGPTError, match=r"a model that is not nanoGPT's or minGPT's: relu = True$"):
        read_checkpoint(tmp_path)


def test_several_checkpoints_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt", "optimizer.pt"):
        shutil.copy(DATA / "nanogpt" / "ckpt.pt", tmp_path / name)
    with pytest.raises(PicoGPTError, match=r"holds several checkpoints, a\.pt, b\.pt; give the path of one of them"):
        picogpt.load(tmp_path)
    assert layout(tmp_path / "b.pt") == "nanogpt"


# files that mean ill


class Command:
    """Whose pickle runs a command when Python's unpickler reads it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def zipped(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("kind", ["zip", "legacy", "meta.pkl"])
def test_a_pickle_that_would_run_a_command_runs_nothing(tmp_path: Path, protocol: int, kind: str) -> None:
    """The same bytes do run it under Python's own unpickler, so that the test can fail."""
    proof = tmp_path / "it ran"
    for function, arguments, name in [
        (os.system, (f"touch '{proof}'",), "posix.system"),
        (cast(Any, exec), (f"open({str(proof)!r}, 'w').close()",), "builtins.exec"),
    ]:
        pickled = pickle.dumps({"model": Command(function, *arguments)}, protocol)
        if kind == "zip":
            zipped(tmp_path / "ckpt.pt", pickled)
        elif kind == "legacy":
            beginning = (DATA / "legacy" / "pytorch_model.bin").read_bytes()
            stream = io.BytesIO(beginning)
            for _ in range(3):
                unpickle(stream, "legacy", FUNCTIONS)
            (tmp_path / "ckpt.pt").write_bytes(beginning[: stream.tell()] + pickled)
        else:
            shutil.copy(DATA / "nanogpt" / "ckpt.pt", tmp_path)
            (tmp_path / "meta.pkl").write_bytes(pickled)
        name = name.replace("builtins", "__builtin__") if protocol == 2 else name
        with pytest.raises(PicoGPTError, match=f"asks for '{name}', which no file of weights needs; nothing of it was"):
            picogpt.load(tmp_path)
        assert not proof.exists()
        pickle.loads(pickled)
        assert proof.exists()
        proof.unlink()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x82\x01.",
        b"\x8c\x02os\x8c\x06system\x93.",
        b"cbuiltins\ngetattr\n.",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        b"\x80\x02ccollections\nOrderedDict\n(U\x01atR.",
    ],
)
def test_other_names_and_instructions_are_refused(pickled: bytes) -> None:
    with pytest.raises(PicoGPTError, match=r"x (asks for|uses the pickle instruction|is not a whole pickle)"):
        unpickle(io.BytesIO(pickled), "x", FUNCTIONS)


@pytest.mark.parametrize(
    ("pickled", "match"),
    [
        (b"\x80\x02" + b"}" * 50_000 + b".", "piles up more than 10,000 values"),
        (b"\x80\x02" + b"(" * 50_000 + b".", "piles up more than 10,000 values"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", None),  # Python's own takes 32 GB for the number of this value
        (b"\x80\x02" + b"N" + b"\x85q\0h\0\x86" * 60 + b"}h\0Ns.", "is not a whole pickle"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"a.", "is not a whole pickle"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.", "instruction BYTEARRAY8|is not a whole pickle"),
        (b"I" + b"9" * 100_000 + b"\n.", "instruction INT, which is not read"),
        (b"\x80\x02NN.", "is not a whole pickle"),
        (b"\x80\x02.", "is not a whole pickle"),
        (b"\x80\x02(t(0t.", "is not a whole pickle"),
        (b"", "is not a whole pickle"),
    ],
)
def test_pickles_that_cost_more_than_they_weigh(pickled: bytes, match: str | None) -> None:
    tracemalloc.start()
    try:
        if match is None:
            assert unpickle(io.BytesIO(pickled), "x", FUNCTIONS) is None
        else:
            with pytest.raises(PicoGPTError, match=match):
                unpickle(io.BytesIO(pickled), "x", FUNCTIONS)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def saved(**tensors: Tensor) -> Saved:
    return Saved(Path("x"), tensors, {"0": np.arange(48, dtype=np.uint8)})


FLOATS = Storage("0", "F32", 12)


@pytest.mark.parametrize(
    ("tensor", "match"),
    [
        (Tensor(FLOATS, 0, (13,), (1,)), "goes beyond its storage"),
        (Tensor(FLOATS, 9, (2, 2), (2, 1)), "goes beyond its storage"),
        (Tensor(FLOATS, 13, (), ()), "goes beyond its storage"),
        (Tensor(FLOATS, 0, (1 << 40, 3), (3, 1)), "goes beyond its storage"),
        (Tensor(FLOATS, 0, (1 << 40,), (0,)), "they overlap"),
        (Tensor(FLOATS, 0, (3, 4), (2, 1)), "they overlap"),
        (Tensor(Storage("0", "F32", 13), 0, (1,), (1,)), "which is missing or cut short"),
        (Tensor(Storage("7", "F32", 1), 0, (1,), (1,)), "needs the storage '7', which is missing"),
    ],
)
def test_tensors_stay_within_their_storage(tensor: Tensor, match: str) -> None:
    with pytest.raises(PicoGPTError, match=match):
        saved(a=tensor).tensors()


def test_weights_may_be_tied_but_not_a_thousand_times() -> None:
    whole = Tensor(FLOATS, 0, (12,), (1,))
    assert len(saved(a=whole, b=whole).tensors()) == 2
    with pytest.raises(PicoGPTError, match="share more of their numbers than a tied layer does"):
        saved(a=whole, b=whole, c=whole).tensors()


def test_an_object_that_nanogpts_descendants_save_is_its_fields() -> None:
    pickled = b"\x80\x02c__main__\nGPTConfig\n)\x81}U\x06n_headK\x03sb."
    value = unpickle(io.BytesIO(pickled), "x", FUNCTIONS)
    assert value == {"n_head": 3}
    assert isinstance(value, Fields)


def test_a_pickle_that_is_far_too_long_is_not_read(tmp_path: Path) -> None:
    zipped(tmp_path / "ckpt.pt", b"\x80\x02" + b"N0" * PICKLE_SIZE)
    with pytest.raises(PicoGPTError, match=r"has a pickle of 2,097,154 bytes; no model that is read needs so many"):
        read_torch(tmp_path / "ckpt.pt")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"compress_type": zipfile.ZIP_DEFLATED}, "'archive/data.pkl' is compressed, which torch does not do"),
        ({}, "is not a whole pickle"),
    ],
)
def test_zip_archives_are_as_torch_writes_them(tmp_path: Path, options: dict[str, int], match: str) -> None:
    with zipfile.ZipFile(tmp_path / "ckpt.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"a" * 100, **options)
    with pytest.raises(PicoGPTError, match=match):
        read_torch(tmp_path / "ckpt.pt")


def test_zip_archives_with_numbers_of_64_bits(tmp_path: Path) -> None:
    """As they are beyond 4 GB: here the numbers are small, and the form is the same."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a/0", "w", force_zip64=True) as file:
        file.write(b"abc")
    data = path.read_bytes()
    start = data.index(b"PK\1\2")
    entry, end = bytearray(data[start : data.index(b"PK\5\6")]), bytearray(data[data.index(b"PK\5\6") :])
    extra = struct.pack("<2H2Q", 1, 16, 3, 0)
    entry[20:28] = struct.pack("<2I", 3, 0xFFFFFFFF)
    entry[42:46] = b"\xff" * 4
    entry[30:32] = struct.pack("<H", len(extra))
    entry = entry[: 46 + 3] + extra
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(entry), 1)
    end[8:20] = b"\xff" * 12
    path.write_bytes(data[:start] + entry + end64 + locator + end)
    assert {name: part.tobytes() for name, part in members(map_file(path), path).items()} == {"a/0": b"abc"}
    assert zipfile.ZipFile(path).read("a/0") == b"abc"


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    for name, file in [("float32", "pytorch_model.bin"), ("legacy", "pytorch_model.bin"), ("nanogpt", "ckpt.pt")]:
        shutil.copytree(DATA / name, tmp_path / name)
        data = (DATA / name / file).read_bytes()
        for end in (0, 3, 100, 1000, len(data) // 2, len(data) - 1):
            (tmp_path / name / file).write_bytes(data[:end])
            with pytest.raises(PicoGPTError):
                read_checkpoint(tmp_path / name)
