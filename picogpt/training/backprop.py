"""GPT-2's gradients: the functions of `model.py` again, in the same order, each with its way back.

Every function returns what its namesake in `model.py` returns, and `backward`, which takes the gradient of the loss
with respect to that output and returns those with respect to the inputs, in the order and the tree of the arguments.
The gradient of x is called dx. `backward` keeps what it needs of the forward pass until it is dropped.

Sources: Rumelhart et al. 1986 for the idea; the names and the order are those of `train_gpt2.c` in karpathy/llm.c.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from picogpt import model
from picogpt.model import causal_mask, merge_heads, split_heads
from picogpt.performance import driver, formulas
from picogpt.performance.rowwise import rowwise
from picogpt.performance.thresholds import GELU_BLOCK, QUERY_BLOCK, ROW_BLOCK
from picogpt.types import Array, Ids, Params

Back = Callable[[Array], Array]  # dy -> dx
BackLayer = Callable[[Array], tuple[Array, Params]]  # dy -> dx, and the gradients of the layer's parameters
BackAttention = Callable[[Array], tuple[Array, Array, Array]]  # dy -> dq, dk, dv
Drop = Callable[[Array], tuple[Array, Back]]

layer_norm_forward, linear_forward = rowwise(ROW_BLOCK)(formulas.layer_norm), rowwise(ROW_BLOCK)(model.linear)

LOGITS_AT_ONCE = 1 << 18  # 1 MB of float32, and as much for their gradients: they stay in the cache


def gelu(x: Array) -> tuple[Array, Back]:  # [...] -> [...]
    return formulas.gelu(x), lambda dy: dy * gelu_slope(x)


@rowwise(GELU_BLOCK)
def gelu_slope(x: Array) -> Array:  # [...] -> [...]
    """gelu(x) is x σ(2u) with 2u = c (x + 0.044715 x³), so its slope is σ + x σ (1 − σ) 2u'."""
    c = 2 * math.sqrt(2 / math.pi)
    square = x * x
    with np.errstate(over="ignore"):  # as in gelu
        sigma = 1 / (1 + np.exp(-c * x * (1 + 0.044715 * square)))
    return sigma * (1 + x * (1 - sigma) * (c + 3 * 0.044715 * c * square))


def dsoftmax(dy: Array, y: Array) -> Array:  # [..., n], [..., n] -> [..., n]
    """The gradient with respect to the softmax's input, from its output y: y (dy − Σ y dy)."""
    dx = dy - np.einsum("...i,...i->...", y, dy)[..., None]
    dx *= y
    return dx


def layer_norm(
    x: Array, g: Array, b: Array, eps: float = 1e-5
) -> tuple[Array, BackLayer]:  # [..., n_embd] -> [..., n_embd]
    """What the norm removes from x the gradient loses too: its mean, and its part along the normalized x."""

    def backward(dy: Array) -> tuple[Array, Params]:
        centred = x - mean(x)
        std = np.sqrt(mean(centred * centred) + eps)
        normed = centred / std
        dnormed = dy * g
        dx = (dnormed - mean(dnormed) - normed * mean(dnormed * normed)) / std
        return dx, {"g": rows(dy * normed).sum(axis=0), "b": rows(dy).sum(axis=0)}

    return layer_norm_forward(x, g, b, eps), backward


def linear(x: Array, w: Array, b: Array) -> tuple[Array, BackLayer]:  # [..., n_in] -> [..., n_out]
    def backward(dy: Array) -> tuple[Array, Params]:
        return times(dy, w.T), {"w": rows(x).T @ rows(dy), "b": rows(dy).sum(axis=0)}

    return linear_forward(x, w, b), backward


@rowwise(ROW_BLOCK)
def times(x: Array, w: Array) -> Array:  # [..., n_in], [n_in, n_out] -> [..., n_out]
    return x @ w


def mean(x: Array) -> Array:  # [..., n] -> [..., 1]
    return x.sum(axis=-1, keepdims=True) / x.shape[-1]  # np.mean takes five times as long over one row


def rows(x: Array) -> Array:  # [..., n] -> [n_rows, n]
    return x.reshape(-1, x.shape[-1])


def ffn(x: Array, c_fc: Params, c_proj: Params) -> tuple[Array, BackLayer]:  # [..., n_embd] -> [..., n_embd]
    h, back_c_fc = linear(x, **c_fc)
    a, back_gelu = gelu(h)
    y, back_c_proj = linear(a, **c_proj)

    def backward(dy: Array) -> tuple[Array, Params]:
        da, dc_proj = back_c_proj(dy)
        dx, dc_fc = back_c_fc(back_gelu(da))
        return dx, {"c_fc": dc_fc, "c_proj": dc_proj}

    return y, backward


def attention(
    q: Array,  # [..., n_q, d]
    k: Array,  # [..., n_k, d]
    v: Array,  # [..., n_k, d_v]
    mask: Array | None = None,  # [..., n_q, n_m]
) -> tuple[Array, BackAttention]:  # [..., n_q, d_v]
    return formulas.attention(q, k, v, mask), lambda dy: dattention(dy, q, k, v, mask)


def dattention(dy: Array, q: Array, k: Array, v: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """The weights [..., n_q, n_k] are recomputed: kept from the forward pass, they would fill the memory."""
    scale = 1 / math.sqrt(q.shape[-1])
    weights = formulas.attention_pattern(q, k, mask)
    dscores = dsoftmax(dy @ v.swapaxes(-1, -2), weights) * scale
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ dy


def causal_attention(
    q: Array, k: Array, v: Array
) -> tuple[Array, BackAttention]:  # [..., n_head, n_seq, d_head], all of them
    """As in the forward pass, a block of queries at a time; a key's gradient is the sum over the blocks that see it."""

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
        n_seq = q.shape[-2]
        for start in range(0, n_seq, QUERY_BLOCK):
            end = min(start + QUERY_BLOCK, n_seq)
            mask = causal_mask(end - start, end - start)
            for row in np.ndindex(q.shape[:-3]):  # one sequence at a time, since its scores just fit the cache
                queries, keys = (*row, slice(None), slice(start, end)), (*row, slice(None), slice(end))
                dq[queries], dk_seen, dv_seen = dattention(dy[queries], q[queries], k[keys], v[keys], mask)
                dk[keys] += dk_seen
                dv[keys] += dv_seen
        return dq, dk, dv

    return driver.causal_attention(q, k, v), backward


def mha(
    x: Array, c_attn: Params, c_proj: Params, n_head: int
) -> tuple[Array, BackLayer]:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    qkv, back_c_attn = linear(x, **c_attn)
    heads, back_attention = causal_attention(*(split_heads(part, n_head) for part in np.split(qkv, 3, axis=-1)))
    y, back_c_proj = linear(merge_heads(heads), **c_proj)

    def backward(dy: Array) -> tuple[Array, Params]:
        dmerged, dc_proj = back_c_proj(dy)
        dqkv = np.concatenate([merge_heads(d) for d in back_attention(split_heads(dmerged, n_head))], axis=-1)
        dx, dc_attn = back_c_attn(dqkv)
        return dx, {"c_attn": dc_attn, "c_proj": dc_proj}

    return y, backward


def dropout(x: Array, rate: float, rng: np.random.Generator) -> tuple[Array, Back]:  # [...] -> [...]
    """Zero a share `rate` of the elements, to 1/65536, and scale the others so that the mean stays.

    Srivastava et al. 2014.
    """
    n_dropped = round(rate * 65536)
    keep = np.frombuffer(rng.bytes(2 * x.size), np.uint16).reshape(x.shape) >= n_dropped
    scaled = keep * x.dtype.type(65536 / (65536 - n_dropped))
    return x * scaled, lambda dy: dy * scaled


def no_dropout(x: Array) -> tuple[Array, Back]:  # [...] -> [...]
    return x, lambda dy: dy


def transformer_block(
    x: Array, mlp: Params, attn: Params, ln_1: Params, ln_2: Params, n_head: int, drop: Drop = no_dropout
) -> tuple[Array, BackLayer]:  # [..., n_seq, n_embd] -> [..., n_seq, n_embd]
    """Along a residual connection the gradient passes as it is; each branch adds its own. `drop` thins the branches."""
    normed, back_ln_1 = layer_norm(x, **ln_1)
    moved, back_mha = mha(normed, **attn, n_head=n_head)
    moved, back_drop_1 = drop(moved)
    x = x + moved
    normed, back_ln_2 = layer_norm(x, **ln_2)
    thought, back_ffn = ffn(normed, **mlp)
    thought, back_drop_2 = drop(thought)

    def backward(dy: Array) -> tuple[Array, Params]:
        dnormed, dmlp = back_ffn(back_drop_2(dy))
        dx, dln_2 = back_ln_2(dnormed)
        dx += dy
        dnormed, dattn = back_mha(back_drop_1(dx))
        dbranch, dln_1 = back_ln_1(dnormed)
        dx += dbranch
        return dx, {"mlp": dmlp, "attn": dattn, "ln_1": dln_1, "ln_2": dln_2}

    return x + thought, backward


def embed(ids: Ids, wte: Array, wpe: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    # [..., n_seq] -> [..., n_seq, n_embd]
    """A row of wte gets the sum over the places where its token stands, a row of wpe the sum over the batch."""

    def backward(dy: Array) -> tuple[Array, Array]:
        dwte, dwpe = np.zeros_like(wte), np.zeros_like(wpe)
        order = np.argsort(ids, axis=None, kind="stable")
        tokens, starts = np.unique(ids.reshape(-1)[order], return_index=True)
        dwte[tokens] = np.add.reduceat(rows(dy)[order], starts, axis=0)
        n_seq = ids.shape[-1]
        dwpe[:n_seq] = dy.reshape(-1, n_seq, dy.shape[-1]).sum(axis=0)
        return dwte, dwpe

    return model.embed(ids, wte, wpe), backward


def cross_entropy(logits: Array, targets: Ids) -> tuple[float, Array]:  # [..., n_vocab], [...] -> [], [..., n_vocab]
    """The mean of −log p(target) in nats, and its gradient with respect to the logits: softmax, less 1 at targets."""
    shifted = rows(logits) - np.max(rows(logits), axis=-1, keepdims=True)
    at_targets = np.arange(targets.size), targets.reshape(-1)
    dlogits = np.exp(shifted)
    total = np.sum(dlogits, axis=-1)
    # not log(p), which is infinite where p is too small for a float
    loss = float(np.mean(np.log(total) - shifted[at_targets], dtype=np.float64))
    dlogits /= total[:, None]
    dlogits[at_targets] -= 1
    dlogits /= targets.size
    return loss, dlogits.reshape(logits.shape)


def projected_cross_entropy(x: Array, wte: Array, targets: Ids) -> tuple[float, Array, Array]:
    """`cross_entropy` of the logits x wteᵀ, and its gradients with respect to x [..., n_seq, n_embd] and wte.

    Logits are n_vocab wide. They are made and used up for some positions at a time, and never kept.
    """
    loss, dx, dwte = 0.0, np.empty_like(x), np.zeros_like(wte)
    n_at_once = max(1, LOGITS_AT_ONCE // len(wte))
    for start in range(0, targets.size, n_at_once):
        part = slice(start, start + n_at_once)
        x_part, targets_part = rows(x)[part], targets.reshape(-1)[part]
        part_loss, dlogits = cross_entropy(x_part @ wte.T, targets_part)
        share = len(targets_part) / targets.size
        loss += share * part_loss
        dlogits *= share
        rows(dx)[part] = dlogits @ wte
        dwte += dlogits.T @ x_part
    return loss, dx, dwte


def loss_and_grads(
    params: Params, inputs: Ids, targets: Ids, n_head: int, drop: Drop = no_dropout
) -> tuple[float, Params]:
    """The mean loss in nats of predicting `targets` from `inputs`, both [..., n_seq], and its gradient
    with respect to `params`.

    The gradients stand in the same tree as the parameters; wte's holds both its uses, as embedding and as output
    projection. `drop` is applied to the embeddings and to what every branch adds, as in GPT-2.
    """
    x, back_embed = embed(inputs, params["wte"], params["wpe"])
    x, back_drop = drop(x)
    back_blocks = []
    for block in params["blocks"]:
        x, back_block = transformer_block(x, **block, n_head=n_head, drop=drop)
        back_blocks.append(back_block)
    x, back_ln_f = layer_norm(x, **params["ln_f"])
    loss, dx, dwte_as_projection = projected_cross_entropy(x, params["wte"], targets)
    dx, dln_f = back_ln_f(dx)
    dblocks = []
    while back_blocks:  # popped, so that what a block has kept is freed when it has been used
        dx, dblock = back_blocks.pop()(dx)
        dblocks.append(dblock)
    dwte, dwpe = back_embed(back_drop(dx))
    return loss, {"wte": dwte + dwte_as_projection, "wpe": dwpe, "blocks": dblocks[::-1], "ln_f": dln_f}
