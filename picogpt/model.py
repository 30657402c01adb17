"""GPT-2's forward pass, in plain formulas. Read it from top to bottom.

This is the definition of the model; `picogpt.performance` computes the same numbers faster. A parameter tree has the
names of OpenAI's checkpoint, so that `**block` is the wiring. Arrays are float32 or float64 and stay what they are.
Shapes are written after each signature; `...` stands for no axis or a batch axis.

A `tap(name, array) -> array` sees every intermediate value under its name, and what it returns is used in its place.

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; `src/model.py` of openai/gpt-2,
whose numbers this reproduces; the style is that of jaymody/picoGPT, the names of the values are TransformerLens's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from picogpt.cache import KVCache, LayerPast
from picogpt.errors import PicoGPTError
from picogpt.types import Array, Ids, Params, Tap


def gelu(x: Array) -> Array:  # [...] -> [...]
    """Gaussian error linear unit, in the tanh form that GPT-2 was trained with (Hendrycks & Gimpel 2016)."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def softmax(x: Array) -> Array:  # [..., n] -> [..., n]
    """Exponentials that sum to one along the last axis; the maximum is subtracted so that none overflows."""
    exp_x = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return exp_x / np.sum(exp_x, axis=-1, keepdims=True)


def layer_norm(x: Array, g: Array, b: Array, eps: float = 1e-5) -> Array:  # [..., n_embd] -> [..., n_embd]
    """Mean 0 and variance 1 along the last axis, then scale by g and shift by b (Ba et al. 2016)."""
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.var(x, axis=-1, keepdims=True)
    return g * (x - mean) / np.sqrt(variance + eps) + b


def linear(x: Array, w: Array, b: Array) -> Array:  # [..., n_in], [n_in, n_out], [n_out] -> [..., n_out]
    return x @ w + b


def as_is(name: str, array: Array) -> Array:
    """The tap that changes nothing."""
    return array


def ffn(
    x: Array, c_fc: Params, c_proj: Params, activation: Callable[[Array], Array] = gelu, tap: Tap = as_is
) -> Array:  # [..., n_embd] -> [..., n_embd]
    """The feed-forward network: up to four times the width, gelu, and down again, each position by itself."""
    hidden = tap("mlp.pre", linear(x, **c_fc))
    return linear(tap("mlp.post", activation(hidden)), **c_proj)


def causal_mask(n_q: int, n_k: int, n_pad: Ids | None = None) -> Array:  # -> [n_q, n_k] or [batch, 1, n_q, n_k]
    """0 where a query may look and −1e10 where it may not: at later keys, and at a row's `n_pad` pads on its left.

    The queries are the last `n_q` of `n_k` positions: query i is at position n_k − n_q + i. It is −1e10 and not −inf,
    so that a query which sees nothing (a pad) stays finite.
    """
    visible = np.tri(n_q, n_k, n_k - n_q, dtype=bool)
    if n_pad is not None:
        visible = visible & (np.arange(n_k) >= n_pad[:, None, None, None])
    return np.where(visible, np.float32(0), np.float32(-1e10))


def attention(q: Array, k: Array, v: Array, mask: Array | float = 0.0, tap: Tap = as_is) -> Array:
    # [..., n_q, d], [..., n_k, d], [..., n_k, d_v], [..., n_q, n_k] -> [..., n_q, d_v]
    """Each query's mixture of the values, by softmax(q kᵀ / √d + mask) (Vaswani et al. 2017, eq. 1)."""
    scores = tap("attn.scores", q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + mask)
    pattern = tap("attn.pattern", softmax(scores))
    return tap("attn.z", pattern @ v)


def split_heads(x: Array, n_head: int) -> Array:  # [..., n_seq, n_embd] -> [..., n_head, n_seq, d_head]
    return x.reshape(*x.shape[:-1], n_head, -1).swapaxes(-2, -3)


def merge_heads(x: Array) -> Array:  # [..., n_head, n_seq, d_head] -> [..., n_seq, n_embd]
    x = x.swapaxes(-2, -3)
    return x.reshape(*x.shape[:-2], -1)


def mha(
    x: Array,
    c_attn: Params,
    c_proj: Params,
    n_head: int,
    past: LayerPast | None = None,
    n_pad: Ids | None = None,
    tap: Tap = as_is,
) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """Multi-head causal self-attention; with `past`, over its keys and values and then this input's own."""
    qkv = np.split(linear(x, **c_attn), 3, axis=-1)
    q, k, v = (tap(f"attn.{name}", split_heads(part, n_head)) for name, part in zip("qkv", qkv, strict=True))
    if past is not None:
        k, v = past.extend(k, v)
    mask = causal_mask(q.shape[-2], k.shape[-2], n_pad)
    return linear(merge_heads(attention(q, k, v, mask, tap)), **c_proj)


def transformer_block(
    x: Array,
    mlp: Params,
    attn: Params,
    ln_1: Params,
    ln_2: Params,
    n_head: int,
    past: LayerPast | None = None,
    n_pad: Ids | None = None,
    tap: Tap = as_is,
) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """Attention moves information between positions; the feed-forward network works on each position alone."""
    x = tap("resid_pre", x)
    normed = tap("ln1.normalized", layer_norm(x, **ln_1))
    x = tap("resid_mid", x + tap("attn_out", mha(normed, **attn, n_head=n_head, past=past, n_pad=n_pad, tap=tap)))
    normed = tap("ln2.normalized", layer_norm(x, **ln_2))
    return tap("resid_post", x + tap("mlp_out", ffn(normed, **mlp, tap=tap)))


def embed(
    inputs: npt.ArrayLike, wte: Array, wpe: Array, n_past: int = 0, n_pad: Ids | None = None, tap: Tap = as_is
) -> Array:  # [..., n_seq] -> [..., n_seq, n_embd]
    """What each token is plus where it is. Positions continue from `n_past`; a row's first real token has position 0.

    Raises `PicoGPTError` for text, for ids outside the vocabulary, and for more tokens than the model has positions.
    """
    ids = in_vocabulary(as_ids(inputs), wte.shape[0])
    n_ctx, n_seq = len(wpe), ids.shape[-1]
    if n_past + n_seq > n_ctx:
        raise PicoGPTError(f"{n_past + n_seq} tokens are more than the model's context of {n_ctx}; shorten the input")
    if n_pad is None:
        return tap("embed", wte[ids]) + tap("pos_embed", wpe[n_past : n_past + n_seq])
    positions = np.arange(n_past, n_past + n_seq) - n_pad[:, None]
    return tap("embed", wte[ids]) + tap("pos_embed", wpe[np.maximum(positions, 0)])


def as_ids(inputs: npt.ArrayLike) -> npt.NDArray[np.int64]:  # [..., n_seq]
    """Token ids as an array; raises `PicoGPTError` for anything that is not one or more rows of whole numbers."""
    try:
        ids = np.asarray(inputs)
    except ValueError:
        raise PicoGPTError("the rows of ids differ in length; pad them on the left and give n_pad") from None
    if ids.dtype.kind in "US":
        raise PicoGPTError("the inputs are text, and the model reads token ids: encoder.encode(text) gives them")
    if ids.ndim == 0 or (ids.size and ids.dtype.kind not in "iu"):
        raise PicoGPTError(f"the inputs must be whole numbers, in a row or in equal rows, not {ids.dtype} {ids.shape}")
    return ids.astype(np.int64, copy=False)


def in_vocabulary(ids: Ids, n_vocab: int) -> Ids:
    """The ids; raises `PicoGPTError` for one outside the vocabulary."""
    if ids.size and not 0 <= ids.min() <= ids.max() < n_vocab:
        wrong = ids[(ids < 0) | (ids >= n_vocab)][0]
        raise PicoGPTError(f"token id {wrong} is outside the vocabulary, which has ids 0 to {n_vocab - 1}")
    return ids


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
    tap: Tap = as_is,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_embd]
    """The last hidden states, before the projection to the vocabulary. See `gpt2` for the arguments."""
    n_past = cache.length if cache is not None else 0
    x = embed(inputs, wte, wpe, n_past, n_pad, tap)
    pasts = cache.layers(x.shape[-2]) if cache is not None else [None] * len(blocks)
    for i, (block, past) in enumerate(zip(blocks, pasts, strict=True)):
        x = transformer_block(x, **block, n_head=n_head, past=past, n_pad=n_pad, tap=within(f"blocks.{i}.", tap))
    if cache is not None:
        cache.length += x.shape[-2]
    return tap("ln_final.normalized", layer_norm(x, **ln_f))


def within(place: str, tap: Tap) -> Tap:
    """A tap that puts `place` before every name."""
    return tap if tap is as_is else lambda name, array: tap(place + name, array)


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
    tap: Tap = as_is,
) -> Array:  # [..., n_seq] -> [..., n_seq, n_vocab]
    """Logits of the next token after every token of `inputs`, ids `[n_seq]` or `[batch, n_seq]`.

    With a `cache` the inputs continue what it holds, and are added to it: a sequence may be given whole or in any
    chunks. `n_pad [batch]` counts the pads on the left of each row of a batch whose rows differ in length; the logits
    at pads mean nothing. Raises `PicoGPTError` for ids outside the vocabulary or too many tokens.
    """
    x = hidden_states(inputs, wte, wpe, blocks, ln_f, n_head, cache=cache, n_pad=n_pad, tap=tap)
    return tap("logits", x @ wte.T)  # the embedding, transposed, is the output projection too
