"""The last hidden states of rows that have nothing in common but the model: each has a cache and a length of its own.

Some read one token after their past, others a piece of a prompt. In the layers their tokens are rows of one matrix, so
that every weight is read once for all of them; in attention each row sees its own past, and no one computes pads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from picogpt.cache import KVCache
from picogpt.model import embed, merge_heads
from picogpt.performance.driver import causal_attention, each_block, final_norm, split_qkv
from picogpt.types import Array, Ids, Params


def hidden_states(
    inputs: Sequence[Ids],
    wte: Array,
    wpe: Array,
    blocks: list[Params],
    ln_f: Params,
    n_head: int,
    *,
    caches: Sequence[KVCache],
) -> list[Array]:  # [n_seq] each -> [n_seq, n_embd] each
    """What `model.hidden_states` gives for each row after its cache (without a batch axis), up to rounding."""
    x = np.concatenate([embed(ids, wte, wpe, cache.length) for ids, cache in zip(inputs, caches, strict=True)])
    ends = list(accumulate(map(len, inputs)))
    pieces = []
    alike = defaultdict(list)  # rows with a single query, by the power of two that their lengths reach
    for ids, cache, end in zip(inputs, caches, ends, strict=True):
        if len(ids) == 1:
            cache.check_room(1)
            alike[cache.length.bit_length()].append((end - 1, cache))
        else:
            pieces.append((slice(end - len(ids), end), cache.layers(len(ids))))
    groups = [SingleQueries(places, n_head) for places in alike.values()]

    def attend(i: int, qkv: Array) -> Array:  # [n_rows, 3 * n_embd] -> [n_rows, n_embd]
        z = np.empty_like(x)
        q, k, v = split_qkv(qkv, n_head)
        for place, pasts in pieces:
            past_and_new = pasts[i].extend(k[:, place], v[:, place])
            z[place] = merge_heads(causal_attention(q[:, place], *past_and_new))
        for group in groups:
            z[group.places] = group.attend(i, qkv[group.places])
        return z

    x = each_block(x, blocks, attend)
    for ids, cache in zip(inputs, caches, strict=True):
        cache.length += len(ids)
    return np.split(final_norm(x, ln_f), ends[:-1])


class SingleQueries:
    """Attention of rows with one new position each, whose lengths differ by less than a factor of two.

    Products are each row's own; what lies between them, where a call costs more than its arithmetic, is done for all
    rows at once. There the scores of shorter rows end in −inf.
    """

    def __init__(self, rows: Sequence[tuple[int, KVCache]], n_head: int) -> None:
        self.places = [place for place, _ in rows]
        caches = [cache for _, cache in rows]
        lengths = np.array([cache.length + 1 for cache in caches])
        dtype = caches[0].kv.dtype
        self.scores = np.zeros((len(rows), n_head, 1, lengths.max()), dtype)
        self.mask = np.where(np.arange(lengths.max()) < lengths[:, None, None, None], 0, -np.inf).astype(dtype)
        self.rows = [  # each row's scores, and of every layer: where the new key and value belong, kᵀ, v
            (scores[..., :n], list(kv[..., n - 1, :]), list(kv[:, 0, :, :n].swapaxes(-1, -2)), list(kv[:, 1, :, :n]))
            for scores, kv, n in zip(self.scores, (cache.kv for cache in caches), lengths.tolist(), strict=True)
        ]

    def attend(self, i: int, qkv: Array) -> Array:  # [n_rows, 3 * n_embd] -> [n_rows, n_embd], in block i
        n_rows, n_head = self.scores.shape[:2]
        qkv = qkv.reshape(n_rows, 3, n_head, -1)
        q = qkv[:, 0, :, None] * (1 / math.sqrt(qkv.shape[-1]))
        for q_row, kv, (scores, new, k_T, _) in zip(q, qkv[:, 1:], self.rows, strict=True):
            new[i][:] = kv
            np.matmul(q_row, k_T[i], out=scores)
        weights = self.scores
        weights += self.mask
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)  # of −inf it is 0, so that the masked places are 0 again for the next layer
        heads = np.empty_like(q)
        for heads_row, (row_weights, _, _, v) in zip(heads, self.rows, strict=True):
            np.matmul(row_weights, v[i], out=heads_row)
        heads /= np.add.reduce(weights, axis=-1, keepdims=True)
        return heads.reshape(n_rows, -1)
