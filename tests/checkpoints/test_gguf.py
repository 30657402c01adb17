"""GGUF, held against llama.cpp's own package: what we write it reads, what it writes we read, number for number."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import picogpt
from picogpt import model
from picogpt.checkpoints import flatten, layout, read_checkpoint, read_encoder, write_gguf
from picogpt.checkpoints.gguf import DTYPES, gguf_name
from picogpt.checkpoints.gguf_file import quantized, read_gguf
from picogpt.checkpoints.names import huggingface_name, param_shapes
from picogpt.checkpoints.safetensors import Stored, widen
from picogpt.cli import main
from picogpt.errors import PicoGPTError
from picogpt.performance.layout import Untied
from picogpt.tokenizers import ByteLevelBPE, CharTokenizer, train_bpe
from picogpt.tokenizers.template import Around
from picogpt.types import HParams, Params
from tests.random_model import random_params

HPARAMS = {"n_vocab": 263, "n_ctx": 29, "n_embd": 64, "n_head": 4, "n_layer": 2}
TEXT = "to be or not to be, that is the question"
IDS = [3, 141, 59, 26, 5, 35, 89, 79]


@pytest.fixture(scope="module")
def encoder() -> ByteLevelBPE:
    return train_bpe([TEXT], 260, ["<|endoftext|>"])  # three ids fewer than the model's


@pytest.fixture(scope="module")
def params() -> Params:
    return random_params(np.random.default_rng(0), np.float32, HPARAMS)


def theirs(path: Path) -> dict[str, Any]:
    """The tensors as llama.cpp's reader gives them, in float32."""
    return {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("dtype", DTYPES)
def test_llama_cpps_reader_reads_what_is_written(
    tmp_path: Path, dtype: str, encoder: ByteLevelBPE, params: Params
) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, HPARAMS, params, dtype, encoder)
    reader = gguf.GGUFReader(path)
    kinds = {t.name: t.tensor_type.name for t in reader.tensors}
    expected = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "Q8_0"}[dtype]
    assert kinds["token_embd.weight"] == kinds["blk.1.ffn_down.weight"] == expected
    assert {kinds[name] for name in ("position_embd.weight", "blk.0.attn_qkv.bias", "output_norm.weight")} == {"F32"}
    found = theirs(path)
    assert set(found) == {gguf_name(huggingface_name(name)) for name in param_shapes(HPARAMS)}
    for name, array in flatten(params).items():
        array = array.T if name.endswith(".w") else array
        key = gguf_name(huggingface_name(name))
        kind = gguf.GGMLQuantizationType[kinds[key]]
        np.testing.assert_array_equal(found[key], gguf.dequantize(gguf.quantize(array, kind), kind), strict=True)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["gpt2.attention.head_count"] == 4
    assert fields["gpt2.feed_forward_length"] == 256
    assert fields["general.file_type"] == gguf.LlamaFileType["ALL_F32" if dtype == "float32" else f"MOSTLY_{expected}"]
    assert fields["tokenizer.ggml.tokens"][:260] == list(encoder.decoder.values())
    assert fields["tokenizer.ggml.token_type"][258:] == [1, 3, 5, 5, 5]
    assert fields["tokenizer.ggml.eos_token_id"] == encoder.eot_token


def test_a_token_before_every_text(tmp_path: Path, params: Params) -> None:
    """llama.cpp puts it there where the file says so, and so do we."""
    names = ["<|endoftext|>", "<s>"]
    vocabulary = train_bpe([TEXT], 260, names)._vocabulary
    begin = vocabulary.special_tokens["<s>"]
    path = tmp_path / "model.gguf"
    write_gguf(path, HPARAMS, params, "float16", ByteLevelBPE(*vocabulary._replace(around=Around(begin))))
    fields = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    assert fields["tokenizer.ggml.add_bos_token"] is True
    assert fields["tokenizer.ggml.bos_token_id"] == begin
    assert read_encoder(path).begin_token == begin


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back_again(tmp_path: Path, dtype: str, encoder: ByteLevelBPE, params: Params) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, HPARAMS, params, dtype, encoder)
    for place in (tmp_path, path):
        assert layout(place) == "gguf"
        hparams, again = read_checkpoint(place)
        assert hparams == HPARAMS
        error = {"float32": 0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 2**-6}[dtype]
        for name, array in flatten(again).items():
            expected = flatten(params)[name]
            np.testing.assert_allclose(array, expected, rtol=error, atol=error * np.abs(expected).max(), strict=True)
        tokenizer = read_encoder(place)
        assert isinstance(tokenizer, ByteLevelBPE)
        assert (tokenizer.tokens, tokenizer.merges) == (encoder.tokens, encoder.merges)
        assert tokenizer.special_tokens == encoder.special_tokens


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_what_llama_cpps_writer_writes_is_read(tmp_path: Path, kind: str, params: Params) -> None:
    """An output layer of its own and an epsilon, with GPT-2's vocabulary elsewhere."""
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(29)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_feed_forward_length(256)
    writer.add_layer_norm_eps(1e-3)
    quantization = gguf.GGMLQuantizationType[kind]
    arrays = {gguf_name(huggingface_name(name)): array for name, array in flatten(params).items()}
    arrays["output.weight"] = arrays["token_embd.weight"][::-1].copy()
    for name, array in arrays.items():
        array = np.ascontiguousarray(array.T) if name.startswith("blk.") and array.ndim == 2 else array
        own = quantization if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(array, own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    hparams, read = read_checkpoint(path)
    assert hparams == HPARAMS
    assert isinstance(read["wte"], Untied)
    assert read["ln_f"]["eps"] == 1e-3
    expected = theirs(path)
    np.testing.assert_array_equal(read["wte"].head, expected["output.weight"])
    np.testing.assert_array_equal(read["blocks"][1]["mlp"]["c_proj"]["w"].T, expected["blk.1.ffn_down.weight"])
    with pytest.raises(PicoGPTError, match=r"x\.gguf has 263 tokens and no vocabulary beside it; copy vocab\.json and"):
        picogpt.load(path)


def test_quantized_blocks_are_llama_cpps_to_the_byte() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((64, 96)) * np.exp(rng.uniform(-20, 8, (64, 1)))).astype(np.float32)
    x[3] = 0
    x[4, :32] = np.arange(-16, 16) * 0.5  # halves
    expected = gguf.quantize(x, gguf.GGMLQuantizationType.Q8_0)
    with np.errstate(over="ignore"):
        found = quantized(x)
    np.testing.assert_array_equal(found.view(np.uint8).reshape(expected.shape), expected)
    stored = Stored("x", "Q8_0", x.shape, found.view(np.uint8))
    np.testing.assert_array_equal(widen(stored), gguf.dequantize(expected, gguf.GGMLQuantizationType.Q8_0))


def test_convert_and_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: ByteLevelBPE) -> None:
    hparams = HPARAMS | {"n_vocab": 260}
    random = random_params(np.random.default_rng(1), np.float32, hparams)
    picogpt.pretrained.save(picogpt.pretrained.GPT2(encoder, hparams, random), tmp_path / "hf")
    for dtype in DTYPES:
        target = tmp_path / f"{dtype}.gguf"
        assert main(["convert", str(tmp_path / "hf"), "-o", str(target), "--to", "gguf", "--dtype", dtype]) == 0
        assert f"{target} has {tmp_path / 'hf'} in GGUF's layout" in capsys.readouterr().err
        texts = []
        for place in (target, tmp_path / "hf"):
            assert main(["--model", str(place), "-n", "6", "to be"]) == 0
            texts.append(capsys.readouterr().out)
        if dtype == "float32":
            assert texts[0] == texts[1]
        assert main(["info", str(target)]) == 0
        assert main(["verify", str(target)]) == 0
        capsys.readouterr()
    with pytest.raises(PicoGPTError, match=r"holds several checkpoints, bfloat16\.gguf, float16\.gguf, float32\.gguf,"):
        layout(tmp_path)
    assert main(["convert", str(tmp_path / "float32.gguf"), "-o", str(tmp_path / "back")]) == 0
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (
        tmp_path / "hf" / "model.safetensors"
    ).read_bytes()
    assert main(["convert", str(tmp_path / "hf"), "-o", str(target), "--to", "gguf"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_what_gguf_cannot_hold_is_refused(tmp_path: Path, encoder: ByteLevelBPE, params: Params) -> None:
    path = tmp_path / "x.gguf"

    def refused(match: str, params: Params, dtype: str = "float32", tokenizer: Any = encoder) -> None:
        with pytest.raises(PicoGPTError, match=match):
            write_gguf(path, HPARAMS, params, dtype, tokenizer)
        assert not any(tmp_path.iterdir())

    refused("GGUF has no place for a CharTokenizer", params, tokenizer=CharTokenizer.from_text("abc"))
    relu = picogpt.activations.relu
    blocks = [{**block, "mlp": {**block["mlp"], "activation": relu}} for block in params["blocks"]]
    refused("llama.cpp's GPT-2 has gelu_new, and this model relu", {**params, "blocks": blocks})
    large = params["wpe"].copy()
    large[0, 0] = 1e6
    for dtype in ("float16", "int8"):
        refused("larger than float16's 65504", {**params, "wpe": large}, dtype)
    large[0, 0] = np.nan
    refused("wpe has numbers that are not finite", {**params, "wpe": large})


def facts(*pairs: tuple[str, bytes]) -> bytes:
    return b"".join(struct.pack("<Q", len(name)) + name.encode() + value for name, value in pairs)


def header(n_tensors: int = 0, n_facts: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<I2Q", version, n_tensors, n_facts)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "it ends too early"),
        (b"GGML" + bytes(99), "it does not begin with GGUF"),
        (header(version=1), r"is GGUF of version 1; only 2 and 3 are read$"),
        (header(1 << 60), "speaks of 1,152,921,504,606,846,976 tensors"),
        (header(0, 1 << 60), "and 1,152,921,504,606,846,976 facts"),
        (header(0, 1) + struct.pack("<Q", 1 << 60), "it ends too early"),
        (header(0, 1) + facts(("a", struct.pack("<2IQ", 9, 4, 1 << 60))), "it ends too early"),
        (header(0, 1) + facts(("a", struct.pack("<2IQ", 9, 8, 1 << 60))), "a list of 1,152,921,504,606,846,976 texts"),
        (header(0, 1) + facts(("a", struct.pack("<2IQ", 9, 9, 1))), "there is no type 9"),
        (header(0, 1) + facts(("a", struct.pack("<I", 77))), "there is no type 77"),
        (header(0, 2) + facts(("a", struct.pack("<IB", 0, 7))) * 2, "it has 'a' twice"),
        (header(0, 1) + facts(("general.alignment", struct.pack("<2I", 4, 0))), "it has the alignment 0"),
        (header(1) + facts(("a", struct.pack("<IQIQ", 1, 1 << 60, 0, 0))), "goes beyond its end"),
        (header(1) + facts(("a", struct.pack("<IQIQ", 1, 31, 8, 0))), r"'a' has the shape \[31\]"),
        (header(1) + facts(("a", struct.pack("<IQIQ", 1, 256, 12, 0))), "type 12; only F32, F16, BF16 and Q8_0 are re"),
        (header(1) + facts(("a", struct.pack("<I", 1 << 31))), "a tensor has 2147483648 dimensions"),
        (header(2) + facts(*[("a", struct.pack("<IQIQ", 1, 8, 0, 0))] * 2) + bytes(99), "bytes of another tensor, too"),
    ],
)
def test_files_that_mean_ill(tmp_path: Path, data: bytes, match: str) -> None:
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(PicoGPTError, match=match):
        read_gguf(tmp_path / "x.gguf")


def test_a_llama_is_refused_by_name(tmp_path: Path) -> None:
    value = struct.pack("<IQ", 8, 5) + b"llama"
    (tmp_path / "x.gguf").write_bytes(header(0, 1) + facts(("general.architecture", value)))
    with pytest.raises(PicoGPTError, match=r"x\.gguf is a 'llama' and not a 'gpt2'; llama\.cpp may read it"):
        picogpt.load(tmp_path)


def test_logits_are_those_of_the_model(tmp_path: Path, encoder: ByteLevelBPE, params: Params) -> None:
    write_gguf(tmp_path / "x.gguf", HPARAMS, params, "float32", encoder)
    hparams: HParams
    hparams, again = read_checkpoint(tmp_path)
    expected = model.gpt2(IDS, **params, n_head=4)
    np.testing.assert_allclose(model.gpt2(IDS, **again, n_head=hparams["n_head"]), expected, rtol=1e-4, atol=1e-4)
