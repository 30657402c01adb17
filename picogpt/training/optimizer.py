"""AdamW with gradient clipping, and the learning rate's schedule. Parameters and gradients are flat: name -> array."""

from __future__ import annotations

import math

import numpy as np

from picogpt.types import Array

Flat = dict[str, Array]


def learning_rate(step: int, n_steps: int, peak: float, n_warmup: int, n_hold: int = 0) -> float:
    """Linear warm-up to `peak`, `n_hold` steps there, then half a cosine to nothing (Loshchilov & Hutter 2016).

    `step` counts from 0 to `n_steps` − 1.
    """
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    n_before = n_warmup + n_hold
    if step < n_before:
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - n_before) / (n_steps - n_before)))


def clip_by_global_norm(grads: Flat, longest: float) -> float:
    """Scale the gradients in place so that together they are at most `longest`; returns how long they were.

    Pascanu et al. 2013.
    """
    norm = math.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads.values()))
    if norm > longest:
        for grad in grads.values():
            grad *= longest / norm
    return norm


def adamw(
    params: Flat,
    grads: Flat,
    mean: Flat,
    square: Flat,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
) -> None:
    """One step, in place. `mean` and `square` are the running moments of the gradient; `step` counts from 0.

    The decay bypasses the moments (Loshchilov & Hutter 2017) and applies to matrices only: there is no reason to pull
    biases or the gains of norms towards 0.
    """
    correction1, correction2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
    for name, param in params.items():
        grad, m, v = grads[name], mean[name], square[name]
        m += (1 - beta1) * (grad - m)
        v += (1 - beta2) * (grad * grad - v)
        if param.ndim > 1:
            param *= 1 - lr * weight_decay
        param -= (lr / correction1) * m / (np.sqrt(v / correction2) + eps)
