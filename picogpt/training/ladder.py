"""From a table of pairs to GPT-2, one idea at a time. Every rung has the same four things:

    init(rng) -> params                                   a new model
    forward(params, ids) -> logits                        [..., n_seq] -> [..., n_seq, n_vocab]
    loss_and_grads(params, inputs, targets)               the mean loss in nats, and its gradient by the params
    generate(rung, params, ids, n_tokens, rng) -> ids     the same for all of them

    Bigram          the next token from this one, by a table
    Embedding       the same, through a vector for each token
    Positions       and where it stands
    Averaging       and the mean of what came before
    SelfAttention   and of the past what fits
    GPT2            many heads, residuals, norms, a feed-forward network, in layers

Before the rungs stand the ideas that make them: `count_bigrams`, four ways to average the past, `self_attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from picogpt import model, performance
from picogpt.model import attention, causal_mask, linear, softmax
from picogpt.training import backprop
from picogpt.training.backprop import cross_entropy
from picogpt.training.trainer import Settings, State, init_params, training_steps
from picogpt.types import Array, HParams, Ids, Params


def count_bigrams(ids: Ids, n_vocab: int, smoothing: float = 0.0) -> Array:  # [n_ids] -> [n_vocab, n_vocab]
    """count(a, b) / count(a): how often b follows a. The table that the bigram model's softmax comes to by training.

    `smoothing` is added to each count; without it a pair that was never seen has no chance, and an infinite loss.
    """
    counts = np.full((n_vocab, n_vocab), smoothing)
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)


def average_by_loops(x: Array) -> Array:  # [n_seq, n_embd] -> [n_seq, n_embd]
    """Each position becomes the mean of itself and all before it."""
    y = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(i + 1):
            y[i] += x[j] / (i + 1)
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
) -> Array:  # [..., n_seq, d]
    """One head: softmax(Q Kᵀ / √d) V, where Q says what a position looks for, K what it has, V what it gives.

    Masked as in a decoder, or without the mask as in an encoder. With a `source` it is cross-attention: keys and
    values come from there, all of it open to every query.
    """
    mask = causal_mask(x.shape[-2], x.shape[-2]) if causal and source is None else 0.0
    source = x if source is None else source
    return attention(linear(x, **query), linear(source, **key), linear(source, **value), mask)


def sinusoidal_positions(n_ctx: int, n_embd: int) -> Array:  # -> [n_ctx, n_embd]
    """Positions that need no training: sines and cosines, each pair slower than the last (Vaswani et al. 2017)."""
    angles = np.arange(n_ctx)[:, None] / 10000 ** (np.arange(0, n_embd, 2) / n_embd)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(n_ctx, -1)[:, :n_embd].astype(np.float32)


BackToXAndParams = Callable[[Array], tuple[Array, Params]]


class Rung(Protocol):
    """A model on the ladder."""

    @property
    def n_ctx(self) -> int:
        """How many ids it can be given at most."""

    def init(self, rng: np.random.Generator) -> Params: ...

    def forward(self, params: Params, ids: Ids) -> Array: ...  # [..., n_seq] -> [..., n_seq, n_vocab]

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]: ...


def generate(rung: Rung, params: Params, ids: list[int], n_tokens: int, rng: np.random.Generator) -> list[int]:
    """`n_tokens` ids that follow `ids`, each drawn from the model's prediction after the last n_ctx of them."""
    written = list(ids)
    for _ in range(n_tokens):
        logits = rung.forward(params, np.array(written[-rung.n_ctx :]))[-1]
        written.append(int(rng.choice(len(logits), p=softmax(logits.astype(np.float64)))))
    return written[len(ids) :]


def normal(rng: np.random.Generator, *shape: int, deviation: float = 0.02) -> Array:
    return rng.standard_normal(shape, np.float32) * np.float32(deviation)


def new_linear(rng: np.random.Generator, n_in: int, n_out: int) -> Params:
    return {"w": normal(rng, n_in, n_out), "b": np.zeros(n_out, np.float32)}


@dataclass(frozen=True)
class Bigram:
    """The next token depends on this one alone: row a of a table holds the logits of what follows a."""

    n_vocab: int
    n_ctx: int
    deviation: float = 0.02  # of the new table; with 1 a new model is surer of itself than it should be

    def init(self, rng: np.random.Generator) -> Params:
        return {"table": normal(rng, self.n_vocab, self.n_vocab, deviation=self.deviation)}

    def forward(self, params: Params, ids: Ids) -> Array:
        return params["table"][ids]

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]:
        loss, dlogits = cross_entropy(self.forward(params, inputs), targets)
        dtable = np.zeros_like(params["table"])
        np.add.at(dtable, inputs, dlogits)
        return loss, {"table": dtable}


@dataclass(frozen=True)
class Embedding:
    """A vector for each token, and from it, by a linear layer called the head, the logits of the next."""

    n_vocab: int
    n_ctx: int
    n_embd: int

    def init(self, rng: np.random.Generator) -> Params:
        return {"wte": normal(rng, self.n_vocab, self.n_embd), "head": new_linear(rng, self.n_embd, self.n_vocab)}

    def forward(self, params: Params, ids: Ids) -> Array:
        return linear(params["wte"][ids], **params["head"])

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]:
        logits, back_head = backprop.linear(params["wte"][inputs], **params["head"])
        loss, dlogits = cross_entropy(logits, targets)
        dx, dhead = back_head(dlogits)
        dwte = np.zeros_like(params["wte"])
        np.add.at(dwte, inputs, dx)
        return loss, {"wte": dwte, "head": dhead}


@dataclass(frozen=True)
class Positions:
    """A second vector, for the place where the token stands, is added to the first."""

    n_vocab: int
    n_ctx: int
    n_embd: int

    def init(self, rng: np.random.Generator) -> Params:
        return {
            "wte": normal(rng, self.n_vocab, self.n_embd),
            "wpe": normal(rng, self.n_ctx, self.n_embd),
            "head": new_linear(rng, self.n_embd, self.n_vocab),
        }

    def mix(self, x: Array, params: Params) -> tuple[Array, BackToXAndParams]:
        """What a position takes from the others, here nothing; and the way back from there."""
        return x, lambda dy: (dy, {})

    def forward(self, params: Params, ids: Ids) -> Array:
        mixed, _ = self.mix(model.embed(ids, params["wte"], params["wpe"]), params)
        return linear(mixed, **params["head"])

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]:
        x, back_embed = backprop.embed(inputs, params["wte"], params["wpe"])
        mixed, back_mix = self.mix(x, params)
        logits, back_head = backprop.linear(mixed, **params["head"])
        loss, dlogits = cross_entropy(logits, targets)
        dmixed, dhead = back_head(dlogits)
        dx, dmix = back_mix(dmixed)
        dwte, dwpe = back_embed(dx)
        return loss, {"wte": dwte, "wpe": dwpe, "head": dhead, **dmix}


@dataclass(frozen=True)
class Averaging(Positions):
    """Each position sees the mean of itself and its past, and no longer itself alone."""

    def mix(self, x: Array, params: Params) -> tuple[Array, BackToXAndParams]:
        weights = average_by_matrix(np.eye(x.shape[-2], dtype=x.dtype))
        return weights @ x, lambda dy: (weights.T @ dy, {})


@dataclass(frozen=True)
class SelfAttention(Positions):
    """Each position chooses what it takes from its past, and adds it to what it has."""

    def init(self, rng: np.random.Generator) -> Params:
        layers = {name: new_linear(rng, self.n_embd, self.n_embd) for name in ("query", "key", "value")}
        return {**super().init(rng), "attention": layers}

    def mix(self, x: Array, params: Params) -> tuple[Array, BackToXAndParams]:
        q, back_query = backprop.linear(x, **params["attention"]["query"])
        k, back_key = backprop.linear(x, **params["attention"]["key"])
        v, back_value = backprop.linear(x, **params["attention"]["value"])
        y, back_attention = backprop.attention(q, k, v, causal_mask(x.shape[-2], x.shape[-2]))

        def backward(dy: Array) -> tuple[Array, Params]:
            dq, dk, dv = back_attention(dy)
            (from_q, dquery), (from_k, dkey), (from_v, dvalue) = back_query(dq), back_key(dk), back_value(dv)
            return dy + from_q + from_k + from_v, {"attention": {"query": dquery, "key": dkey, "value": dvalue}}

        return x + y, backward


@dataclass(frozen=True)
class GPT2:
    """The top: `model.py`'s own forward pass."""

    hparams: HParams

    @property
    def n_ctx(self) -> int:
        return self.hparams["n_ctx"]

    def init(self, rng: np.random.Generator) -> Params:
        return init_params(self.hparams, rng)

    def forward(self, params: Params, ids: Ids) -> Array:
        return performance.gpt2(ids, **params, n_head=self.hparams["n_head"])

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]:
        return backprop.loss_and_grads(params, inputs, targets, self.hparams["n_head"])


def rungs(n_vocab: int, n_ctx: int = 64, n_embd: int = 64) -> dict[str, Rung]:
    """The whole ladder, from the ground up."""
    hparams = {"n_vocab": n_vocab, "n_ctx": n_ctx, "n_embd": n_embd, "n_head": 4, "n_layer": 2}
    return {
        "bigram": Bigram(n_vocab, n_ctx),
        "embedding": Embedding(n_vocab, n_ctx, n_embd),
        "+ positions": Positions(n_vocab, n_ctx, n_embd),
        "+ averaged past": Averaging(n_vocab, n_ctx, n_embd),
        "+ self-attention": SelfAttention(n_vocab, n_ctx, n_embd),
        "GPT-2": GPT2(hparams),
    }


def train(rung: Rung, ids: Ids, settings: Settings) -> tuple[Params, list[float]]:
    """A new model of this rung after training on `ids`, and its loss in nats at every step."""

    def loss_and_grads(params: Params, inputs: Ids, targets: Ids, _: np.random.Generator) -> tuple[float, Params]:
        return rung.loss_and_grads(params, inputs, targets)

    state = State.start(rung.init(np.random.default_rng(settings.seed)), settings)
    steps = training_steps(state, ids, rung.n_ctx, loss_and_grads, settings)
    losses = [step.loss for step in steps]
    return state.params, losses
