"""The training loop: parameters, data and settings in, better parameters out, one step at a time.

Whatever is drawn at random in a step comes from the seed and the number of the step. So a run that goes on from
a saved state is the run that was never interrupted, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from picogpt.errors import PicoGPTError
from picogpt.model import Array, Params
from picogpt.training.backprop import Ids, dropout, loss_and_grads, no_dropout
from picogpt.training.data import random_windows
from picogpt.training.optimizer import adamw, clip_by_global_norm, learning_rate
from picogpt.training.trees import leaves, map_tree


@dataclass(frozen=True)
class Settings:
    """What a run is made of, besides the model and the data."""

    steps: int = 2000
    batch_size: int = 16  # windows a step
    n_parts: int = 2  # a batch is computed in so many parts, side by side where there are threads for it
    lr: float = 1e-3  # the highest learning rate
    warmup: int = 100  # steps
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1
    clip: float = 1.0  # the longest gradient
    dropout: float = 0.0
    average: float = 0.0  # decay of the running average of the weights; 0 for the weights themselves
    seed: int = 0


@dataclass
class State:
    """All that changes while training: after `step` steps, the parameters, AdamW's moments, the weights' average."""

    step: int
    params: Params
    mean: Params
    square: Params
    averaged: Params

    @classmethod
    def start(cls, params: Params) -> State:
        return cls(0, params, map_tree(np.zeros_like, params), map_tree(np.zeros_like, params), map_tree(np.copy, params))


class Step(NamedTuple):
    """What a step reports: the loss in nats a token on its batch before the update, and the gradient's length."""

    step: int
    loss: float
    grad_norm: float
    lr: float


def init_params(hparams: dict[str, int], rng: np.random.Generator) -> Params:
    """A new float32 model, drawn as GPT-2's was: normal weights of deviation 0.02, zero biases.

    What adds to the residual stream, twice a block, is smaller by √(2 n_layer) (Radford et al. 2019, 2.3).
    """
    n_vocab, n_ctx, n_embd, n_layer = (hparams[name] for name in ("n_vocab", "n_ctx", "n_embd", "n_layer"))

    def normal(*shape: int, deviation: float = 0.02) -> Array:
        return rng.standard_normal(shape, np.float32) * np.float32(deviation)

    def linear(n_in: int, n_out: int, deviation: float = 0.02) -> Params:
        return {"w": normal(n_in, n_out, deviation=deviation), "b": np.zeros(n_out, np.float32)}

    def norm() -> Params:
        return {"g": np.ones(n_embd, np.float32), "b": np.zeros(n_embd, np.float32)}

    residual = 0.02 / math.sqrt(2 * n_layer)
    return {
        "wte": normal(n_vocab, n_embd),
        "wpe": normal(n_ctx, n_embd),
        "blocks": [
            {
                "ln_1": norm(),
                "attn": {"c_attn": linear(n_embd, 3 * n_embd), "c_proj": linear(n_embd, n_embd, residual)},
                "ln_2": norm(),
                "mlp": {"c_fc": linear(n_embd, 4 * n_embd), "c_proj": linear(4 * n_embd, n_embd, residual)},
            }
            for _ in range(n_layer)
        ],
        "ln_f": norm(),
    }


def batch_loss_and_grads(
    params: Params, inputs: Ids, targets: Ids, n_head: int, settings: Settings, step: int, pool: ThreadPoolExecutor
) -> tuple[float, Params]:
    """Loss and gradients of a batch, its parts side by side in the threads of `pool` and then added up in order."""
    n_parts = min(settings.n_parts, len(inputs))

    def part_loss_and_grads(i: int) -> tuple[float, Params]:
        part = slice(i * len(inputs) // n_parts, (i + 1) * len(inputs) // n_parts)
        drop = no_dropout
        if settings.dropout:
            drop = partial(dropout, rate=settings.dropout, rng=np.random.default_rng([settings.seed, step, i]))
        return loss_and_grads(params, inputs[part], targets[part], n_head, drop, n_targets=targets.size)

    loss, total = 0.0, None
    for part_loss, grads in pool.map(part_loss_and_grads, range(n_parts)):
        loss += part_loss
        total = grads if total is None else map_tree(partial_sum, total, grads)
    assert total is not None
    return loss, total


def partial_sum(total: Array, part: Array) -> Array:
    total += part
    return total


def training_steps(
    state: State, ids: Ids, n_head: int, settings: Settings, n_threads: int = 1
) -> Iterator[Step]:
    """Train `state` in place on windows of `ids`, from where it stands to `settings.steps`.

    Raises `PicoGPTError` when the loss or the gradient is no longer a number, before they reach the weights.
    """
    n_ctx = len(state.params["wpe"])
    with ThreadPoolExecutor(n_threads) as pool:
        while state.step < settings.steps:
            step = state.step
            rng = np.random.default_rng([settings.seed, step])
            inputs, targets = random_windows(ids, settings.batch_size, n_ctx, rng)
            loss, grads = batch_loss_and_grads(state.params, inputs, targets, n_head, settings, step, pool)
            norm = clip_by_global_norm(grads, settings.clip)
            if not math.isfinite(loss + norm):
                raise PicoGPTError(f"the loss is {loss} and the gradient {norm} long at step {step}: try a lower lr")
            lr = learning_rate(step, settings.steps, settings.lr, settings.warmup)
            adamw(
                state.params, grads, state.mean, state.square, step, lr,
                settings.beta1, settings.beta2, weight_decay=settings.weight_decay,
            )
            # early on a short average, as there is little worth remembering
            decay = min(settings.average, (1 + step) / (10 + step))
            for averaged, p in zip(leaves(state.averaged), leaves(state.params), strict=True):
                averaged += (1 - decay) * (p - averaged)
            state.step = step + 1
            yield Step(step, loss, norm, lr)
