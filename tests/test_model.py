"""The forward pass: each function against its definition, the whole against transformers' numbers."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import picogpt
from picogpt.cache import KVCache
from picogpt.errors import PicoGPTError
from picogpt.model import (
    attention,
    ffn,
    gelu,
    gpt2,
    hidden_states,
    layer_norm,
    linear,
    merge_heads,
    mha,
    softmax,
    split_heads,
    transformer_block,
)
from picogpt.types import Array
from tests.random_model import N_CTX, N_EMBD, N_HEAD, N_VOCAB, random_params

DATA = Path(__file__).parent / "data"


TAPPED_IN_A_BLOCK = [
    "resid_pre",
    "ln1.normalized",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.scores",
    "attn.pattern",
    "attn.z",
    "attn_out",
    "resid_mid",
    "ln2.normalized",
    "mlp.pre",
    "mlp.post",
    "mlp_out",
    "resid_post",
]


def leaves(tree: Any) -> list[npt.NDArray[Any]]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for child in tree for leaf in leaves(child)] if isinstance(tree, list) else [tree]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_function_keeps_its_dtype(dtype: type) -> None:
    """NumPy 2 makes float64 of float32 with any NumPy float64 scalar: picoGPT runs at half speed for it."""
    rng = np.random.default_rng(0)
    params = random_params(rng, dtype)
    block = params["blocks"][0]
    x: npt.NDArray[Any] = rng.standard_normal((5, N_EMBD)).astype(dtype)
    q: npt.NDArray[Any] = rng.standard_normal((N_HEAD, 5, 7)).astype(dtype)
    cache = KVCache.for_params(params, N_HEAD)
    results = [
        gelu(x),
        softmax(x),
        layer_norm(x, **block["ln_1"]),
        linear(x, **block["attn"]["c_attn"]),
        ffn(x, **block["mlp"]),
        attention(q, q, q),
        mha(x, **block["attn"], n_head=N_HEAD),
        transformer_block(x, **block, n_head=N_HEAD),
        hidden_states([1, 2, 3], **params, n_head=N_HEAD),
        gpt2([1, 2, 3], **params, n_head=N_HEAD),
        gpt2([1, 2, 3], **params, n_head=N_HEAD, cache=cache),
        gpt2([[1, 2, 3]], **params, n_head=N_HEAD, n_pad=np.array([1])),
        cache.kv,
    ]
    assert {result.dtype for result in results} == {np.dtype(dtype)}


def test_gelu_is_the_tanh_form() -> None:
    """The exact erf form differs from GPT-2's by up to 5e-4."""
    x = np.linspace(-6, 6, 101)
    expected = [0.5 * t * (1 + math.tanh(math.sqrt(2 / math.pi) * (t + 0.044715 * t**3))) for t in x]
    np.testing.assert_allclose(gelu(x), expected, atol=1e-15)
    for dtype in (np.float32, np.float64):  # where the exponential overflows
        np.testing.assert_array_equal(gelu(np.array([-1e3, -40, 40, 1e3], dtype)), [0, 0, 40, 1e3])


def test_softmax_survives_huge_scores() -> None:
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4, -1e4])), [0.5, 0.5, 0.0])


def test_layer_norm_has_mean_b_and_deviation_g() -> None:
    x = 3 + 5 * np.random.default_rng(0).standard_normal((7, 1009))
    y = layer_norm(x, np.full(1009, 2.0), np.full(1009, -1.0))
    np.testing.assert_allclose(y.mean(-1), -1, atol=1e-12)
    np.testing.assert_allclose(y.std(-1), 2, atol=1e-6)


def test_heads_split_and_merge_are_inverses() -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 21))
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 7)
    np.testing.assert_array_equal(heads[1, 2, 4], x[1, 4, 14:])  # a head is a run of neighbouring columns
    np.testing.assert_array_equal(merge_heads(heads), x)


def test_a_token_does_not_see_the_future() -> None:
    rng = np.random.default_rng(1)
    params = random_params(rng)
    ids = rng.integers(N_VOCAB, size=N_CTX)
    changed = ids.copy()
    changed[17] = (ids[17] + 1) % N_VOCAB
    before, after = (gpt2(x, **params, n_head=N_HEAD) for x in (ids, changed))
    np.testing.assert_array_equal(before[:17], after[:17])
    assert np.all(np.abs(before[17:] - after[17:]).max(axis=-1) > 1e-6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(cuts=st.sets(st.integers(1, N_CTX - 1)), batch=st.sampled_from([(), (1,), (2,)]), seed=st.integers(0, 99))
def test_cached_equals_uncached_for_any_chunks(cuts: set[int], batch: tuple[int, ...], seed: int) -> None:
    """An off-by-one in the positions or the mask shows at some cut."""
    rng = np.random.default_rng(seed)
    params = random_params(rng)
    ids = rng.integers(N_VOCAB, size=(*batch, N_CTX))
    cache = KVCache.for_params(params, N_HEAD, batch)
    edges = [0, *sorted(cuts), N_CTX]
    chunks = [
        gpt2(ids[..., start:end], **params, n_head=N_HEAD, cache=cache) for start, end in itertools.pairwise(edges)
    ]
    assert cache.length == N_CTX
    full = gpt2(ids, **params, n_head=N_HEAD)
    np.testing.assert_allclose(np.concatenate(chunks, axis=-2), full, rtol=0, atol=1e-12 * np.abs(full).max())


def test_cached_equals_uncached_in_float32() -> None:
    rng = np.random.default_rng(2)
    params = random_params(rng, np.float32)
    ids = rng.integers(N_VOCAB, size=N_CTX)
    cache = KVCache.for_params(params, N_HEAD)
    cached = np.concatenate([gpt2([i], **params, n_head=N_HEAD, cache=cache) for i in ids])
    full = gpt2(ids, **params, n_head=N_HEAD)
    assert np.abs(cached - full).max() <= 2e-5 * np.abs(full).max()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(lengths=st.lists(st.integers(1, 13), min_size=1, max_size=4), n_more=st.integers(0, 5), cached=st.booleans())
def test_left_padded_rows_are_what_they_are_alone(lengths: list[int], n_more: int, cached: bool) -> None:
    """A pad that is seen, or a position counted from the pad, moves every logit of its row."""
    rng = np.random.default_rng(len(lengths))
    params = random_params(rng)
    longest = max(lengths)
    rows = [rng.integers(N_VOCAB, size=n + n_more) for n in lengths]
    n_pad = np.array([longest - n for n in lengths])
    batch = np.stack([np.concatenate([np.zeros(p, dtype=int), row]) for p, row in zip(n_pad, rows, strict=True)])
    if cached:
        cache = KVCache.for_params(params, N_HEAD, (len(rows),))
        parts = [gpt2(batch[:, :longest], **params, n_head=N_HEAD, cache=cache, n_pad=n_pad)]
        parts += [
            gpt2(batch[:, i : i + 1], **params, n_head=N_HEAD, cache=cache, n_pad=n_pad)
            for i in range(longest, longest + n_more)
        ]
        logits = np.concatenate(parts, axis=1)
    else:
        logits = gpt2(batch, **params, n_head=N_HEAD, n_pad=n_pad)
    assert np.isfinite(logits).all()
    for row, pad, ours in zip(rows, n_pad, logits, strict=True):
        np.testing.assert_allclose(ours[pad:], gpt2(row, **params, n_head=N_HEAD), rtol=0, atol=1e-10)


def test_nothing_given_is_changed() -> None:
    """Working in place is allowed on the function's own arrays only."""
    rng = np.random.default_rng(3)
    params = random_params(rng)
    copies = [leaf.copy() for leaf in leaves(params)]
    ids = [3, 1, 4, 1, 5]
    gpt2(ids, **params, n_head=N_HEAD, cache=KVCache.for_params(params, N_HEAD))
    assert ids == [3, 1, 4, 1, 5]
    for leaf, copy in zip(leaves(params), copies, strict=True):
        np.testing.assert_array_equal(leaf, copy)
    x = rng.standard_normal((5, N_EMBD))
    for function in (gelu, softmax, lambda a: transformer_block(a, **params["blocks"][0], n_head=N_HEAD)):
        before = x.copy()
        function(x)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("ids", [[0, N_VOCAB], [-1, 0], [[0, 1], [2, 10**6]]])
def test_ids_outside_the_vocabulary_are_named(ids: Any) -> None:
    """NumPy would read -1 as the last row."""
    params = random_params(np.random.default_rng(0))
    with pytest.raises(PicoGPTError, match=r"token id (61|-1|1000000) is outside the vocabulary"):
        gpt2(ids, **params, n_head=N_HEAD)


def test_more_tokens_than_positions() -> None:
    params = random_params(np.random.default_rng(0))
    with pytest.raises(PicoGPTError, match=r"30 tokens are more than the model's context of 29"):
        gpt2([1] * (N_CTX + 1), **params, n_head=N_HEAD)


@pytest.fixture(scope="module")
def shakespeare() -> picogpt.GPT2:
    return picogpt.load("shakespeare")


def test_logits_are_transformers(shakespeare: picogpt.GPT2) -> None:
    """Golden: transformers' logits on validation text, every few positions."""
    golden = np.load(DATA / "shakespeare.npz")
    _, hparams, params = shakespeare
    logits = gpt2(golden["ids"], **params, n_head=hparams["n_head"])
    np.testing.assert_allclose(logits[:: golden["logits_every"]], golden["logits"], rtol=0, atol=1e-4)
    cache = KVCache.for_params(params, hparams["n_head"])
    cached = [
        gpt2(chunk, **params, n_head=hparams["n_head"], cache=cache) for chunk in np.array_split(golden["ids"], 7)
    ]
    np.testing.assert_allclose(np.concatenate(cached)[:: golden["logits_every"]], golden["logits"], rtol=0, atol=1e-4)


def test_padded_logits_are_transformers(shakespeare: picogpt.GPT2) -> None:
    golden = np.load(DATA / "shakespeare.npz")
    _, hparams, params = shakespeare
    logits = gpt2(golden["padded_ids"], **params, n_head=hparams["n_head"], n_pad=golden["padded_n_pad"])
    np.testing.assert_allclose(logits[:, -1], golden["padded_last_logits"], rtol=0, atol=1e-4)


def test_a_tap_sees_every_value_once_in_the_order_of_the_pass() -> None:
    params, seen = random_params(np.random.default_rng(0)), {}

    def keep(name: str, array: Array) -> Array:
        assert name not in seen
        seen[name] = array
        return array

    logits = gpt2([3, 1, 4, 1, 5], **params, n_head=N_HEAD, tap=keep)
    in_blocks = [f"blocks.{i}.{name}" for i in range(len(params["blocks"])) for name in TAPPED_IN_A_BLOCK]
    assert list(seen) == ["embed", "pos_embed", *in_blocks, "ln_final.normalized", "logits"]
    np.testing.assert_array_equal(seen["logits"], logits)
    np.testing.assert_array_equal(logits, gpt2([3, 1, 4, 1, 5], **params, n_head=N_HEAD))
    assert seen["blocks.1.attn.pattern"].shape == (N_HEAD, 5, 5)
    assert seen["blocks.1.attn.q"].shape == (N_HEAD, 5, N_EMBD // N_HEAD)


@pytest.mark.parametrize("name", ["embed", "pos_embed", *(f"blocks.1.{name}" for name in TAPPED_IN_A_BLOCK), "logits"])
def test_what_a_tap_returns_is_used(name: str) -> None:
    params = random_params(np.random.default_rng(0))
    before = gpt2([3, 1, 4], **params, n_head=N_HEAD)
    noise = np.random.default_rng(1)
    tap = lambda at, array: array + noise.standard_normal(array.shape) if at == name else array  # noqa: E731
    assert np.abs(gpt2([3, 1, 4], **params, n_head=N_HEAD, tap=tap) - before).max() > 1e-6


def test_whole_numbers_work_where_learners_type_them() -> None:
    y = softmax(np.array([[2, 100], [-5, 0]]))
    np.testing.assert_allclose(y, [[0.0, 1.0], [0.006693, 0.993307]], atol=1e-6)
    y = gelu(np.array([[1, 2], [-2, 0]]))
    np.testing.assert_allclose(y, [[0.841192, 1.954598], [-0.045402, 0.0]], atol=1e-6)
    y = layer_norm(np.array([[2, 2, 3], [-5, 0, 1]]), np.ones(3), np.zeros(3))
    np.testing.assert_allclose(y, [[-0.70709, -0.70709, 1.41418], [-1.397, 0.508, 0.889]], atol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("To be", "the inputs are text, and the model reads token ids: encoder.encode"),
        (["To", "be"], "the inputs are text"),
        ([1.5, 2.0], "whole numbers"),
        (7, "whole numbers"),
        ([[1, 2], [3]], "the rows of ids differ in length; pad them on the left"),
    ],
)
def test_what_is_no_row_of_ids_is_said(inputs: Any, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        gpt2(inputs, **random_params(np.random.default_rng(0)), n_head=N_HEAD)
