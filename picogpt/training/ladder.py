"""From a table of pairs to GPT-2, one idea at a time. Every rung has the same four things:

    init(rng) -> params                                   a new model
    forward(params, ids) -> logits                        [..., n_seq] -> [..., n_seq, n_vocab]
    loss_and_grads(params, inputs, targets)               the mean loss in nats, and its gradient by the params
    generate(rung, params, ids, n_tokens, rng) -> ids     the same for all of them

Courses climb the same ladder, without residuals, and with positions at the end only. Their models are here too:

    GPTVer1               Bigram(n_vocab, n_ctx, deviation=1.0)
    GPTVer2, HeadVer1–3   Averaging(n_vocab, n_ctx, n_embd)
    GPTVer2, HeadVer4     SelfAttention(n_vocab, n_ctx, n_embd)
    GPTVer3               SelfAttention(n_vocab, n_ctx, n_embd, positions=True)

They start from torch's new layers, whose parameters `torch_random.Generator` gives; their query, key and value have no
biases, which here begin as zeros. `picogpt.training.ideas` has what stands before the rungs: counted pairs, four ways
to average the past, self-attention as one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from picogpt import model, performance
from picogpt.checkpoints import flatten, nest
from picogpt.files import replacing
from picogpt.model import causal_mask, linear, softmax
from picogpt.training import backprop, torch_random
from picogpt.training.backprop import cross_entropy
from picogpt.training.ideas import average_by_matrix
from picogpt.training.trainer import Settings, State, Step, init_params, training_steps
from picogpt.types import Array, HParams, Ids, Params

BackToXAndParams = Callable[[Array], tuple[Array, Params]]


class Rung(Protocol):
    """A model on the ladder."""

    @property
    def n_ctx(self) -> int:
        """How many ids it can be given at most."""

    def init(self, rng: np.random.Generator) -> Params: ...

    def forward(self, params: Params, ids: Ids) -> Array: ...  # [..., n_seq] -> [..., n_seq, n_vocab]

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]: ...


def generate(
    rung: Rung, params: Params, ids: list[int], n_tokens: int, rng: np.random.Generator | torch_random.Generator
) -> list[int]:
    """`n_tokens` ids that follow `ids`, each drawn from the model's prediction after the last n_ctx of them.

    With torch's numbers they are the ids that notes print.
    """
    written = list(ids)
    for _ in range(n_tokens):
        logits = rung.forward(params, np.array(written[-rung.n_ctx :]))[-1]
        if isinstance(rng, torch_random.Generator):
            written.append(int(rng.multinomial(softmax(logits), 1)[0]))
        else:
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
    """A vector for each token, and from it, by a linear layer called the head, the logits of the next.

    With `positions` a second vector, for the place where the token stands, is added to the first. With `residual` what
    a position takes from the others, in the classes below, is added to what it has; without, it takes its place.
    """

    n_vocab: int
    n_ctx: int
    n_embd: int
    positions: bool = False
    residual: bool = False

    def init(self, rng: np.random.Generator) -> Params:
        wpe = {"wpe": normal(rng, self.n_ctx, self.n_embd)} if self.positions else {}
        wte, head = normal(rng, self.n_vocab, self.n_embd), new_linear(rng, self.n_embd, self.n_vocab)
        return {"wte": wte, **wpe, "head": head}

    def tables(self, params: Params) -> tuple[Array, Array]:
        """wte and wpe; without positions the latter says the same of each, which is nothing."""
        nothing = np.zeros((self.n_ctx, self.n_embd), params["wte"].dtype)
        return params["wte"], params.get("wpe", nothing)

    def mix(self, x: Array, params: Params) -> tuple[Array, BackToXAndParams]:
        """What each position becomes by way of the others, here what it was; and the way back from there."""
        return x, lambda dy: (dy, {})

    def forward(self, params: Params, ids: Ids) -> Array:
        x = model.embed(ids, *self.tables(params))
        y, _ = self.mix(x, params)
        return linear(x + y if self.residual else y, **params["head"])

    def loss_and_grads(self, params: Params, inputs: Ids, targets: Ids) -> tuple[float, Params]:
        x, back_embed = backprop.embed(inputs, *self.tables(params))
        y, back_mix = self.mix(x, params)
        logits, back_head = backprop.linear(x + y if self.residual else y, **params["head"])
        loss, dlogits = cross_entropy(logits, targets)
        dy, dhead = back_head(dlogits)
        dx, dmix = back_mix(dy)
        dwte, dwpe = back_embed(dx + dy if self.residual else dx)
        return loss, {"wte": dwte, **({"wpe": dwpe} if self.positions else {}), "head": dhead, **dmix}


@dataclass(frozen=True)
class Averaging(Embedding):
    """Each position sees the mean of itself and its past, and no longer itself alone."""

    def mix(self, x: Array, params: Params) -> tuple[Array, BackToXAndParams]:
        weights = average_by_matrix(np.eye(x.shape[-2], dtype=x.dtype))
        return weights @ x, lambda dy: (weights.T @ dy, {})


@dataclass(frozen=True)
class SelfAttention(Embedding):
    """Each position chooses what it takes from its past."""

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
            (dx, dquery), (from_k, dkey), (from_v, dvalue) = back_query(dq), back_key(dk), back_value(dv)
            return dx + from_k + from_v, {"attention": {"query": dquery, "key": dkey, "value": dvalue}}

        return y, backward


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


IDEAS = {
    "bigram": "The next character depends on this one alone: a table has a row of logits for each.",
    "embedding": "The same through a short vector for each character, and a linear layer from vectors to logits.",
    "+ positions": "A second vector says where the character stands; alone that tells little of what comes next.",
    "+ averaged past": "Each position becomes the mean of all up to it; so which one was the last is nearly lost.",
    "+ residual": "The mean is added to what the position has, and no longer takes its place.",
    "+ self-attention": "Not the mean of the past but a choice: a query looks for keys, and gets their values.",
    "GPT-2": "Four heads, a feed-forward network and norms make a block; and there are two blocks.",
}


def rungs(n_vocab: int, n_ctx: int = 64, n_embd: int = 64) -> dict[str, Rung]:
    """The whole ladder, from the ground up; `IDEAS` has a sentence on each."""
    hparams = {"n_vocab": n_vocab, "n_ctx": n_ctx, "n_embd": n_embd, "n_head": 4, "n_layer": 2}
    sizes = n_vocab, n_ctx, n_embd
    return {
        "bigram": Bigram(n_vocab, n_ctx),
        "embedding": Embedding(*sizes),
        "+ positions": Embedding(*sizes, positions=True),
        "+ averaged past": Averaging(*sizes, positions=True),
        "+ residual": Averaging(*sizes, positions=True, residual=True),
        "+ self-attention": SelfAttention(*sizes, positions=True, residual=True),
        "GPT-2": GPT2(hparams),
    }


def start(rung: Rung, settings: Settings) -> State:
    """A new model of this rung, from the seed."""
    return State.start(rung.init(np.random.default_rng(settings.seed)), settings)


def steps(rung: Rung, state: State, ids: Ids, settings: Settings, n_threads: int = 1) -> Iterator[Step]:
    """Train `state`, in place, on `ids`; yields after every step."""

    def loss_and_grads(params: Params, inputs: Ids, targets: Ids, _: np.random.Generator) -> tuple[float, Params]:
        return rung.loss_and_grads(params, inputs, targets)

    return training_steps(state, ids, rung.n_ctx, loss_and_grads, settings, n_threads)


def train(rung: Rung, ids: Ids, settings: Settings) -> tuple[Params, list[float]]:
    """A new model of this rung after training on `ids`, and its loss in nats at every step."""
    state = start(rung, settings)
    losses = [step.loss for step in steps(rung, state, ids, settings)]
    return state.params, losses


def save(path: Path, params: Params) -> None:
    """Write the parameters of a rung to an .npz file, an array for each."""
    with replacing(path) as file:
        np.savez(file, **flatten(params))  # type: ignore[arg-type]  # the names are not "allow_pickle"


def load(path: str | Path) -> Params:
    """What `save` wrote: `rungs(n_vocab)["+ residual"].forward(load("out/residual.npz"), ids)`."""
    with np.load(path) as arrays:
        return nest(dict(arrays))
