"""The training loop: parameters, data and settings in, better parameters out, one step at a time.

Whatever is drawn at random in a step comes from the seed and the number of the step. So a run that resumes from
a saved state is the run that was never interrupted, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from picogpt.checkpoints import check_finite, flatten, nest, non_finite, param_shapes
from picogpt.errors import PicoGPTError
from picogpt.ranges import Range, at_least, between
from picogpt.training import backprop
from picogpt.training.optimizer import Flat, adamw, clip_by_global_norm, learning_rate
from picogpt.training.windows import random_windows
from picogpt.types import HParams, Ids, Params

# parameters, inputs and targets [batch, n_ctx], a source of random numbers -> mean loss, gradients
LossAndGrads = Callable[[Params, Ids, Ids, np.random.Generator], tuple[float, Params]]


SHARE = Range("0 or more and below 1", lambda x: 0 <= x < 1)
RANGES = {  # of the settings
    "steps": at_least(1),
    "batch_size": at_least(1),
    "parts": at_least(1),
    "lr": Range("above 0 and at most 1", lambda x: 0 < x <= 1),
    "warmup": at_least(0),
    "hold": at_least(0),
    "beta1": SHARE,
    "beta2": SHARE,
    "weight_decay": between(0, 1),
    "clip": Range("above 0", lambda x: 0 < x < math.inf),
    "dropout": SHARE,
    "average": SHARE,
    "seed": at_least(0),
}


@dataclass(frozen=True)
class Settings:
    """What a run is made of, besides the model and the data. The numbers are in the ranges of `RANGES`."""

    steps: int = 3000
    batch_size: int = 16  # windows a step
    parts: int = 2  # a batch is computed in so many parts: side by side where there are threads, else in turn
    lr: float = 2e-3  # the highest learning rate
    warmup: int = 100  # steps that lead there
    hold: int = 0  # steps that stay there; in all the others it falls
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1
    clip: float = 1.0  # the longest gradient
    dropout: float = 0.1
    average: float = 0.0  # decay of the running average of the weights; 0: the weights themselves
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `PicoGPTError` for a number that is out of its range."""
        for name, allowed in RANGES.items():
            allowed.check(name, getattr(self, name))


@dataclass
class State:
    """All that changes while training: after `step` steps the parameters, AdamW's moments, the average or nothing."""

    step: int
    params: Params
    mean: Flat
    square: Flat
    averaged: Flat

    @classmethod
    def start(cls, params: Params, settings: Settings) -> State:
        """Before the first step, with a copy of `params`; raises `PicoGPTError` where these are not finite."""
        check_finite(params, "the model")

        def zeros() -> Flat:
            return {name: np.zeros_like(array) for name, array in flatten(params).items()}

        averaged = flatten(deepcopy(params)) if settings.average else {}
        return cls(0, deepcopy(params), zeros(), zeros(), averaged)

    def check(self) -> None:
        """Raises `PicoGPTError` where a number is not finite: such a state is of no use."""
        for tree in (self.params, self.mean, self.square, self.averaged):
            if path := non_finite(tree):
                raise PicoGPTError(f"step {self.step}: {path} has numbers that are not finite; try a smaller lr")


class Step(NamedTuple):
    """What a step reports: the loss in nats a token on its batch before the update, the gradient's length, the lr."""

    step: int
    loss: float
    grad_norm: float
    lr: float


def init_params(hparams: HParams, rng: np.random.Generator) -> Params:
    """A new float32 model, drawn as GPT-2's was: normal weights of deviation 0.02, biases 0, gains 1.

    What adds to the residual stream, twice a block, is smaller by √(2 n_layer) (Radford et al. 2019, section 2.3).
    """
    flat: Flat = {}
    for name, shape in param_shapes(hparams).items():
        layer, _, leaf = name.rpartition(".")
        if leaf in ("g", "b"):
            flat[name] = np.full(shape, 1 if leaf == "g" else 0, np.float32)
        else:
            deviation = 0.02 / math.sqrt(2 * hparams["n_layer"]) if layer.endswith("c_proj") else 0.02
            flat[name] = rng.standard_normal(shape, np.float32) * np.float32(deviation)
    return nest(flat)


def gpt2_loss_and_grads(n_head: int, rate: float = 0.0) -> LossAndGrads:
    """What `training_steps` wants, of a GPT-2 with dropout."""

    def loss_and_grads(params: Params, inputs: Ids, targets: Ids, rng: np.random.Generator) -> tuple[float, Params]:
        drop = partial(backprop.dropout, rate=rate, rng=rng) if rate else backprop.no_dropout
        return backprop.loss_and_grads(params, inputs, targets, n_head, drop)

    return loss_and_grads


def training_steps(
    state: State, ids: Ids, n_ctx: int, loss_and_grads: LossAndGrads, settings: Settings, n_threads: int = 1
) -> Iterator[Step]:
    """Train `state`, in place, on windows of `ids` until it has made `settings.steps`; yields after every step.

    Raises `PicoGPTError` when the loss or the gradient is no longer a number, before they have reached the weights.
    """
    params = flatten(state.params)
    with ThreadPoolExecutor(n_threads, initializer=partial(np.seterr, **np.geterr())) as pool:
        while state.step < settings.steps:
            step = state.step
            rng = np.random.default_rng([settings.seed, step])
            inputs, targets = random_windows(ids, settings.batch_size, n_ctx, rng)
            loss, grads = batch_loss_and_grads(loss_and_grads, state.params, inputs, targets, settings, step, pool)
            norm = clip_by_global_norm(grads, settings.clip)
            check_loss(step, loss, norm)
            lr = learning_rate(step, settings.steps, settings.lr, settings.warmup, settings.hold)
            betas = settings.beta1, settings.beta2
            adamw(params, grads, state.mean, state.square, step, lr, *betas, weight_decay=settings.weight_decay)
            # a short average at first, when there is little that is worth remembering
            forget = 1 - min(settings.average, (1 + step) / (10 + step))
            for name, averaged in state.averaged.items():
                averaged += forget * (params[name] - averaged)
            state.step = step + 1
            yield Step(step, loss, norm, lr)


def check_loss(step: int, loss: float, norm: float) -> None:
    if not math.isfinite(loss + norm):
        raise PicoGPTError(f"step {step}: the loss is {loss}, the gradient's length {norm}; try a smaller lr")


def check_can_continue(state: State, ids: Ids, n_ctx: int, loss_and_grads: LossAndGrads) -> None:
    """Raises `PicoGPTError` unless the state gives a loss and a gradient; to be called before it replaces another.

    A step's loss is that of the weights before it, so the last step may have made weights from which there is no next.
    """
    rng = np.random.default_rng(0)
    loss, grads = loss_and_grads(state.params, *random_windows(ids, 1, n_ctx, rng), rng)
    check_loss(state.step, loss, clip_by_global_norm(flatten(grads), math.inf))


def batch_loss_and_grads(
    loss_and_grads: LossAndGrads,
    params: Params,
    inputs: Ids,
    targets: Ids,
    settings: Settings,
    step: int,
    pool: ThreadPoolExecutor,
) -> tuple[float, Flat]:
    """The loss of a batch and its gradients: those of its parts, computed in the threads of `pool`, added in order."""
    n_parts = min(settings.parts, len(inputs))

    def of_part(i: int) -> tuple[float, Flat]:
        part = slice(i * len(inputs) // n_parts, (i + 1) * len(inputs) // n_parts)
        # 1 + i, since the generator of [seed, step] has drawn the windows, and [seed, step, 0] would be the same
        rng = np.random.default_rng([settings.seed, step, 1 + i])
        loss, tree = loss_and_grads(params, inputs[part], targets[part], rng)
        grads, share = flatten(tree), len(inputs[part]) / len(inputs)
        for grad in grads.values():
            grad *= share
        return share * loss, grads

    (loss, grads), *others = pool.map(of_part, range(n_parts))
    for other_loss, other_grads in others:
        loss += other_loss
        for name, grad in grads.items():
            grad += other_grads[name]
    return loss, grads
