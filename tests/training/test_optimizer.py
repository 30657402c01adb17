"""AdamW, clipping and the learning rate, each against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picogpt.training.optimizer import adamw, clip_by_global_norm, learning_rate


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [learning_rate(step, 17, peak=2.0, n_warmup=4, n_hold=3) for step in range(17)]
    assert rates[:7] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0]
    assert rates[7] == 2.0
    assert rates[12] == pytest.approx(1.0)  # half of the way down
    assert rates[16] == pytest.approx(1 + math.cos(math.pi * 0.9))
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)


def test_without_a_warm_up_the_first_step_is_at_the_peak() -> None:
    assert learning_rate(0, 10, peak=3.0, n_warmup=0) == 3.0


def test_the_hold_does_not_depend_on_the_number_of_steps() -> None:
    """So a run can be given its end while it stays at the peak, and is the run that had it from the start."""
    first, second = ([learning_rate(step, n, 2.0, 4, 9) for step in range(13)] for n in (20, 2000))
    assert first == second


def test_clipping_scales_all_gradients_together() -> None:
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert clip_by_global_norm(grads, 1.0) == 5.0
    np.testing.assert_allclose(grads["a"], [0.6, 0])
    np.testing.assert_allclose(grads["b"], [[0.8]])


def test_a_short_gradient_is_not_clipped() -> None:
    grads = {"a": np.array([0.3, 0.4])}
    assert clip_by_global_norm(grads, 1.0) == pytest.approx(0.5)
    np.testing.assert_array_equal(grads["a"], [0.3, 0.4])


def test_adamw_is_its_definition() -> None:
    """Two steps, written out with scalars; the decay is for the matrix alone, and not in the moments."""
    lr, beta1, beta2, eps, decay = 0.1, 0.8, 0.9, 1e-3, 0.5
    params = {"w": np.array([[2.0]]), "b": np.array([2.0])}
    mean, square = ({name: np.zeros_like(param) for name, param in params.items()} for _ in range(2))
    expected = {"w": 2.0, "b": 2.0}
    m = v = 0.0
    for step, g in enumerate((3.0, -1.0)):
        grads = {"w": np.array([[g]]), "b": np.array([g])}
        adamw(params, grads, mean, square, step, lr, beta1, beta2, eps, decay)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        change = lr * (m / (1 - beta1 ** (step + 1))) / (math.sqrt(v / (1 - beta2 ** (step + 1))) + eps)
        expected = {"w": expected["w"] * (1 - lr * decay) - change, "b": expected["b"] - change}
    assert params["w"].item() == pytest.approx(expected["w"], rel=1e-12)
    assert params["b"].item() == pytest.approx(expected["b"], rel=1e-12)
