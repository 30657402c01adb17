"""AdamW with gradient clipping, and the learning rate's schedule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from picogpt.training.trees import leaves


def learning_rate(step: int, n_steps: int, peak: float, n_warmup: int, final: float = 0.0) -> float:
    """Linear warm-up to `peak` in `n_warmup` steps, then half a cosine down to `final` (Loshchilov & Hutter 2016).

    `step` counts from 0 to `n_steps` − 1.
    """
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    progress = (step - n_warmup) / max(1, n_steps - n_warmup)
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def clip_by_global_norm(grads: Any, max_norm: float) -> float:
    """Scale the gradients in place so that all of them together are at most `max_norm` long; returns the length.

    Pascanu et al. 2013.
    """
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in leaves(grads)))
    if norm > max_norm:
        for g in leaves(grads):
            g *= max_norm / norm
    return norm


def adamw(
    params: Any,
    grads: Any,
    mean: Any,
    square: Any,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
) -> None:
    """One step, in place: `mean` and `square` are the running moments of the gradient, `step` counts from 0.

    The decay does not pass through the moments (Loshchilov & Hutter 2017). It is for matrices: a bias or the
    gain of a norm has no reason to be near zero.
    """
    correction1, correction2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
    for p, g, m, v in zip(leaves(params), leaves(grads), leaves(mean), leaves(square), strict=True):
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g * g - v)
        if p.ndim > 1:
            p *= 1 - lr * weight_decay
        p -= (lr / correction1) * m / (np.sqrt(v / correction2) + eps)
