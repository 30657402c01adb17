"""The ideas that make the ladder's rungs: counted pairs, four ways to average the past, one head of self-attention."""

from __future__ import annotations

import numpy as np

from picogpt.model import as_is, attention, causal_mask, linear, softmax
from picogpt.types import Array, Ids, Params, Tap


def count_bigrams(ids: Ids, n_vocab: int, smoothing: float = 0.0) -> Array:  # [n_ids] -> [n_vocab, n_vocab]
    """count(a, b) / count(a): how often b follows a. The table that the bigram model's softmax comes to by training.

    `smoothing` is added to each count; without it a pair that was never seen has no chance, and an infinite loss.
    """
    counts = np.full((n_vocab, n_vocab), smoothing)
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)


def average_by_loops(x: Array) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """Each position becomes the mean of itself and all before it."""
    y = np.zeros_like(x)
    for i in range(x.shape[-2]):
        for j in range(i + 1):
            y[..., i, :] += x[..., j, :] / (i + 1)
    return y


def average_by_matrix(x: Array) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """The same as one product: row i of a lower-triangular matrix holds 1 / (i + 1), i + 1 times."""
    triangle = np.tri(x.shape[-2], dtype=x.dtype)
    return triangle / triangle.sum(axis=1, keepdims=True) @ x


def average_by_softmax(x: Array) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """The same matrix as a softmax: of 0 for the past, and −inf for the future."""
    scores = np.where(np.tri(x.shape[-2], dtype=bool), 0, -np.inf).astype(x.dtype)
    return softmax(scores) @ x


def average_by_attention(x: Array) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """The same by attention with queries that ask for nothing: they find the past equally good, and average it."""
    n_seq = x.shape[-2]
    return attention(np.zeros_like(x), x, x, causal_mask(n_seq, n_seq))


def self_attention(
    x: Array,  # [..., n_seq, n_embd]
    query: Params,  # the three linear layers; w is [n_embd, d]
    key: Params,
    value: Params,
    source: Array | None = None,  # [..., n_source, n_embd]
    causal: bool = True,
    tap: Tap = as_is,
) -> Array:  # [..., n_seq, d]
    """One head: softmax(Q Kᵀ / √d) V, where Q says what a position looks for, K what it has, V what it gives.

    Masked as in a decoder, or without the mask as in an encoder. With a `source` it is cross-attention: keys and
    values come from there, all of it open to every query. A `tap` sees the scores as "attn.scores" and the weights,
    which the notes call wei, as "attn.pattern".
    """
    mask = causal_mask(x.shape[-2], x.shape[-2]) if causal and source is None else 0.0
    source = x if source is None else source
    return attention(linear(x, **query), linear(source, **key), linear(source, **value), mask, tap)


def sinusoidal_positions(n_ctx: int, n_embd: int) -> Array:  # -> [n_ctx, n_embd]
    """Positions that need no training: sines and cosines, each pair slower than the last (Vaswani et al. 2017)."""
    angles = np.arange(n_ctx)[:, None] / 10000 ** (np.arange(0, n_embd, 2) / n_embd)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(n_ctx, -1)[:, :n_embd].astype(np.float32)
