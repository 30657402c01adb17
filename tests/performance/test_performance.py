"""However a pass is computed, in plain formulas, in parts or by the short form, it gives the same numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import picogpt
from picogpt import model, performance
from picogpt.cache import KVCache
from picogpt.performance import driver, formulas, step
from picogpt.performance.driver import causal_attention
from picogpt.performance.layout import cache_memory
from picogpt.types import Array
from tests.random_model import N_CTX, N_EMBD, N_HEAD, N_VOCAB, random_params

DATA = Path(__file__).parents[1] / "data"
Forward = Callable[..., Array]


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def assert_equal_but_for_rounding(ours: Array, plain: Array, tolerance: float = 1e-12) -> None:
    assert ours.shape == plain.shape
    assert ours.dtype == plain.dtype
    np.testing.assert_allclose(ours, plain, rtol=0, atol=tolerance * max(1.0, float(np.abs(plain).max(initial=0))))


def in_chunks(
    forward: Forward, ids: npt.NDArray[Any], edges: list[int], n_pad: npt.NDArray[Any] | None, long: bool
) -> Array:
    params = PARAMS[ids.ndim]
    cache = KVCache.for_params(params, N_HEAD, ids.shape[:-1], allocate=cache_memory if long else np.empty)
    pads: dict[str, Any] = {} if n_pad is None else {"n_pad": n_pad}
    chunks = [
        forward(ids[..., start:end], **params, n_head=N_HEAD, cache=cache, **pads)
        for start, end in itertools.pairwise(edges)
    ]
    return np.concatenate(chunks, axis=-2)


PARAMS = {n_axes: random_params(np.random.default_rng(n_axes)) for n_axes in (1, 2)}


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    n_seq=st.integers(1, N_CTX),
    cuts=st.sets(st.integers(1, N_CTX - 1), max_size=5),
    pads=st.none() | st.lists(st.integers(0, 12), min_size=1, max_size=4),
    blocks=st.sampled_from([(1, 1, 0), (3, 2, 0), (3, 2, 256), (64, 128, 256)]),
    seed=st.integers(0, 99),
)
def test_plain_and_in_parts(
    n_seq: int, cuts: set[int], pads: list[int] | None, blocks: tuple[int, int, int], seed: int
) -> None:
    """Over lengths, chunks, pads and sizes of parts, with and without threads; the logits at pads mean nothing."""
    query_block, row_block, few_rows = blocks
    n_pad = None if pads is None else np.minimum(pads, n_seq - 1)
    shape = (n_seq,) if n_pad is None else (len(n_pad), n_seq)
    ids = np.random.default_rng(seed).integers(N_VOCAB, size=shape)
    edges = sorted({0, n_seq, *(cut for cut in cuts if cut < n_seq)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "QUERY_BLOCK", query_block)
        patch.setattr(driver, "ROW_BLOCK", row_block)
        for module in (driver, performance.rowwise):
            patch.setattr(module, "FEW_ROWS", few_rows)
        fast = in_chunks(performance.gpt2, ids, edges, n_pad, long=True)
        driven = in_chunks(driver.hidden_states, ids, edges, n_pad, long=False)
    plain = in_chunks(model.gpt2, ids, edges, n_pad, long=False)
    plain_states = in_chunks(model.hidden_states, ids, edges, n_pad, long=False)
    real = np.ones(shape, bool) if n_pad is None else np.arange(n_seq) >= n_pad[:, None]
    assert np.isfinite(fast).all()
    assert_equal_but_for_rounding(fast[real], plain[real])
    assert_equal_but_for_rounding(driven[real], plain_states[real])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_way_keeps_the_dtype(dtype: type) -> None:
    params = random_params(np.random.default_rng(0), dtype)
    cache = KVCache.for_params(params, N_HEAD)
    x: Array = normal(5, N_EMBD).astype(dtype)
    q: Array = normal(N_HEAD, 5, 7).astype(dtype)
    results = [
        formulas.gelu(x),
        formulas.layer_norm(x, **params["ln_f"]),
        formulas.attention(q, q, q),
        causal_attention(q, q, q),
        performance.gpt2([1, 2, 3], **params, n_head=N_HEAD, cache=cache),
        performance.gpt2([1], **params, n_head=N_HEAD, cache=cache),
        performance.gpt2([[1, 2, 3]], **params, n_head=N_HEAD, n_pad=np.array([1])),
    ]
    assert {result.dtype for result in results} == {np.dtype(dtype)}


def test_each_fast_formula_is_its_namesake() -> None:
    x, g, b = normal(2, 67, 31), normal(31, seed=1), normal(31, seed=2)
    assert_equal_but_for_rounding(formulas.gelu(x), model.gelu(x), 1e-15)
    assert_equal_but_for_rounding(formulas.layer_norm(x, g, b), model.layer_norm(x, g, b), 1e-14)
    q, k, v = normal(2, 5, 3), normal(2, 7, 3), normal(2, 7, 11)
    mask = np.where(normal(5, 4) < 1, 0, -1e10)  # over the last keys only; the plain form's covers all
    whole = np.concatenate([np.zeros((5, 3)), mask], axis=1)
    assert_equal_but_for_rounding(formulas.attention(q, k, v, mask), model.attention(q, k, v, whole), 1e-14)
    assert_equal_but_for_rounding(formulas.attention(q, k, v), model.attention(q, k, v), 1e-14)


def test_gelu_overflows_in_silence() -> None:
    """Warnings are errors here."""
    for dtype in (np.float32, np.float64):
        x: Array = np.array([-1e3, -40, 40, 1e3], dtype)
        np.testing.assert_array_equal(formulas.gelu(x), [0, 0, 40, 1e3])


def test_the_formulas_leave_what_they_are_given() -> None:
    x, g = normal(5, 7), normal(7)
    q = normal(3, 5, 7)
    copies = x.copy(), g.copy(), q.copy()
    formulas.gelu(x)
    formulas.layer_norm(x, g, g)
    formulas.attention(q, q, q, np.zeros((5, 5)))
    performance.project(x, normal(11, 7))
    for array, copy in zip((x, g, q), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_batch_is_projected_as_its_rows_are() -> None:
    x, wte = normal(2, 3, 5, 7), normal(11, 7)
    np.testing.assert_allclose(performance.project(x, wte), x @ wte.T, atol=1e-14)
    np.testing.assert_allclose(performance.project(x[0, 0, 0], wte), x[0, 0, 0] @ wte.T, atol=1e-14)


def attention_by_definition(q: npt.NDArray[Any], k: npt.NDArray[Any], v: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One query of one head at a time."""
    n_q, n_k = q.shape[-2], k.shape[-2]
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for index in np.ndindex(*q.shape[:-1]):
        head, position = index[:-1], n_k - n_q + index[-1]
        scores = k[head][: position + 1] @ q[index] / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max())
        out[index] = weights / weights.sum() @ v[head][: position + 1]
    return out


@pytest.mark.parametrize(("n_q", "n_k"), [(1, 1), (1, 7), (5, 5), (5, 11), (130, 131), (257, 307)])
def test_causal_attention_in_blocks_is_the_definition(n_q: int, n_k: int) -> None:
    """Block edges are where a query could see one key too few or too many."""
    q, k, v = normal(3, n_q, 7), normal(3, n_k, 7, seed=1), normal(3, n_k, 7, seed=2)
    np.testing.assert_allclose(causal_attention(q, k, v), attention_by_definition(q, k, v), atol=1e-13)


class Seen:
    """A tap that counts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, array: Array) -> Array:
        self.names.append(name)
        return array


def test_with_a_tap_the_pass_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit; and without one no plain function is asked."""
    params, seen = PARAMS[1], Seen()
    expected = model.gpt2([1, 2, 3], **params, n_head=N_HEAD)
    np.testing.assert_array_equal(performance.gpt2([1, 2, 3], **params, n_head=N_HEAD, tap=seen), expected)
    assert seen.names[0] == "embed"
    assert seen.names[-1] == "logits"
    monkeypatch.setattr(model, "hidden_states", None)
    cache = KVCache.for_params(params, N_HEAD)
    for ids in ([1, 2, 3], [4]):
        performance.gpt2(ids, **params, n_head=N_HEAD, cache=cache)


def test_one_position_of_one_row_takes_the_short_form_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "hidden_states", lambda *args, **kwargs: np.zeros((1, N_EMBD)))
    params = PARAMS[1]

    def logits(ids: npt.ArrayLike, batch: tuple[int, ...] | None, **pads: Any) -> Array:
        cache = None if batch is None else KVCache.for_params(params, N_HEAD, batch)
        return performance.gpt2(ids, **params, n_head=N_HEAD, cache=cache, **pads)

    assert not logits([1], ()).any()
    assert logits([1], None).any()
    assert logits([1, 2], ()).any()
    assert logits([[1], [2]], (2,)).any()
    assert logits([[1]], (1,), n_pad=np.array([0])).any()


def test_logits_are_transformers() -> None:
    """Golden: transformers' logits on validation text, every few positions; in one pass, and in seven chunks."""
    golden = np.load(DATA / "shakespeare.npz")
    _, hparams, params = picogpt.load("shakespeare")
    n_head = hparams["n_head"]
    logits = picogpt.gpt2(golden["ids"], **params, n_head=n_head)
    np.testing.assert_allclose(logits[:: golden["logits_every"]], golden["logits"], rtol=0, atol=1e-4)
    cache = KVCache.for_params(params, n_head)
    cached = [picogpt.gpt2(chunk, **params, n_head=n_head, cache=cache) for chunk in np.array_split(golden["ids"], 7)]
    np.testing.assert_allclose(np.concatenate(cached)[:: golden["logits_every"]], golden["logits"], rtol=0, atol=1e-4)
    padded = picogpt.gpt2(golden["padded_ids"], **params, n_head=n_head, n_pad=golden["padded_n_pad"])
    np.testing.assert_allclose(padded[:, -1], golden["padded_last_logits"], rtol=0, atol=1e-4)
