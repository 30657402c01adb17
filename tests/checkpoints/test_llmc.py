"""llm.c's files, against a writer of the test's own that knows the format by its description."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import picogpt
from picogpt.checkpoints import flatten, layout, read_checkpoint, write_llmc
from picogpt.cli import main
from picogpt.errors import PicoGPTError
from picogpt.tokenizers import ByteLevelBPE, train_bpe
from picogpt.types import Params
from tests.random_model import random_params

HPARAMS = {"n_vocab": 257, "n_ctx": 29, "n_embd": 21, "n_head": 3, "n_layer": 2}


def expected_bytes(params: Params, version: int, n_rows: int = 384) -> bytes:
    """The header of 256 numbers, then each of the sixteen arrays over all layers."""
    header = [20240326, version, 29, 257, 2, 3, 21, n_rows] + [0] * 248
    blocks = params["blocks"]
    arrays = [
        np.concatenate([params["wte"], np.zeros((n_rows - 257, 21), np.float32)]),
        params["wpe"],
        *(np.stack([block["ln_1"][leaf] for block in blocks]) for leaf in "gb"),
        np.stack([block["attn"]["c_attn"]["w"].T for block in blocks]),
        np.stack([block["attn"]["c_attn"]["b"] for block in blocks]),
        np.stack([block["attn"]["c_proj"]["w"].T for block in blocks]),
        np.stack([block["attn"]["c_proj"]["b"] for block in blocks]),
        *(np.stack([block["ln_2"][leaf] for block in blocks]) for leaf in "gb"),
        np.stack([block["mlp"]["c_fc"]["w"].T for block in blocks]),
        np.stack([block["mlp"]["c_fc"]["b"] for block in blocks]),
        np.stack([block["mlp"]["c_proj"]["w"].T for block in blocks]),
        np.stack([block["mlp"]["c_proj"]["b"] for block in blocks]),
        params["ln_f"]["g"],
        params["ln_f"]["b"],
    ]
    numbers = np.concatenate([array.ravel() for array in arrays])
    data = numbers.tobytes() if version == 3 else (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    return struct.pack("<256i", *header) + data


@pytest.fixture
def params() -> Params:
    """Numbers that bfloat16 has exactly."""
    params = random_params(np.random.default_rng(0), np.float32, HPARAMS)
    for array in flatten(params).values():
        array.view(np.uint32)[...] &= 0xFFFF0000
    return params


@pytest.mark.parametrize(("dtype", "version"), [("float32", 3), ("bfloat16", 5)])
def test_the_file_is_as_described_and_is_read(tmp_path: Path, dtype: str, version: int, params: Params) -> None:
    path = tmp_path / "gpt2_124M.bin"
    write_llmc(path, HPARAMS, params, dtype)
    assert path.read_bytes() == expected_bytes(params, version)
    (tmp_path / "gpt2_tokenizer.bin").write_bytes(struct.pack("<4i", 20240328, 2, 257, 256))
    for place in (tmp_path, path):
        assert layout(place) == "llmc"
        hparams, again = read_checkpoint(place)
        assert hparams == HPARAMS
        for name, array in flatten(again).items():
            np.testing.assert_array_equal(array, flatten(params)[name], strict=True)
    if version == 3:
        assert not again["wpe"].flags.owndata


def test_convert_and_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], params: Params) -> None:
    encoder = train_bpe(["to be or not to be"], 257, [])
    picogpt.pretrained.save(picogpt.pretrained.GPT2(encoder, HPARAMS, params), tmp_path / "hf")
    target = tmp_path / "x.bin"
    assert main(["convert", str(tmp_path / "hf"), "-o", str(target), "--to", "llmc"]) == 0
    assert main(["--model", str(target), "to be"]) == 2
    assert "x.bin has 257 tokens and no vocabulary beside it; copy vocab.json and" in capsys.readouterr().err
    encoder.save(tmp_path)
    assert main(["--model", str(target), "-n", "4", "to be"]) == 0
    assert main(["info", str(target)]) == 0
    assert "llm.c's" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "hf"), "-o", str(tmp_path / "y"), "--to", "llmc", "--dtype", "int8"]) == 2
    assert "llm.c's format is float32 or bfloat16, and not int8" in capsys.readouterr().err


def test_gpt2s_vocabulary_is_at_hand(tmp_path: Path) -> None:
    hparams = HPARAMS | {"n_vocab": 50257}
    write_llmc(tmp_path / "x.bin", hparams, random_params(np.random.default_rng(0), np.float32, hparams), "bfloat16")
    encoder, _, params = picogpt.load(tmp_path)
    assert isinstance(encoder, ByteLevelBPE)
    assert encoder.n_vocab == len(params["wte"]) == 50257


@pytest.mark.parametrize(
    ("place", "number", "match"),
    [
        (1, 1, r"is llm\.c's version 1; only 3 \(float32\) and 5 \(bfloat16\) are read"),
        (2, 30, "has 80,404 bytes, and its header speaks of 80,488; copy it again"),
        (3, 999, "and its header speaks of"),
        (4, 1_000_000, "n_layer = 1000000; it must be"),
        (5, 0, "n_head = 0; it must be"),
        (6, -1, "n_embd = -1; it must be"),
        (7, -1, "and its header speaks of"),
        (7, 2**31 - 1, "and its header speaks of"),
    ],
)
def test_headers_that_mean_ill(tmp_path: Path, place: int, number: int, match: str, params: Params) -> None:
    path = tmp_path / "x.bin"
    write_llmc(path, HPARAMS, params, "float32")
    data = path.read_bytes()
    path.write_bytes(data[: 4 * place] + struct.pack("<i", number) + data[4 * place + 4 :])
    with pytest.raises(PicoGPTError, match=match):
        read_checkpoint(path)


@pytest.mark.parametrize("end", [4, 1023, 1024, 5000, -1])
def test_half_a_file_is_refused(tmp_path: Path, end: int, params: Params) -> None:
    path = tmp_path / "x.bin"
    write_llmc(path, HPARAMS, params, "float32")
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(PicoGPTError, match=r"is cut short|its header speaks of"):
        read_checkpoint(path)


def test_a_relative_of_gpt2_is_refused(tmp_path: Path, params: Params) -> None:
    with pytest.raises(PicoGPTError, match=r"llm\.c's format is for GPT-2 alone"):
        write_llmc(tmp_path / "x.bin", HPARAMS, {**params, "ln_f": {**params["ln_f"], "eps": 0.1}}, "float32")
