"""The table of names and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from picogpt.checkpoints.names import (
    check_finite,
    check_hparams,
    check_shapes,
    flatten,
    huggingface_name,
    n_params,
    nest,
    non_finite,
    openai_name,
    param_shapes,
)
from picogpt.errors import PicoGPTError
from picogpt.performance.int8 import quantize_params
from tests.random_model import HPARAMS, random_params


@pytest.mark.parametrize(
    ("n_embd", "n_head", "n_layer", "count"),
    [(768, 12, 12, 124439808), (1024, 16, 24, 354823168), (1280, 20, 36, 774030080), (1600, 25, 48, 1557611200)],
)
def test_counts_the_released_models(n_embd: int, n_head: int, n_layer: int, count: int) -> None:
    hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": n_embd, "n_head": n_head, "n_layer": n_layer}
    assert n_params(hparams) == count


def test_shapes_are_those_of_a_model_that_runs() -> None:
    """A shape written down wrongly would let a wrong file load."""
    flat = flatten(random_params(np.random.default_rng(0)))
    assert {path: array.shape for path, array in flat.items()} == param_shapes(HPARAMS)


def test_names_in_the_files() -> None:
    assert openai_name("wte") == "model/wte"
    assert openai_name("blocks.10.attn.c_attn.w") == "model/h10/attn/c_attn/w"
    assert openai_name("ln_f.g") == "model/ln_f/g"
    assert huggingface_name("wte") == "wte.weight"
    assert huggingface_name("blocks.10.attn.c_attn.w") == "h.10.attn.c_attn.weight"
    assert huggingface_name("blocks.0.ln_1.g") == "h.0.ln_1.weight"
    assert huggingface_name("blocks.0.mlp.c_fc.b") == "h.0.mlp.c_fc.bias"
    assert huggingface_name("ln_f.b") == "ln_f.bias"


def test_nest_is_the_inverse_of_flatten_in_any_order() -> None:
    """With eleven blocks, the order of the names as text is not the order of the blocks."""
    params = random_params(np.random.default_rng(0), hparams=HPARAMS | {"n_layer": 11})
    shuffled = dict(sorted(flatten(params).items()))
    nested = nest(shuffled)
    assert len(nested["blocks"]) == 11
    for i, block in enumerate(nested["blocks"]):
        assert block["mlp"]["c_fc"]["w"] is params["blocks"][i]["mlp"]["c_fc"]["w"]
    assert nested.keys() == params.keys()


def test_all_that_is_wrong_stands_in_one_message() -> None:
    found = {"wte.weight": (61, 20), "ln_f.weight": (21,), "odd": (1,), "even": (2,)}
    expected = {"wte.weight": (61, 21), "ln_f.weight": (21,), "ln_f.bias": (21,), "wpe.weight": (29, 21)}
    with pytest.raises(PicoGPTError) as caught:
        check_shapes(found, expected, "there")
    message = str(caught.value)
    assert message.startswith("there ")
    assert "missing: ln_f.bias, wpe.weight" in message
    assert "unexpected: odd, even" in message
    assert "mis-shaped: wte.weight is [61, 20] and not [61, 21]" in message
    assert "ln_f.weight" not in message


@pytest.mark.parametrize("value", [0, -1, 2.0, "12", None, True])
def test_hparams_are_whole_numbers(value: object) -> None:
    with pytest.raises(PicoGPTError, match=r"here/hparams\.json has n_layer = "):
        check_hparams(HPARAMS | {"n_layer": value}, "here/hparams.json")


def test_heads_share_the_width_evenly() -> None:
    with pytest.raises(PicoGPTError, match="n_embd = 21, which n_head = 4"):
        check_hparams(HPARAMS | {"n_head": 4}, "hparams.json")


def test_missing_hparams_are_all_named() -> None:
    with pytest.raises(PicoGPTError, match=r"does not say the model's n_vocab, n_ctx$"):
        check_hparams({"n_embd": 6, "n_head": 2, "n_layer": 1}, "hparams.json")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_first_parameter_that_is_not_finite_is_named(wrong: float) -> None:
    params = random_params(np.random.default_rng(0), np.float32)
    assert non_finite(params) is None
    params["ln_f"]["b"][-1] = wrong
    assert non_finite(params) == "ln_f.b"
    params["blocks"][1]["mlp"]["c_fc"]["w"][20, 83] = wrong
    assert non_finite(params) == "blocks.1.mlp.c_fc.w"
    with pytest.raises(
        PicoGPTError, match=r"there is damaged: blocks\.1\.mlp\.c_fc\.w has numbers that are not finite"
    ):
        check_finite(params, "there")


def test_finite_numbers_may_be_of_any_size() -> None:
    """Their squares are infinite, and so is their sum."""
    params = random_params(np.random.default_rng(0), np.float32)
    params["wpe"][:] = np.finfo(np.float32).max
    check_finite(params, "there")


def test_int8_weights_have_scales_that_are_finite() -> None:
    params = quantize_params(random_params(np.random.default_rng(0), np.float32))
    assert non_finite(params) is None
    params["blocks"][0]["attn"]["c_proj"]["w"].T.scale[3] = np.nan
    assert non_finite(params) == "blocks.0.attn.c_proj.w"
    params["wte"].scale[3] = np.inf
    assert non_finite(params) == "wte"
