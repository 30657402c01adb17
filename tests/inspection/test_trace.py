"""The values of a pass: transformers' numbers, TransformerLens's shapes; kept, or changed on the way."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import picogpt
from picogpt import model
from picogpt.errors import PicoGPTError
from picogpt.inspection import attentions, hidden_states, logit_lens, run_with, trace
from picogpt.performance.int8 import quantize_params
from picogpt.types import Array
from tests.random_model import N_EMBD, N_HEAD, N_LAYER, N_VOCAB, random_params

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "inspection.npz")
PARAMS = random_params(np.random.default_rng(0))
IDS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]]
BATCH, N_SEQ, D_HEAD = 2, 7, N_EMBD // N_HEAD

SHAPES = {  # TransformerLens's; pos_embed has a batch axis there
    "embed": (BATCH, N_SEQ, N_EMBD),
    "pos_embed": (N_SEQ, N_EMBD),
    "resid_pre": (BATCH, N_SEQ, N_EMBD),
    "ln1.normalized": (BATCH, N_SEQ, N_EMBD),
    "attn.q": (BATCH, N_SEQ, N_HEAD, D_HEAD),
    "attn.k": (BATCH, N_SEQ, N_HEAD, D_HEAD),
    "attn.v": (BATCH, N_SEQ, N_HEAD, D_HEAD),
    "attn.scores": (BATCH, N_HEAD, N_SEQ, N_SEQ),
    "attn.pattern": (BATCH, N_HEAD, N_SEQ, N_SEQ),
    "attn.z": (BATCH, N_SEQ, N_HEAD, D_HEAD),
    "attn_out": (BATCH, N_SEQ, N_EMBD),
    "resid_mid": (BATCH, N_SEQ, N_EMBD),
    "ln2.normalized": (BATCH, N_SEQ, N_EMBD),
    "mlp.pre": (BATCH, N_SEQ, 4 * N_EMBD),
    "mlp.post": (BATCH, N_SEQ, 4 * N_EMBD),
    "mlp_out": (BATCH, N_SEQ, N_EMBD),
    "resid_post": (BATCH, N_SEQ, N_EMBD),
    "ln_final.normalized": (BATCH, N_SEQ, N_EMBD),
    "logits": (BATCH, N_SEQ, N_VOCAB),
}


def test_hidden_states_and_attentions_are_transformers() -> None:
    _, hparams, params = picogpt.load("shakespeare")
    states = hidden_states(GOLDEN["ids"], params, hparams["n_head"])
    patterns = attentions(GOLDEN["ids"], params, hparams["n_head"])
    assert len(states) == hparams["n_layer"] + 1
    assert {array.dtype for array in (*states, *patterns)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(states, GOLDEN["hidden_states"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(patterns, GOLDEN["attentions"], rtol=0, atol=1e-4)


def test_values_have_transformer_lenss_shapes() -> None:
    values = trace(IDS, PARAMS, N_HEAD)
    for name, value in values.items():
        short = name.removeprefix("blocks.0.").removeprefix("blocks.1.")
        assert value.shape == SHAPES[short], name
    one = trace(IDS[0], PARAMS, N_HEAD)
    for name in one:
        batched = values[name] if name == "pos_embed" else values[name][0]
        np.testing.assert_allclose(one[name], batched, rtol=0, atol=1e-12)


def test_values_are_what_their_names_say() -> None:
    values = trace(IDS, PARAMS, N_HEAD)
    block = PARAMS["blocks"][1]
    q, k, v = (values[f"blocks.1.attn.{name}"] for name in "qkv")
    visible = np.tri(N_SEQ, dtype=bool)
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(D_HEAD)
    np.testing.assert_allclose(np.where(visible, values["blocks.1.attn.scores"], 0), np.where(visible, scores, 0))
    z = np.einsum("bhqk,bkhd->bqhd", values["blocks.1.attn.pattern"], v)
    np.testing.assert_allclose(values["blocks.1.attn.z"], z, rtol=0, atol=1e-12)
    out = z.reshape(BATCH, N_SEQ, N_EMBD) @ block["attn"]["c_proj"]["w"] + block["attn"]["c_proj"]["b"]
    np.testing.assert_allclose(values["blocks.1.attn_out"], out, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(values["blocks.1.resid_pre"], values["blocks.0.resid_post"])
    np.testing.assert_array_equal(values["logits"], model.gpt2(IDS, **PARAMS, n_head=N_HEAD))


def test_only_what_is_named_is_kept() -> None:
    values = trace(IDS, PARAMS, N_HEAD, "*.pattern")
    assert list(values) == [f"blocks.{i}.attn.pattern" for i in range(N_LAYER)]


@pytest.mark.parametrize("names", ["*.pattern", "*.attn.q", "blocks.1.mlp_out"])
def test_a_trace_takes_the_memory_of_what_is_kept(names: str) -> None:
    """A view of the queries would keep the keys and the values as well."""
    ids = np.tile(IDS, (200, 4))
    tracemalloc.start()
    try:
        values = trace(ids, PARAMS, N_HEAD, names)
        n_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_bytes < 1.1 * sum(value.nbytes for value in values.values()) + ids.nbytes


def test_a_trace_cannot_change_the_model() -> None:
    """`pos_embed` is a part of wpe, and one array is the residual stream after one block and before the next."""
    for value in trace(IDS, PARAMS, N_HEAD).values():
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0


def test_a_trace_is_asked_as_transformer_lenss_cache_is() -> None:
    values = trace(IDS, PARAMS, N_HEAD)
    pattern = values["blocks.1.attn.pattern"]
    assert values["pattern", 1] is values["hook_pattern", 1] is values["blocks.1.attn.hook_pattern"] is pattern
    assert values["attn_scores", 0] is values["scores", 0] is values["blocks.0.attn.scores"]
    for short, name in (("resid_pre", "resid_pre"), ("pre", "mlp.pre"), ("q", "attn.q"), ("mlp_out", "mlp_out")):
        assert values[short, 0] is values[f"blocks.0.{name}"]
    assert values["hook_embed"] is values["embed"]


def test_a_value_that_is_not_in_a_trace_is_named() -> None:
    values = trace(IDS, PARAMS, N_HEAD, "blocks.0.*")
    with pytest.raises(PicoGPTError, match=r"the trace was made without blocks\.1\.attn\.q; name it there"):
        values["q", 1]
    with pytest.raises(PicoGPTError, match=r"the nearest names are blocks\.0\.attn\.pattern"):
        values["blocks.0.attn.patern"]
    with pytest.raises(PicoGPTError, match="there is no layer 2, the model has layers 0 to 1"):
        values["pattern", 2]
    with pytest.raises(PicoGPTError, match=r"no value is called 'blocks\.0\.normalized'; .*blocks\.0\.ln1\.normalized"):
        values["normalized", 0]  # there are two in a block


def test_a_trace_shows_itself_in_one_line() -> None:
    assert repr(trace([1, 2, 3], PARAMS, N_HEAD, "logits")) == "<Trace of 3 tokens: 1 values, 0.00146 MB>"


def test_padded_rows_are_what_they_are_alone() -> None:
    n_pad = np.array([0, 3])
    padded = trace([IDS[0], [0, 0, 0, *IDS[1][:4]]], PARAMS, N_HEAD, n_pad=n_pad)
    alone = trace(IDS[1][:4], PARAMS, N_HEAD)
    np.testing.assert_allclose(padded["resid_post", 1][1, 3:], alone["resid_post", 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(padded["pattern", 1][1, :, 3:, 3:], alone["pattern", 1], rtol=0, atol=1e-12)
    states = logit_lens(trace(IDS, PARAMS, N_HEAD, "logits", n_pad=n_pad), PARAMS, N_HEAD)
    whole = logit_lens(trace(IDS, PARAMS, N_HEAD, n_pad=n_pad), PARAMS, N_HEAD)
    np.testing.assert_array_equal(states.kl, whole.kl)  # what is missing is computed with the same pads


def test_int8_weights_are_traced() -> None:
    params = quantize_params(random_params(np.random.default_rng(0), np.float32))
    values = trace(IDS, params, N_HEAD)
    expected = picogpt.gpt2(IDS, **params, n_head=N_HEAD)
    np.testing.assert_allclose(values["logits"], expected, rtol=0, atol=1e-4)


def test_changing_nothing_changes_no_bit() -> None:
    expected = trace(IDS, PARAMS, N_HEAD)["logits"]
    np.testing.assert_array_equal(run_with(IDS, PARAMS, N_HEAD, {}), expected)
    np.testing.assert_array_equal(run_with(IDS, PARAMS, N_HEAD, {"*": lambda value: value}), expected)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "logits"])
def test_what_a_function_returns_is_used(name: str) -> None:
    """And has the shape that `trace` gives."""
    full = name if name in ("embed", "pos_embed", "ln_final.normalized") else f"blocks.1.{name}"
    shapes = []

    def change(value: Array) -> Array:
        shapes.append(value.shape)
        value[..., 0] += 1.5  # in place, on a copy of its own
        return value

    logits = run_with(IDS, PARAMS, N_HEAD, {full: change})
    assert shapes == [SHAPES[name]]
    expected = trace(IDS, PARAMS, N_HEAD)["logits"]
    moved = np.abs(logits - expected).max()
    if name == "attn.k":  # one key component moves all scores of a query by the same: softmax takes no notice
        assert moved < 1e-10
    else:
        assert moved > 1e-6
    np.testing.assert_array_equal(trace(IDS, PARAMS, N_HEAD)["logits"], expected)


def test_functions_of_one_value_follow_each_other() -> None:
    add, double = (lambda value: value + 1), (lambda value: 2 * value)
    both = run_with(IDS, PARAMS, N_HEAD, {"blocks.0.mlp_out": add, "*.mlp_out": double})
    by_hand = run_with(
        IDS, PARAMS, N_HEAD, {"blocks.0.mlp_out": lambda value: 2 * (value + 1), "blocks.1.mlp_out": double}
    )
    np.testing.assert_array_equal(both, by_hand)


def test_a_replacement_keeps_shape_and_dtype() -> None:
    """A NumPy float64 scalar would make the rest of the pass float64."""
    params = random_params(np.random.default_rng(0), np.float32)
    assert run_with(IDS, params, N_HEAD, {"*.z": lambda z: z * np.float64(0.5)}).dtype == np.float32
    with pytest.raises(
        PicoGPTError, match=r"the function for blocks.0.mlp_out must return an array of shape \(7, 21\)"
    ):
        run_with(IDS[0], params, N_HEAD, {"blocks.0.mlp_out": lambda out: out[1:]})
    with pytest.raises(PicoGPTError, match="must return an array of shape"):
        run_with(IDS[0], params, N_HEAD, {"blocks.0.mlp_out": lambda out: None})  # type: ignore[dict-item, return-value]


def test_a_changed_pass_is_traced() -> None:
    """With what the functions returned, and what the rest of the pass made of it."""
    changes = {"blocks.0.mlp_out": np.zeros_like}
    values = trace(IDS, PARAMS, N_HEAD, changes=changes)
    assert not values["mlp_out", 0].any()
    np.testing.assert_array_equal(values["resid_post", 0], values["resid_mid", 0])
    np.testing.assert_array_equal(values["logits"], run_with(IDS, PARAMS, N_HEAD, changes))
    only_logits = trace(IDS, PARAMS, N_HEAD, "logits", changes=changes)
    np.testing.assert_array_equal(  # what is missing is computed with the same changes
        logit_lens(only_logits, PARAMS, N_HEAD).kl, logit_lens(values, PARAMS, N_HEAD).kl
    )


def test_bad_input_is_refused_as_everywhere() -> None:
    with pytest.raises(PicoGPTError, match="30 tokens are more than the model's context of 29"):
        trace([1] * 30, PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match="token id 61 is outside the vocabulary"):
        trace([61], PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match="the prompt has no tokens"):
        trace([], PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match="the prompt has no tokens"):
        run_with([[], []], PARAMS, N_HEAD, {})
    with pytest.raises(PicoGPTError, match=r"no value is called '\*\.zz'"):
        run_with([1], PARAMS, N_HEAD, {"*.zz": lambda value: value})


def test_a_model_traces_a_text() -> None:
    gpt = picogpt.load("shakespeare")
    values = gpt.trace("My kingdom for a horse!", "*.pattern")
    assert "".join(values.tokens) == "My kingdom for a horse!"
    assert values.ids.tolist() == gpt.encoder.encode("My kingdom for a horse!")
    assert values["pattern", 4].shape == (gpt.hparams["n_head"], len(values.tokens), len(values.tokens))
    with pytest.raises(PicoGPTError, match="are more than the model's context of 256"):
        gpt.trace("horse " * 300)
