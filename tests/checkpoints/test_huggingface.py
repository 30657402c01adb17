"""Hugging Face's layout. The safetensors package writes the files that we read, and reads those that we write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file, save_file

from picogpt.checkpoints import flatten, nest, read_checkpoint, read_hparams, weight_files, write_huggingface
from picogpt.checkpoints.names import huggingface_name
from picogpt.checkpoints.safetensors import Stored, narrow, widen, write_safetensors
from picogpt.errors import PicoGPTError
from tests.random_model import HPARAMS, random_params

Tensors = dict[str, npt.NDArray[Any]]

CONFIG = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "vocab_size": HPARAMS["n_vocab"],
    "n_positions": HPARAMS["n_ctx"],
    "n_embd": HPARAMS["n_embd"],
    "n_head": HPARAMS["n_head"],
    "n_layer": HPARAMS["n_layer"],
    "n_inner": None,
    "layer_norm_epsilon": 1e-5,
    "resid_pdrop": 0.1,
}


@pytest.fixture(scope="module")
def flat() -> Tensors:
    return flatten(random_params(np.random.default_rng(7), np.float32))


@pytest.fixture
def tensors(flat: Tensors) -> Tensors:
    return {huggingface_name(path): array for path, array in flat.items()}


def save(directory: Path, tensors: Tensors, config: dict[str, Any] = CONFIG) -> None:
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config))


def assert_reads(directory: Path, expected: Tensors) -> None:
    hparams, params = read_checkpoint(directory)
    assert hparams == HPARAMS
    read = flatten(params)
    assert read.keys() == expected.keys()
    for path, array in read.items():
        assert array.flags.aligned
        np.testing.assert_array_equal(array, expected[path], strict=True)


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_reads_with_and_without_the_prefix(tmp_path: Path, flat: Tensors, tensors: Tensors, prefix: str) -> None:
    save(tmp_path, {prefix + name: array for name, array in tensors.items()})
    assert_reads(tmp_path, flat)


def test_float32_is_mapped_and_not_copied(tmp_path: Path, tensors: Tensors) -> None:
    save(tmp_path, tensors)
    for array in flatten(read_checkpoint(tmp_path)[1]).values():
        assert not array.flags.owndata
        assert not array.flags.writeable


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_header_of_odd_length(tmp_path: Path, flat: Tensors, tensors: Tensors, shift: int) -> None:
    """The released gpt2 has one: its tensors are not aligned, and BLAS would copy them at every step."""
    save(tmp_path, tensors)
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    path.write_bytes((size + shift).to_bytes(8, "little") + data[8 : 8 + size] + b" " * shift + data[8 + size :])
    assert_reads(tmp_path, flat)


def test_constants_that_old_versions_saved_are_skipped(tmp_path: Path, flat: Tensors, tensors: Tensors) -> None:
    buffers = {"h.0.attn.bias": np.ones((1, 1, 29, 29), np.bool_), "h.1.attn.masked_bias": np.array(-1e4, np.float32)}
    save(tmp_path, {**tensors, **buffers, "lm_head.weight": tensors["wte.weight"].copy()})
    assert_reads(tmp_path, flat)


def test_an_output_layer_of_its_own_is_refused(tmp_path: Path, tensors: Tensors) -> None:
    save(tmp_path, {**tensors, "lm_head.weight": tensors["wte.weight"] + 1})
    with pytest.raises(PicoGPTError, match=r"lm_head\.weight that is not wte\.weight"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32(tmp_path: Path, flat: Tensors, tensors: Tensors, dtype: type) -> None:
    save(tmp_path, {name: array.astype(dtype) for name, array in tensors.items()})
    assert_reads(tmp_path, {path: array.astype(dtype).astype(np.float32) for path, array in flat.items()})


def test_shards(tmp_path: Path, flat: Tensors, tensors: Tensors) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for i in range(3):
        shard = f"model-{i + 1:05d}-of-00003.safetensors"
        save_file({name: tensors[name] for name in names[i::3]}, tmp_path / shard)
        weight_map |= dict.fromkeys(names[i::3], shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert len(weight_files(tmp_path)) == 3
    assert_reads(tmp_path, flat)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(PicoGPTError, match=r"missing: .*model-00002-of-00003\.safetensors"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(PicoGPTError, match="has no weight_map"):
        read_checkpoint(tmp_path)


def test_all_that_is_wrong_stands_in_one_message(tmp_path: Path, tensors: Tensors) -> None:
    del tensors["ln_f.bias"], tensors["h.1.ln_2.weight"]
    tensors["h.0.attn.c_attn.weight"] = np.ascontiguousarray(tensors["h.0.attn.c_attn.weight"].T)
    tensors["score.weight"] = np.ones(3, np.float32)
    save(tmp_path, tensors)
    with pytest.raises(PicoGPTError) as caught:
        read_checkpoint(tmp_path)
    message = str(caught.value)
    assert "missing: h.1.ln_2.weight, ln_f.bias" in message
    assert "unexpected: score.weight" in message
    assert "mis-shaped: h.0.attn.c_attn.weight is [63, 21] and not [21, 63]" in message


def test_other_dtypes_are_refused_by_name(tmp_path: Path, tensors: Tensors) -> None:
    save(tmp_path, {**tensors, "wpe.weight": tensors["wpe.weight"].astype(np.int64)})
    with pytest.raises(PicoGPTError, match=r"wpe\.weight is stored as I64; only F32, F16, BF16"):
        read_checkpoint(tmp_path)


def test_truncated_and_foreign_files(tmp_path: Path, tensors: Tensors) -> None:
    save(tmp_path, tensors)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"\0", whole[:100], whole[:7], b"", b"<?xml version='1.0'?><Error/>"):
        path.write_bytes(data)
        with pytest.raises(PicoGPTError, match=r"model\.safetensors is not a whole safetensors file"):
            read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "llama"),
        ("add_cross_attention", True),
    ],
)
def test_what_would_give_wrong_numbers_is_refused(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {key: value}))
    with pytest.raises(PicoGPTError, match=rf"config\.json describes a model that is not GPT-2's: {key} = "):
        read_hparams(tmp_path)


def test_the_table_of_positions_is_n_positions_long(tmp_path: Path) -> None:
    """`n_ctx`, which old configs have too, says something else where the two differ."""
    (tmp_path / "config.json").write_text(json.dumps({"n_ctx": 5} | CONFIG | {"n_ctx": 7}))
    assert read_hparams(tmp_path) == HPARAMS


def test_the_usual_width_of_the_feed_forward_network_may_be_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"n_inner": 84}))
    assert read_hparams(tmp_path) == HPARAMS


@pytest.mark.parametrize("text", ["", "{", "[1]", "<Error/>", '{"n_embd": "x"}'])
def test_configs_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(PicoGPTError, match=r"config\.json"):
        read_hparams(tmp_path)


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(PicoGPTError, match=r"neither hparams\.json .* nor config\.json"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_package_reads_what_we_write(tmp_path: Path, flat: Tensors, dtype: str) -> None:
    write_huggingface(tmp_path, HPARAMS, nest(flat), dtype, ends=(60, (60,)))
    narrow_dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    expected = {path: array.astype(narrow_dtype) for path, array in flat.items()}
    written = load_file(tmp_path / "model.safetensors")
    for path, array in expected.items():
        np.testing.assert_array_equal(written.pop(f"transformer.{huggingface_name(path)}"), array, strict=True)
    assert not written
    assert_reads(tmp_path, {path: array.astype(np.float32) for path, array in expected.items()})
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["eos_token_id"], config["dtype"]) == (60, dtype)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "config.json", "model.safetensors"]


def test_params_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    params = random_params(np.random.default_rng(0))
    params["wpe"] = params["wpe"][1:]
    with pytest.raises(PicoGPTError, match=r"mis-shaped: wpe is \[28, 21\] and not \[29, 21\]"):
        write_huggingface(tmp_path, HPARAMS, params)
    assert not list(tmp_path.iterdir())


def test_weights_beyond_float16_are_not_written(tmp_path: Path) -> None:
    params = random_params(np.random.default_rng(0))
    params["wpe"][3, 2] = -70000
    with pytest.raises(PicoGPTError, match="larger than float16's 65504; use bfloat16"):
        write_huggingface(tmp_path, HPARAMS, params, "float16")
    assert not list(tmp_path.iterdir())
    with pytest.raises(PicoGPTError, match="cannot be stored as int8; choose from float32, float16, bfloat16"):
        write_huggingface(tmp_path, HPARAMS, params, "int8")


def test_float64_params_are_stored_in_float32(tmp_path: Path) -> None:
    params = random_params(np.random.default_rng(7), np.float64)
    write_huggingface(tmp_path, HPARAMS, params)
    assert_reads(tmp_path, {path: array.astype(np.float32) for path, array in flatten(params).items()})


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, flat: Tensors) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, flat)
    before = path.read_bytes()
    broken: Any = {"a": np.ones(3, np.float32), "b": np.array(["x"])}
    with pytest.raises(ValueError, match="could not convert"):
        write_safetensors(path, broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@given(arrays(np.uint32, 31, elements=st.integers(0, 2**32 - 1)))
@settings(deadline=None, derandomize=True)
def test_bfloat16_rounds_to_even(bits: npt.NDArray[np.uint32]) -> None:
    """And what is no number, whose bits would round to one, stays none."""
    array = bits.view(np.float32)
    narrowed = narrow(array, "bfloat16").view(ml_dtypes.bfloat16)
    is_number = ~np.isnan(array)
    np.testing.assert_array_equal(narrowed[is_number], array[is_number].astype(ml_dtypes.bfloat16), strict=True)
    assert np.isnan(narrowed[~is_number].astype(np.float32)).all()


def test_bfloat16_widens_exactly() -> None:
    """All 65536 of them, NaNs with their payload too."""
    bits = np.arange(2**16, dtype=np.uint16)
    wide = widen(Stored("", "BF16", (256, 256), bits.view(np.uint8)))
    np.testing.assert_array_equal(wide.ravel().view(np.uint32), bits.astype(np.uint32) << 16)
