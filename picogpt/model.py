"""GPT-2's forward pass, and nothing else. Read it from top to bottom.

A parameter tree has the names of OpenAI's checkpoint, so that `**block` is the wiring. Arrays are float32 or
float64 and stay what they are. Shapes are written behind each signature; `...` stands for no axis or a batch axis.

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; `src/model.py` of
openai/gpt-2, whose numbers this reproduces; the style is that of jaymody/picoGPT.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.cache import KVCache, LayerPast
from picogpt.errors import PicoGPTError
from picogpt.rowwise import rowwise
from picogpt.threads import FEW_ROWS, each

Array = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.integer[Any]]
Params = dict[str, Any]

ROW_BLOCK = 128  # a long prompt's positions are worked on this many at a time, side by side
QUERY_BLOCK = 64  # attention reads a long prompt this many queries at a time


@rowwise(ROW_BLOCK // 4)  # its rows are four times as long, and should stay in the cache
@np.errstate(over="ignore")  # far to the left exp is infinite, and x / inf the 0 that is meant
def gelu(x: Array) -> Array:  # [...] -> [...]
    """Gaussian error linear unit, in the tanh form that GPT-2 was trained with (Hendrycks & Gimpel 2016).

    That is x/2 (1 + tanh u) with u = √(2/π) (x + 0.044715 x³), written here as x / (1 + exp(−2u)): the same number, and
    NumPy's exp takes half the time of its tanh.
    """
    scale = -2 * math.sqrt(2 / math.pi)  # a NumPy float64 scalar would make float32 float64
    y = x * x  # not x**3, which calls pow
    y *= 0.044715 * scale
    y += scale
    y *= x
    np.exp(y, out=y)  # in place, like all of this: new memory takes longer than the arithmetic
    y += 1
    return np.divide(x, y, out=y)


def softmax(x: Array) -> Array:  # [..., n] -> [..., n]
    """Exponentials that sum to one along the last axis; the maximum is taken out so that none overflows."""
    exp_x = x - x.max(axis=-1, keepdims=True)
    np.exp(exp_x, out=exp_x)
    exp_x /= exp_x.sum(axis=-1, keepdims=True)
    return exp_x


def mean(x: Array) -> Array:  # [..., n] -> [..., 1]
    return x.sum(axis=-1, keepdims=True) / x.shape[-1]  # np.mean takes five times as long over one row


@rowwise(ROW_BLOCK)
def layer_norm(x: Array, g: Array, b: Array, eps: float = 1e-5) -> Array:  # [..., n_embd] -> [..., n_embd]
    """Mean 0 and variance 1 along the last axis, then scale by g and shift by b (Ba et al. 2016)."""
    y = x - mean(x)
    variance = np.vecdot(y, y)[..., None] / y.shape[-1]
    y /= np.sqrt(variance + eps)
    y *= g
    y += b
    return y


@rowwise(ROW_BLOCK)
def project(x: Array, w: Array) -> Array:  # [..., n_in], [n_in, n_out] -> [..., n_out]
    """x @ w, of a batch as one product over all of its rows: NumPy would make one a sequence, and read w as often."""
    return x @ w


@rowwise(ROW_BLOCK)
def linear(x: Array, w: Array, b: Array) -> Array:  # [..., n_in], [n_in, n_out], [n_out] -> [..., n_out]
    y = x @ w
    y += b
    return y


@rowwise(ROW_BLOCK)
def ffn(x: Array, c_fc: Params, c_proj: Params) -> Array:  # [..., n_embd] -> [..., n_embd]
    """The feed-forward network: up to four times the width, gelu, and down again, each position by itself."""
    return linear(gelu(linear(x, **c_fc)), **c_proj)


def attention(
    q: Array,  # [..., n_q, d]
    k: Array,  # [..., n_k, d]
    v: Array,  # [..., n_k, d_v]
    mask: Array | None = None,  # [..., n_q, n_m]
) -> Array:  # [..., n_q, d_v]
    """Each query's mixture of the values: weights softmax(q kᵀ / √d + mask) (Vaswani et al. 2017, eq. 1).

    The mask covers the last `n_m` keys; those before it are open to every query.
    """
    scores = q * (1 / math.sqrt(q.shape[-1])) @ k.swapaxes(-1, -2)
    if mask is not None:
        scores[..., scores.shape[-1] - mask.shape[-1] :] += mask
    return softmax(scores) @ v


def causal_mask(
    n_q: int, n_k: int, n_pad: Ids | None, dtype: npt.DTypeLike
) -> Array:  # [n_q, n_k], with n_pad [batch, 1, n_q, n_k]
    """0 where a query may look and −1e10 where it may not: at later keys, and at a row's `n_pad` pads on its left.

    The queries are the last `n_q` of `n_k` positions: query i stands at position n_k − n_q + i. It is −1e10 and not
    −inf, so that a query which sees nothing (a pad) stays finite.
    """
    visible = np.tri(n_q, n_k, n_k - n_q, dtype=bool)
    if n_pad is not None:
        visible = visible & (np.arange(n_k) >= n_pad[:, None, None, None])
    return np.where(visible, 0, -1e10).astype(dtype)


def causal_attention(
    q: Array,  # [..., n_head, n_q, d_head]
    k: Array,  # [..., n_head, n_k, d_head]
    v: Array,  # [..., n_head, n_k, d_head]
    n_pad: Ids | None = None,  # [batch]
) -> Array:  # [..., n_head, n_q, d_head]
    """Attention to the present and the past only, a block of queries at a time.

    A block reads the keys up to its last query, so of the scores that the mask would hide few are ever computed.
    """
    n_q, n_k = q.shape[-2], k.shape[-2]
    if n_q == 1 and n_pad is None:
        return attention(q, k, v)  # the last position may look at all there is
    if q.ndim == 3:
        return causal_attention(q[None], k[None], v[None])[0]
    out = np.empty_like(q)
    n_rows = max(1, QUERY_BLOCK // n_q)  # of the batch, in one block

    def block(place: tuple[int, int]) -> None:
        row, start = place
        rows, queries = slice(row, row + n_rows), slice(start, start + QUERY_BLOCK)
        q_block = q[rows, :, queries]
        n = q_block.shape[-2]
        n_seen = n_k - n_q + start + n
        n_masked, pads = (n, None) if n_pad is None else (n_seen, n_pad[rows])  # keys before the block are open to it
        mask = causal_mask(n, n_masked, pads, q.dtype)
        out[rows, :, queries] = attention(q_block, k[rows, :, :n_seen], v[rows, :, :n_seen], mask)

    starts = range(0, n_q, QUERY_BLOCK)[::-1]  # the last block has the most keys: begun first, it is not waited for
    each(block, product(range(0, len(q), n_rows), starts), len(q) * n_q > FEW_ROWS)
    return out


def split_heads(x: Array, n_head: int) -> Array:  # [..., n_seq, n_embd] -> [..., n_head, n_seq, d_head]
    return x.reshape(*x.shape[:-1], n_head, -1).swapaxes(-2, -3)


def merge_heads(x: Array) -> Array:  # [..., n_head, n_seq, d_head] -> [..., n_seq, n_embd]
    x = x.swapaxes(-2, -3)
    return x.reshape(*x.shape[:-2], -1)


def mha(
    x: Array, c_attn: Params, c_proj: Params, n_head: int, past: LayerPast | None = None, n_pad: Ids | None = None
) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """Multi-head causal self-attention; with `past`, over its keys and values and then this input's own."""
    heads = split_heads(linear(x, **c_attn), 3 * n_head)  # the queries' heads, the keys' and the values'
    q, k, v = heads[..., :n_head, :, :], heads[..., n_head:-n_head, :, :], heads[..., -n_head:, :, :]
    if past is not None:
        k, v = past.extend(k, v)
    return linear(merge_heads(causal_attention(q, k, v, n_pad)), **c_proj)


def transformer_block(
    x: Array,
    mlp: Params,
    attn: Params,
    ln_1: Params,
    ln_2: Params,
    n_head: int,
    past: LayerPast | None = None,
    n_pad: Ids | None = None,
) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """Attention moves information between positions, the feed-forward network thinks about it at each."""
    x = x + mha(layer_norm(x, **ln_1), **attn, n_head=n_head, past=past, n_pad=n_pad)
    return x + ffn(layer_norm(x, **ln_2), **mlp)


def embed(
    inputs: npt.ArrayLike, wte: Array, wpe: Array, n_past: int = 0, n_pad: Ids | None = None
) -> Array:  # [..., n_seq] -> [..., n_seq, n_embd]
    """What each token is plus where it stands. Positions go on from `n_past`; a row's first real token has position 0.

    Raises `PicoGPTError` for ids outside the vocabulary and for more tokens than the model has positions.
    """
    ids = np.asarray(inputs, dtype=np.int64)
    (n_vocab, _), (n_ctx, _) = wte.shape, wpe.shape
    if ids.size and not 0 <= ids.min() <= ids.max() < n_vocab:
        wrong = ids[(ids < 0) | (ids >= n_vocab)][0]
        raise PicoGPTError(f"token id {wrong} is outside the vocabulary, which has ids 0 to {n_vocab - 1}")
    n_seq = ids.shape[-1]
    if n_past + n_seq > n_ctx:
        raise PicoGPTError(f"{n_past + n_seq} tokens are more than the model's context of {n_ctx}; shorten the input")
    if n_pad is None:
        return wte[ids] + wpe[n_past : n_past + n_seq]
    positions = np.arange(n_past, n_past + n_seq) - n_pad[:, None]
    return wte[ids] + wpe[np.maximum(positions, 0)]


def hidden_states(
    inputs: npt.ArrayLike,
    wte: Array,
    wpe: Array,
    blocks: list[Params],
    ln_f: Params,
    n_head: int,
    *,
    cache: KVCache | None = None,
    n_pad: Ids | None = None,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_embd]
    """The last hidden states, before the projection to the vocabulary. See `gpt2` for the arguments."""
    n_past = cache.length if cache is not None else 0
    x = embed(inputs, wte, wpe, n_past, n_pad)
    n_seq = x.shape[-2]
    pasts = cache.layers(n_seq) if cache is not None else [None] * len(blocks)
    for block, past in zip(blocks, pasts, strict=True):
        x = transformer_block(x, **block, n_head=n_head, past=past, n_pad=n_pad)
    if cache is not None:
        cache.length = n_past + n_seq
    return layer_norm(x, **ln_f)


def gpt2(
    inputs: npt.ArrayLike,
    wte: Array,
    wpe: Array,
    blocks: list[Params],
    ln_f: Params,
    n_head: int,
    *,
    cache: KVCache | None = None,
    n_pad: Ids | None = None,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """Logits of the next token behind every token of `inputs`, ids `[n_seq]` or `[batch, n_seq]`.

    With a `cache` the inputs go on behind what it holds, and are added to it: a sequence may be given whole or in
    any chunks. `n_pad [batch]` counts the pads on the left of each row of a batch whose rows differ in length; the
    logits at pads mean nothing. Raises `PicoGPTError` for ids outside the vocabulary or too many tokens.
    """
    x = hidden_states(inputs, wte, wpe, blocks, ln_f, n_head, cache=cache, n_pad=n_pad)
    return project(x, wte.T)  # the embedding, transposed, is the output projection too
