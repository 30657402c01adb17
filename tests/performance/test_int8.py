"""int8 weights: what `model.py` asks of a matrix, and how far the numbers may move."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt.cache import KVCache
from picogpt.checkpoints import read_checkpoint
from picogpt.model import gpt2
from picogpt.performance import int8
from picogpt.performance.int8 import Int8Rows, quantize_params
from picogpt.tokenizers import load_tokenizer
from tests.random_model import HPARAMS, N_HEAD, N_VOCAB, random_params
from tests.texts import read_text

SHAKESPEARE = Path(__file__).parents[2] / "models" / "shakespeare"


def test_no_weight_moves_by_more_than_half_a_step() -> None:
    w: npt.NDArray[Any] = np.random.default_rng(0).standard_normal((11, 7)).astype(np.float32)
    w *= np.logspace(-3, 3, 11, dtype=np.float32)[:, None]  # a scale that is not the row's own would show
    w[5] = 0  # a scale of zero would divide by it
    rows = Int8Rows.nearest(w)
    assert rows.q.dtype == np.int8
    assert Int8Rows.nearest(np.asfortranarray(w)).q.flags.c_contiguous  # or each product transposes: six times slower
    assert rows.shape == w.shape
    assert rows.T.shape == (7, 11)
    assert rows.T.T is rows
    step = np.abs(w).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(rows[np.arange(11)] - w) <= step / 2 * (1 + 1e-6))
    np.testing.assert_array_equal(rows[[[5, 2]]], np.stack([rows[5], rows[2]])[None])


@pytest.mark.parametrize("part_size", [1, 20, 10**6])
@pytest.mark.parametrize("few_parts", [0, 100])
@pytest.mark.parametrize("batch", [(), (1,), (5,)])
def test_the_product_is_that_of_the_rounded_weights(
    monkeypatch: pytest.MonkeyPatch, batch: tuple[int, ...], part_size: int, few_parts: int
) -> None:
    """The last part is short, and a row may be longer than a part; with and without threads."""
    monkeypatch.setattr(int8, "INT8_PART", part_size)
    monkeypatch.setattr(int8, "INT8_FEW_PARTS", few_parts)
    rng = np.random.default_rng(0)
    rows = Int8Rows.nearest(rng.standard_normal((11, 7)))
    x = rng.standard_normal((*batch, 7)).astype(np.float32)
    y = x @ rows.T
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, x @ rows[np.arange(11)].T, atol=1e-5)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_a_whole_model_stays_close(batch: tuple[int, ...]) -> None:
    """Cached and batched too: `gpt2` is the same function."""
    rng = np.random.default_rng(0)
    params = random_params(rng, np.float32, {**HPARAMS, "n_embd": 63})
    ids = rng.integers(N_VOCAB, size=(*batch, 17))
    exact = gpt2(ids, **params, n_head=N_HEAD)
    int8 = quantize_params(params)
    cache = KVCache.for_params(int8, N_HEAD, batch)
    parts = [gpt2(part, **int8, n_head=N_HEAD, cache=cache) for part in (ids[..., :11], ids[..., 11:])]
    assert np.abs(np.concatenate(parts, axis=-2) - exact).max() < 0.05 * np.abs(exact).max()


def perplexity(ids: npt.NDArray[Any], params: dict[str, Any], hparams: dict[str, int]) -> float:
    """Of windows of n_ctx tokens, each by itself."""
    windows = ids[: len(ids) // hparams["n_ctx"] * hparams["n_ctx"]].reshape(-1, hparams["n_ctx"])
    logits = gpt2(windows, **params, n_head=hparams["n_head"])[:, :-1].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, windows[:, 1:, None], axis=-1)[..., 0]
    return math.exp(np.mean(np.log(np.exp(logits).sum(axis=-1)) - chosen))


def test_shakespeare_is_no_more_surprising() -> None:
    """Perplexity on the validation part stays within 1 %."""
    text = read_text("tinyshakespeare.txt")
    hparams, params = read_checkpoint(SHAKESPEARE)
    ids = np.array(load_tokenizer(SHAKESPEARE).encode(text[int(0.9 * len(text)) :])[: 32 * hparams["n_ctx"]])
    exact, int8 = (perplexity(ids, p, hparams) for p in (params, quantize_params(params)))
    assert abs(int8 / exact - 1) < 0.01
