"""Parts switched off, and values of another prompt put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picogpt
from picogpt.errors import PicoGPTError
from picogpt.inspection import ablate_heads, ablate_mlp, patch, run_with, trace, without_heads, without_mlps
from tests.random_model import N_HEAD, random_params

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "inspection.npz")
PARAMS = random_params(np.random.default_rng(0))
IDS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]]
OTHER = [[2, 7, 1, 8, 2, 8, 1], [1, 4, 1, 4, 2, 1, 3]]
PLAIN = trace(IDS, PARAMS, N_HEAD)


def test_ablations_are_transformers_with_hooks() -> None:
    _, hparams, params = picogpt.load("shakespeare")
    ids, n_head = GOLDEN["ids"], hparams["n_head"]
    layer, head, position = (int(GOLDEN[name]) for name in ("layer", "head", "position"))
    without_head = ablate_heads(ids, params, n_head, [(layer, head)])
    without_mlp = ablate_mlp(ids, params, n_head, [layer])
    swapped = patch(ids, ids[::-1], params, n_head, f"blocks.{layer}.mlp_out", [position])
    for logits, name in ((without_head, "without_head"), (without_mlp, "without_mlp"), (swapped, "mlps_swapped")):
        np.testing.assert_allclose(logits[:, -1], GOLDEN[name], rtol=0, atol=1e-4)


def test_ablating_nothing_changes_no_bit() -> None:
    for logits in (
        ablate_heads(IDS, PARAMS, N_HEAD, []),
        ablate_heads(IDS, PARAMS, N_HEAD, [], mean_of=IDS),
        ablate_mlp(IDS, PARAMS, N_HEAD, []),
        patch(IDS, IDS, PARAMS, N_HEAD, "*"),
        patch(IDS, OTHER, PARAMS, N_HEAD, "*", positions=[]),
    ):
        np.testing.assert_array_equal(logits, PLAIN["logits"])


def test_a_head_without_output_is_ablated() -> None:
    """All heads of a layer together leave c_proj's bias."""
    expected = run_with(IDS, PARAMS, N_HEAD, {"blocks.0.attn.z": np.zeros_like, "blocks.1.attn.z": without_head_1})
    heads = [(1, 1), *((0, head) for head in range(N_HEAD))]
    np.testing.assert_array_equal(ablate_heads(IDS, PARAMS, N_HEAD, heads), expected)
    bias = PARAMS["blocks"][0]["attn"]["c_proj"]["b"]
    out = run_with(
        IDS, PARAMS, N_HEAD, {"blocks.0.attn_out": lambda out: out * 0 + bias, "blocks.1.attn.z": without_head_1}
    )
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)


def test_what_is_left_without_a_head_can_be_traced() -> None:
    values = trace(IDS, PARAMS, N_HEAD, changes=without_heads(PARAMS, N_HEAD, [(0, 1)]))
    assert not values["z", 0][:, :, 1].any()
    np.testing.assert_array_equal(values["logits"], ablate_heads(IDS, PARAMS, N_HEAD, [(0, 1)]))
    values = trace(IDS, PARAMS, N_HEAD, "logits", changes=without_mlps(PARAMS, N_HEAD, [0, 1]))
    np.testing.assert_array_equal(values["logits"], ablate_mlp(IDS, PARAMS, N_HEAD, [0, 1]))


def without_head_1(z: Any) -> Any:
    z[:, :, 1] = 0
    return z


def test_the_mean_is_over_rows_and_positions() -> None:
    mean = trace(OTHER, PARAMS, N_HEAD)["z", 1].mean(axis=(0, 1))  # [n_head, d_head]

    def by_hand(z: Any) -> Any:
        z[..., [0, 2], :] = mean[[0, 2]]
        return z

    expected = run_with(IDS, PARAMS, N_HEAD, {"blocks.1.attn.z": by_hand})
    for mean_of in (OTHER, trace(OTHER, PARAMS, N_HEAD)):
        found = ablate_heads(IDS, PARAMS, N_HEAD, [(1, 0), (1, 2)], mean_of)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    mlp = PLAIN["mlp_out", 0].mean(axis=(0, 1))
    expected = run_with(IDS, PARAMS, N_HEAD, {"blocks.0.mlp_out": lambda out: np.broadcast_to(mlp, out.shape)})
    found = ablate_mlp(IDS, PARAMS, N_HEAD, [0], mean_of=PLAIN)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_pads_have_no_part_in_the_mean() -> None:
    padded = trace([IDS[0], [0, 0, 0, *IDS[1][:4]]], PARAMS, N_HEAD, n_pad=np.array([0, 3]))
    rows = [trace(row, PARAMS, N_HEAD)["mlp_out", 0] for row in (IDS[0], IDS[1][:4])]
    mean = np.concatenate(rows).mean(axis=0)
    expected = run_with(IDS, PARAMS, N_HEAD, {"blocks.0.mlp_out": lambda out: np.broadcast_to(mean, out.shape)})
    np.testing.assert_allclose(ablate_mlp(IDS, PARAMS, N_HEAD, [0], padded), expected, rtol=0, atol=1e-12)
    with pytest.raises(PicoGPTError, match="the source has pads"):
        patch(IDS, padded, PARAMS, N_HEAD, "*.z")


@pytest.mark.parametrize("name", ["blocks.0.resid_pre", "blocks.1.resid_mid", "blocks.1.resid_post", "embed"])
def test_patching_everything_gives_the_other_runs_logits(name: str) -> None:
    """The residual stream is all that the rest of the pass sees."""
    other = trace(OTHER, PARAMS, N_HEAD)
    np.testing.assert_array_equal(patch(IDS, OTHER, PARAMS, N_HEAD, name), other["logits"])
    np.testing.assert_array_equal(patch(IDS, other, PARAMS, N_HEAD, name), other["logits"])


def test_only_the_positions_are_patched() -> None:
    at = [2, -1]
    values = trace(OTHER, PARAMS, N_HEAD)
    for name in ("blocks.1.attn.z", "blocks.1.attn.pattern", "blocks.1.mlp.post", "pos_embed"):

        def by_hand(value: Any, name: str = name) -> Any:
            index = (..., at, slice(None), slice(None)) if name.endswith(".z") else (..., at, slice(None))
            value[index] = values[name][index]
            return value

        expected = run_with(IDS, PARAMS, N_HEAD, {name: by_hand})
        np.testing.assert_array_equal(patch(IDS, OTHER, PARAMS, N_HEAD, name, at), expected)
    before = patch(IDS, OTHER, PARAMS, N_HEAD, "blocks.1.mlp_out", [3])
    np.testing.assert_array_equal(before[:, :3], PLAIN["logits"][:, :3])
    assert np.abs(before[:, 3] - PLAIN["logits"][:, 3]).max() > 1e-3


def test_bad_input_is_one_line() -> None:
    with pytest.raises(PicoGPTError, match="there is no layer 2, the model has layers 0 to 1"):
        ablate_heads(IDS, PARAMS, N_HEAD, [(0, 0), (2, 0)])
    with pytest.raises(PicoGPTError, match="there is no head 3 in layer 1, each layer has heads 0 to 2"):
        ablate_heads(IDS, PARAMS, N_HEAD, [(1, 3)])
    with pytest.raises(PicoGPTError, match="there is no layer -1"):
        ablate_mlp(IDS, PARAMS, N_HEAD, [-1])
    with pytest.raises(PicoGPTError, match="the two prompts have 3 and 2 tokens; to patch one from the other"):
        patch([1, 2, 3], [1, 2], PARAMS, N_HEAD, "*.z")
    with pytest.raises(PicoGPTError, match=r"the two prompts have ids of shape \(2, 7\) and \(7,\)"):
        patch(IDS, IDS[0], PARAMS, N_HEAD, "*.z")
    with pytest.raises(PicoGPTError, match="there is no position 7, the prompt has positions 0 to 6"):
        patch(IDS, OTHER, PARAMS, N_HEAD, "*.z", [7])
