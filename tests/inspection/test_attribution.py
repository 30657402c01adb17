"""What the parts of the model add to a logit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import picogpt
from picogpt.errors import PicoGPTError
from picogpt.inspection import direct_logit_attribution, run_with, trace
from picogpt.performance.int8 import quantize_params
from picogpt.performance.layout import Untied
from picogpt.types import Array
from tests.induction_model import INDUCTION, induction_params
from tests.induction_model import N_HEAD as N_HEAD_BUILT
from tests.random_model import N_HEAD, N_LAYER, random_params

PARAMS = random_params(np.random.default_rng(0))
IDS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]]


@pytest.mark.parametrize("position", [-1, 0, 3])
def test_the_parts_add_up_to_the_logit(position: int) -> None:
    logits = trace(IDS, PARAMS, N_HEAD)["logits"][:, position]
    parts = direct_logit_attribution(IDS, PARAMS, N_HEAD, 17, position=position)
    np.testing.assert_allclose(parts.logit, logits[:, 17], rtol=0, atol=1e-12)
    parts = direct_logit_attribution(IDS, PARAMS, N_HEAD, 17, 42, position)
    np.testing.assert_allclose(parts.logit, logits[:, 17] - logits[:, 42], rtol=0, atol=1e-12)
    assert parts.heads.shape == (N_LAYER, N_HEAD, 2)
    assert parts.mlps.shape == parts.attn_biases.shape == (N_LAYER, 2)
    assert parts.embed.shape == parts.pos_embed.shape == parts.ln_f_bias.shape == (2,)


def test_the_parts_add_up_in_float32() -> None:
    _, hparams, params = picogpt.load("shakespeare")
    ids = np.random.default_rng(0).integers(hparams["n_vocab"], size=64)
    values = trace(ids, params, hparams["n_head"])
    for target in (5, 500, int(values["logits"][-1].argmax())):
        parts = direct_logit_attribution(values, params, hparams["n_head"], target)
        assert parts.heads.dtype == parts.logit.dtype == np.float32
        assert float(parts.logit) == pytest.approx(float(values["logits"][-1, target]), abs=1e-4)
    int8 = quantize_params(params)
    logit = trace(ids, int8, hparams["n_head"])["logits"][-1, 5]
    assert float(direct_logit_attribution(ids, int8, hparams["n_head"], 5).logit) == pytest.approx(logit, abs=1e-4)


def test_the_parts_add_up_for_relatives_of_gpt2() -> None:
    """With an output layer of its own, a large epsilon and another activation."""
    rng = np.random.default_rng(1)
    blocks = [{**block, "mlp": {**block["mlp"], "activation": np.tanh}} for block in PARAMS["blocks"]]
    wte = Untied(PARAMS["wte"], rng.standard_normal(PARAMS["wte"].shape))
    params = {**PARAMS, "wte": wte, "blocks": blocks, "ln_f": {**PARAMS["ln_f"], "eps": 0.5}}
    logits = trace(IDS, params, N_HEAD)["logits"][:, -1]
    parts = direct_logit_attribution(IDS, params, N_HEAD, 17, 42)
    np.testing.assert_allclose(parts.logit, logits[:, 17] - logits[:, 42], rtol=0, atol=1e-12)
    int8 = quantize_params({**params, "wte": Untied(wte.rows.astype(np.float32), wte.head.astype(np.float32))})
    logits = trace(IDS, int8, N_HEAD)["logits"][:, -1]
    np.testing.assert_allclose(direct_logit_attribution(IDS, int8, N_HEAD, 17).logit, logits[:, 17], rtol=0, atol=1e-4)


def test_a_part_is_what_the_logit_loses_without_it() -> None:
    """With the final norm held fast, which the ablation of a part would move."""
    values = trace(IDS[0], PARAMS, N_HEAD)
    g, b = PARAMS["ln_f"]["g"], PARAMS["ln_f"]["b"]
    std = np.sqrt(values["resid_post", N_LAYER - 1].var(axis=-1, keepdims=True) + 1e-5)

    def logit_without(name: str, index: Any) -> float:
        """Of token 17 at the end, when the value is zero there and the layers after it get what they got before."""

        def change(value: Array) -> Array:
            value[index] = 0
            return value

        kept = {f"blocks.{N_LAYER - 1}.mlp_out": lambda _: values["mlp_out", N_LAYER - 1]}
        final: dict[str, Array] = {}
        changes = {name: change, **(kept if "mlp_out" not in name else {})}
        changes[f"blocks.{N_LAYER - 1}.resid_post"] = lambda x: final.setdefault("x", x)
        run_with(IDS[0], PARAMS, N_HEAD, changes)
        x = final["x"]
        return float(((g * (x - x.mean(axis=-1, keepdims=True)) / std + b) @ PARAMS["wte"][17])[-1])

    parts = direct_logit_attribution(IDS[0], PARAMS, N_HEAD, 17)
    logit = values["logits"][-1, 17]
    last = N_LAYER - 1
    for head in range(N_HEAD):
        without = logit_without(f"blocks.{last}.attn.z", (slice(None), head))
        assert logit - without == pytest.approx(parts.heads[last, head], abs=1e-10)
    assert logit - logit_without(f"blocks.{last}.mlp_out", ...) == pytest.approx(parts.mlps[last], abs=1e-10)


def test_what_the_induction_head_says_is_attributed_to_it() -> None:
    parts = direct_logit_attribution([10, 1, 2, 3, 4, 1], induction_params(), N_HEAD_BUILT, target=2, foil=4)
    expected = np.zeros((2, N_HEAD_BUILT))
    expected[INDUCTION] = parts.logit
    np.testing.assert_allclose(parts.heads, expected, atol=1e-9)
    assert parts.logit > 1


def test_bad_input_is_one_line() -> None:
    with pytest.raises(PicoGPTError, match="there is no position 7, the prompt has positions 0 to 6"):
        direct_logit_attribution(IDS, PARAMS, N_HEAD, 1, position=7)
    with pytest.raises(PicoGPTError, match="the prompt has no tokens"):
        direct_logit_attribution([], PARAMS, N_HEAD, 1)
    with pytest.raises(PicoGPTError, match="token id 61 is outside the vocabulary, which has ids 0 to 60"):
        direct_logit_attribution(IDS, PARAMS, N_HEAD, 1, foil=61)
