"""Relatives of GPT-2 against transformers: each option alone, and all of them at once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import picogpt
from picogpt import model, performance
from picogpt.activations import ACTIVATIONS, erf
from picogpt.cache import KVCache
from picogpt.checkpoints import read_checkpoint, write_huggingface, write_int8, write_openai
from picogpt.checkpoints.fingerprint import fingerprint
from picogpt.checkpoints.variants import is_plain
from picogpt.errors import PicoGPTError
from picogpt.performance.int8 import quantize_params
from picogpt.performance.layout import for_decoding
from picogpt.tokenizers import CharTokenizer
from picogpt.training.run import Run
from picogpt.training.trainer import Settings
from picogpt.types import Array, HParams, Params

GOLDEN = dict(np.load(Path(__file__).parents[1] / "data" / "variants.npz"))
CONFIGS: dict[str, dict[str, Any]] = json.loads(str(GOLDEN["configs"]))
IDS = GOLDEN["ids"]


def load(directory: Path, name: str, **options: Any) -> tuple[HParams, Params]:
    tensors = {
        key.partition("/")[2]: array.astype(np.float32)
        for key, array in GOLDEN.items()
        if key.startswith(f"{name}/") and not key.endswith("logits")
    }
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({**CONFIGS[name], **options}))
    return read_checkpoint(directory)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    """In plain formulas, at speed, token by token with weights laid out for it, and after a round trip."""
    hparams, params = load(tmp_path, name)
    expected, n_head = GOLDEN[f"{name}/logits"], hparams["n_head"]
    tolerance: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5 * float(np.abs(expected).max())}
    np.testing.assert_allclose(model.gpt2(IDS, **params, n_head=n_head), expected, **tolerance)
    np.testing.assert_allclose(performance.gpt2(IDS, **params, n_head=n_head), expected, **tolerance)
    arranged, cache = for_decoding(params), KVCache.for_params(params, n_head)
    steps = [performance.gpt2([token], **arranged, n_head=n_head, cache=cache)[0] for token in IDS]
    np.testing.assert_allclose(steps, expected, **tolerance)
    assert {array.dtype for array in steps} == {np.dtype(np.float32)}
    write_huggingface(tmp_path / "copy", hparams, params)
    again_hparams, again = read_checkpoint(tmp_path / "copy")
    assert again_hparams == hparams
    np.testing.assert_allclose(model.gpt2(IDS, **again, n_head=n_head), expected, **tolerance)
    assert fingerprint(again) == fingerprint(params)
    assert is_plain(params) == (name in ("plain", "gelu_fast", "inner", "by_layer", "unscaled"))


@pytest.mark.parametrize("name", ["gelu", "epsilon", "by_layer", "unscaled"])
def test_without_its_option_a_model_is_another(tmp_path: Path, name: str) -> None:
    defaults = {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    plain = {**defaults, "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True}
    hparams, params = load(tmp_path, name, **plain)
    expected = GOLDEN[f"{name}/logits"]
    difference = np.abs(model.gpt2(IDS, **params, n_head=hparams["n_head"]) - expected).max()
    assert difference > 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["all", "epsilon"])
def test_int8_keeps_the_options(tmp_path: Path, name: str) -> None:
    hparams, params = load(tmp_path, name)
    quantized = quantize_params(params)
    near = performance.gpt2(IDS, **quantized, n_head=hparams["n_head"])
    expected = GOLDEN[f"{name}/logits"]
    assert np.corrcoef(near.ravel(), expected.ravel())[0, 1] > 0.99
    if name == "all":
        with pytest.raises(PicoGPTError, match="no place for an output layer of its own"):
            write_int8(tmp_path / "int8", hparams, params)
    else:
        write_int8(tmp_path / "int8", hparams, params)
        _, again = read_checkpoint(tmp_path / "int8")
        np.testing.assert_array_equal(performance.gpt2(IDS, **again, n_head=hparams["n_head"]), near)


@pytest.mark.parametrize("name", ["gelu", "epsilon", "untied", "inner"])
def test_what_cannot_hold_or_train_them_says_so(tmp_path: Path, name: str) -> None:
    hparams, params = load(tmp_path, name)
    with pytest.raises(PicoGPTError, match="a relative of it; use Hugging Face's"):
        write_openai(tmp_path / "openai", hparams, params)
    if name != "inner":
        text = "abcdefghijklmnopqrstuvwxyz" * 40
        with pytest.raises(PicoGPTError, match="only GPT-2 itself can be trained"):
            Run.start(tmp_path / "run", text, CharTokenizer.from_text(text), hparams, params, Settings(steps=1))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("activation_function", "gelu_python"),
        ("activation_function", ["gelu"]),
        ("layer_norm_epsilon", "small"),
        ("layer_norm_epsilon", -1e-5),
        ("scale_attn_weights", 2),
    ],
)
def test_other_options_are_refused(tmp_path: Path, option: str, value: object) -> None:
    with pytest.raises(PicoGPTError, match=rf"not GPT-2's: {option} = "):
        load(tmp_path, "plain", **{option: value})


def test_an_untied_model_needs_its_output_layer(tmp_path: Path) -> None:
    with pytest.raises(PicoGPTError, match=r"untied, but there is no lm_head\.weight"):
        load(tmp_path, "plain", tie_word_embeddings=False)
    with pytest.raises(PicoGPTError, match=r"lm_head\.weight that is not wte\.weight"):
        load(tmp_path, "untied", tie_word_embeddings=True)


def test_generation_and_scores_work_with_all_options(tmp_path: Path) -> None:
    hparams, params = load(tmp_path, "all")
    n_head = hparams["n_head"]
    ids = list(picogpt.generate([3, 1, 4], params, n_head, 9))
    greedy: list[int] = []
    for _ in range(9):
        greedy.append(int(model.gpt2([3, 1, 4, *greedy], **params, n_head=n_head)[-1].argmax()))
    assert ids == greedy


def test_erf_to_the_last_bit() -> None:
    x = np.concatenate([np.linspace(-5, 5, 20011), np.geomspace(1e-30, 5, 997)]).astype(np.float32)
    expected = np.array([math.erf(float(value)) for value in x])
    error = np.abs(erf(x) - expected) / np.spacing(np.abs(expected).astype(np.float32) + np.float32(1e-38))
    assert error.max() < 0.55


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_keep_the_dtype_and_stay_finite(name: str, dtype: type) -> None:
    x: Array = np.array([-np.finfo(dtype).max, -100, -1, 0, 1, 100], dtype)
    with np.errstate(over="ignore"):
        y = ACTIVATIONS[name](x)
    assert y.dtype == dtype
    if name != "gelu_new" and ACTIVATIONS[name] is not model.gelu:
        np.testing.assert_allclose(y[[0, 1, 3, 5]], [0, 0, 0, 100], atol=1e-6)
