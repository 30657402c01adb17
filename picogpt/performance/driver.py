"""The forward pass in parts: the formulas of `model.py`, applied to some rows or some queries at a time.

A block is three stages: everything before attention, attention, everything after it. In the first and the last each
position is computed by itself, so they take the positions of a whole batch as rows of one matrix, in parts that stay
in the processor's cache; attention takes a block of queries at a time, with the keys that they may see.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt

from picogpt.cache import KVCache, LayerPast
from picogpt.model import causal_mask, embed, ffn, linear, merge_heads, split_heads
from picogpt.performance.formulas import attention, gelu, layer_norm
from picogpt.performance.pace import pace_of
from picogpt.performance.rowwise import by_rows
from picogpt.performance.threads import each
from picogpt.performance.thresholds import FEW_ROWS, QUERY_BLOCK, ROW_BLOCK
from picogpt.types import Array, Ids, Params

Attend = Callable[[int, Array], Array]  # a block's number, and qkv [n_rows, 3 * n_embd] -> [n_rows, n_embd]


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
    """What `model.hidden_states` gives, up to rounding; only at pads is it something else."""
    x = embed(inputs, wte, wpe, cache.length if cache is not None else 0, n_pad)
    x = through_blocks(x, blocks, n_head, cache.layers(x.shape[-2]) if cache is not None else None, n_pad)
    if cache is not None:
        cache.length += x.shape[-2]
    return final_norm(x, ln_f)


def through_blocks(
    x: Array, blocks: list[Params], n_head: int, pasts: list[LayerPast] | None = None, n_pad: Ids | None = None
) -> Array:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """What the blocks make of hidden states, one after the other."""
    shape = x.shape

    def attend(i: int, qkv: Array) -> Array:  # [n_rows, 3 * n_embd] -> [n_rows, n_embd]
        q, k, v = split_qkv(qkv.reshape(*shape[:-1], -1), n_head)
        if pasts is not None:
            k, v = pasts[i].extend(k, v)
        return rows_of(merge_heads(causal_attention(q, k, v, n_pad)))

    return each_block(rows_of(x), blocks, attend).reshape(shape)


def each_block(x: Array, blocks: list[Params], attend: Attend) -> Array:  # [n_rows, n_embd] -> [n_rows, n_embd]
    """`through_blocks` for positions of any kind as rows of one matrix; what they attend to is `attend`'s affair."""
    with pace_of(*x.shape) as layer_done:
        for i, block in enumerate(blocks):
            qkv = by_rows(partial(before_attention, block), x, n_rows=ROW_BLOCK)
            x = by_rows(partial(after_attention, block), x, attend(i, qkv), n_rows=ROW_BLOCK)
            layer_done()
    return x


def split_qkv(qkv: Array, n_head: int) -> tuple[Array, Array, Array]:  # [..., n_seq, 3 * n_embd]
    """Queries, keys and values, each [..., n_head, n_seq, d_head]."""
    heads = split_heads(qkv, 3 * n_head)
    return heads[..., :n_head, :, :], heads[..., n_head:-n_head, :, :], heads[..., -n_head:, :, :]


def final_norm(x: Array, ln_f: Params) -> Array:  # [..., n_embd] -> [..., n_embd]
    return by_rows(partial(layer_norm, **ln_f), rows_of(x), n_rows=ROW_BLOCK).reshape(x.shape)


def rows_of(x: Array) -> Array:  # [..., n] -> [n_rows, n]
    return x.reshape(-1, x.shape[-1])


def before_attention(block: Params, x: Array) -> Array:  # [n_rows, n_embd] -> [n_rows, 3 * n_embd]
    return linear(layer_norm(x, **block["ln_1"]), **block["attn"]["c_attn"])


def after_attention(block: Params, x: Array, z: Array) -> Array:  # [n_rows, n_embd], the same -> the same
    x = x + linear(z, **block["attn"]["c_proj"])
    return x + ffn(layer_norm(x, **block["ln_2"]), **{"activation": gelu, **block["mlp"]})


def causal_attention(
    q: Array,  # [..., n_head, n_q, d_head]
    k: Array,  # [..., n_head, n_k, d_head]
    v: Array,  # [..., n_head, n_k, d_head]
    n_pad: Ids | None = None,  # [batch]
) -> Array:  # [..., n_head, n_q, d_head]
    """Attention to the present and the past only, a block of queries at a time.

    A block reads the keys up to its last query, so few of the scores that the mask would hide are ever computed.
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
        n_masked = n_seen if n_pad is not None else n  # without pads the keys before the block are open to all of it
        mask = causal_mask(n, n_masked, None if n_pad is None else n_pad[rows])
        out[rows, :, queries] = attention(q_block, k[rows, :, :n_seen], v[rows, :, :n_seen], mask)

    starts = range(0, n_q, QUERY_BLOCK)[::-1]  # the last block has the most keys: started first, nobody waits for it
    each(block, product(range(0, len(q), n_rows), starts), len(q) * n_q > FEW_ROWS)
    return out
