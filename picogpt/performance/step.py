"""The last hidden states of a single position: `hidden_states` of `model.py` once more, for decoding token by token.

Every weight is read for every token, and on their way the weights push all else out of the caches. Each of NumPy's
calls then finds its code and its arrays far away and takes several times as long as in a loop of its own; in the plain
function they are a fifth of a token's time. So here what is not a weight is a vector, and there are as few calls as
can be.
"""

from __future__ import annotations

import math
from inspect import unwrap

import numpy as np
import numpy.typing as npt

from picogpt import model
from picogpt.cache import KVCache
from picogpt.model import linear
from picogpt.performance import formulas
from picogpt.performance.pace import pace_of
from picogpt.types import Array, Params

gelu = unwrap(formulas.gelu)  # the bare formula, without parts for many rows


@np.errstate(over="ignore")  # once, and not for every gelu
def hidden_states(
    inputs: npt.ArrayLike, wte: Array, wpe: Array, blocks: list[Params], ln_f: Params, n_head: int, *, cache: KVCache
) -> Array:  # [..., 1] -> [..., 1, n_embd], of one sequence
    """What `model.hidden_states` gives, up to rounding. The comments name the functions that each part stands for."""
    x = model.embed(inputs, wte, wpe, cache.length)
    cache.check_room(1)
    shape, n_embd, n_past = x.shape, x.shape[-1], cache.length
    qkv_shape = (3, *cache.kv.shape[2:-2], n_embd // n_head)  # [3, ..., n_head, d_head]
    average = np.full(n_embd, 1 / n_embd, x.dtype)  # a dot product is the shortest way to a mean
    x = x.reshape(n_embd)

    def layer_norm(g: Array, b: Array, eps: float = 1e-5) -> Array:
        y = x - x.dot(average)
        y *= 1 / math.sqrt(float(y.dot(y)) / n_embd + eps)
        y *= g
        y += b
        return y

    new, past = cache.kv[..., n_past, :], cache.kv[..., : n_past + 1, :]  # views of every layer's, once
    with pace_of(1, n_embd) as layer_done:
        for block, kv, k_T, v in zip(blocks, new, past[:, 0].swapaxes(-1, -2), past[:, 1], strict=True):
            mlp, attn = block["mlp"], block["attn"]

            qkv = linear(layer_norm(**block["ln_1"]), **attn["c_attn"]).reshape(qkv_shape)  # mha
            kv[:] = qkv[1:]
            q = qkv[0, ..., None, :] * (1 / math.sqrt(qkv.shape[-1]))  # attention
            weights = q @ k_T
            weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)  # softmax, divided by its sum below
            np.exp(weights, out=weights)
            heads = weights @ v
            heads /= np.add.reduce(weights, axis=-1, keepdims=True)
            x += linear(heads.reshape(n_embd), **attn["c_proj"])

            h = linear(layer_norm(**block["ln_2"]), **mlp["c_fc"])  # ffn
            x += linear(mlp.get("activation", gelu)(h), **mlp["c_proj"])
            layer_done()

    cache.length += 1
    return layer_norm(**ln_f).reshape(shape)
