"""Every gradient against central differences, and the whole against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt import model
from picogpt.checkpoints import flatten, nest, param_shapes
from picogpt.checkpoints.names import huggingface_name
from picogpt.model import gpt2
from picogpt.performance import driver, formulas
from picogpt.pretrained import load
from picogpt.training import backprop
from picogpt.training.optimizer import adamw
from picogpt.types import Params
from tests.random_model import HPARAMS, N_CTX, N_HEAD, N_VOCAB, random_params

Array = npt.NDArray[Any]

DATA = Path(__file__).parents[1] / "data"


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def slope_along(function: Callable[[Array], Array | float], x: Array, direction: Array, h: float = 1e-5) -> Any:
    """(f(x + h d) − f(x − h d)) / 2h."""
    return (np.asarray(function(x + h * direction)) - np.asarray(function(x - h * direction))) / (2 * h)


def assert_gradient(function: Callable[[Array], Array], x: Array, dy: Array, dx: Array) -> None:
    """`dx` is the gradient of Σ dy f(x): along any direction it says what differences say."""
    assert dx.shape == x.shape
    for seed in range(3):
        direction = normal(*x.shape, seed=seed)
        expected = np.sum(dy * slope_along(function, x, direction))
        np.testing.assert_allclose(np.sum(dx * direction), expected, rtol=1e-6, atol=1e-9)


def test_gelu() -> None:
    x = np.concatenate([3 * normal(53), [-1e3, -40.0, 0.0, 40.0, 1e3]])
    y, backward = backprop.gelu(x)
    np.testing.assert_allclose(y, model.gelu(x), rtol=0, atol=1e-15)
    dy = normal(len(x), seed=1)
    assert_gradient(model.gelu, x, dy, backward(dy))


def test_gelus_slope_far_out_is_zero_or_one_without_a_warning() -> None:
    """An exponential that overflows to infinity times zero would be NaN."""
    slope = backprop.gelu_slope(np.array([-1e4, -50, 50, 1e4], np.float32))
    np.testing.assert_array_equal(slope, [0, 0, 1, 1])


def test_softmax() -> None:
    x, dy = normal(3, 7), normal(3, 7, seed=1)
    assert_gradient(model.softmax, x, dy, backprop.dsoftmax(dy, model.softmax(x)))


def test_layer_norm() -> None:
    x, g, b, dy = normal(3, 5, 7), normal(7), normal(7, seed=1), normal(3, 5, 7, seed=1)
    y, backward = backprop.layer_norm(x, g, b)
    np.testing.assert_allclose(y, model.layer_norm(x, g, b), rtol=0, atol=1e-14)
    dx, grads = backward(dy)
    assert_gradient(lambda x: model.layer_norm(x, g, b), x, dy, dx)
    assert_gradient(lambda g: model.layer_norm(x, g, b), g, dy, grads["g"])
    assert_gradient(lambda b: model.layer_norm(x, g, b), b, dy, grads["b"])


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_linear(batch: tuple[int, ...]) -> None:
    x, w, b, dy = normal(*batch, 5, 7), normal(7, 11), normal(11), normal(*batch, 5, 11)
    y, backward = backprop.linear(x, w, b)
    np.testing.assert_array_equal(y, model.linear(x, w, b))
    dx, grads = backward(dy)
    assert_gradient(lambda x: model.linear(x, w, b), x, dy, dx)
    assert_gradient(lambda w: model.linear(x, w, b), w, dy, grads["w"])
    assert_gradient(lambda b: model.linear(x, w, b), b, dy, grads["b"])


def test_attention_with_queries_keys_and_values_of_any_shape() -> None:
    """Cross-attention too: other lengths, other widths, and a mask over the last keys only."""
    q, k, v, dy = normal(2, 5, 3), normal(2, 7, 3), normal(2, 7, 11), normal(2, 5, 11)
    mask = np.where(normal(5, 4) < 1, 0, -1e10)
    y, backward = backprop.attention(q, k, v, mask)
    np.testing.assert_array_equal(y, formulas.attention(q, k, v, mask))
    dq, dk, dv = backward(dy)
    assert_gradient(lambda q: formulas.attention(q, k, v, mask), q, dy, dq)
    assert_gradient(lambda k: formulas.attention(q, k, v, mask), k, dy, dk)
    assert_gradient(lambda v: formulas.attention(q, k, v, mask), v, dy, dv)


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("block", [3, 100])
def test_causal_attention_in_blocks_of_queries(
    batch: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key's gradient comes from all later blocks, not from its own alone."""
    monkeypatch.setattr(driver, "QUERY_BLOCK", block)
    monkeypatch.setattr(backprop, "QUERY_BLOCK", block)
    q, k, v, dy = (normal(*batch, 2, 7, 5, seed=seed) for seed in range(4))
    _, backward = backprop.causal_attention(q, k, v)
    dq, dk, dv = backward(dy)
    assert_gradient(lambda q: driver.causal_attention(q, k, v), q, dy, dq)
    assert_gradient(lambda k: driver.causal_attention(q, k, v), k, dy, dk)
    assert_gradient(lambda v: driver.causal_attention(q, k, v), v, dy, dv)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_every_parameter_of_the_whole_model_against_differences(batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    params = random_params(rng)
    inputs, targets = (rng.integers(0, N_VOCAB, (*batch, N_CTX - 2)) for _ in range(2))
    loss, grads = backprop.loss_and_grads(params, inputs, targets, N_HEAD)
    flat, flat_grads = flatten(params), flatten(grads)
    assert flat_grads.keys() == flat.keys()
    assert loss == pytest.approx(reference_loss(params, inputs, targets), rel=1e-12)
    for name, param in flat.items():
        direction = rng.standard_normal(param.shape)

        def loss_with(changed: Array, name: str = name) -> float:
            return reference_loss(nest({**flat, name: changed}), inputs, targets)

        expected = slope_along(loss_with, param, direction)
        np.testing.assert_allclose(np.sum(flat_grads[name] * direction), expected, rtol=1e-6, err_msg=name)


def reference_loss(params: Params, inputs: Array, targets: Array) -> float:
    """From the definition, with `gpt2` of model.py: the mean of −log softmax(logits)[target]."""
    probs = model.softmax(gpt2(inputs, **params, n_head=N_HEAD))
    return float(-np.mean(np.log(np.take_along_axis(probs, targets[..., None], axis=-1))))


def test_cross_entropy_of_a_target_that_seems_impossible_is_large_and_not_infinite() -> None:
    logits = np.array([[0, -200, -1000]], np.float32)
    loss, dlogits = backprop.cross_entropy(logits, np.array([2]))
    assert loss == 1000
    np.testing.assert_array_equal(dlogits, [[1, 0, -1]])


def test_the_loss_is_the_same_however_many_logits_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """13 positions in parts of 4, the last one shorter: each part counts by its length."""
    x, wte = normal(13, 5), normal(7, 5)
    targets = np.arange(13) % 7
    whole = backprop.projected_cross_entropy(x, wte, targets)
    monkeypatch.setattr(backprop, "LOGITS_AT_ONCE", 28)
    parts = backprop.projected_cross_entropy(x, wte, targets)
    for i in range(3):
        np.testing.assert_allclose(np.asarray(parts[i]), np.asarray(whole[i]), rtol=1e-12)


def test_gradients_with_dropout_are_those_of_the_thinned_model() -> None:
    """The way back must meet the very mask of the way forth."""
    rng = np.random.default_rng(0)
    params = random_params(rng)
    inputs, targets = (rng.integers(0, N_VOCAB, (2, 11)) for _ in range(2))

    def loss_and_grads(params: Params) -> tuple[float, Params]:
        drop = partial(backprop.dropout, rate=0.3, rng=np.random.default_rng(1))
        return backprop.loss_and_grads(params, inputs, targets, N_HEAD, drop)

    flat = flatten(params)
    flat_grads = flatten(loss_and_grads(params)[1])
    for name in ("wte", "wpe", "blocks.0.attn.c_proj.w", "blocks.1.mlp.c_proj.b", "ln_f.g"):
        direction = rng.standard_normal(flat[name].shape)

        def loss_with(changed: Array, name: str = name) -> float:
            return loss_and_grads(nest({**flat, name: changed}))[0]

        expected = slope_along(loss_with, flat[name], direction)
        np.testing.assert_allclose(np.sum(flat_grads[name] * direction), expected, rtol=1e-6, err_msg=name)


def test_dropout_keeps_the_mean_and_drops_the_share() -> None:
    x = np.ones((101, 103), np.float32)
    y, backward = backprop.dropout(x, 0.2, np.random.default_rng(0))
    assert y.dtype == np.float32
    assert np.mean(y == 0) == pytest.approx(0.2, abs=0.01)
    assert np.mean(y) == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(backward(x), y)


def test_float32_stays_float32() -> None:
    """NumPy 2 makes float64 of float32 with any float64 scalar; training would be half as fast for it."""
    params = random_params(np.random.default_rng(0), np.float32)
    drop = partial(backprop.dropout, rate=0.3, rng=np.random.default_rng(1))
    _, grads = backprop.loss_and_grads(params, np.arange(5), np.arange(5), N_HEAD, drop)
    assert {grad.dtype for grad in flatten(grads).values()} == {np.dtype(np.float32)}


def test_every_gradient_of_a_small_model_is_pytorchs() -> None:
    golden = np.load(DATA / "gradients_small.npz")
    names = {path: huggingface_name(path) for path in param_shapes(HPARAMS)}
    params = nest({path: golden[f"param/{name}"] for path, name in names.items()})
    loss, grads = backprop.loss_and_grads(params, golden["inputs"], golden["targets"], int(golden["n_head"]))
    assert loss == pytest.approx(float(golden["loss"]), rel=1e-12)
    for path, grad in flatten(grads).items():
        np.testing.assert_allclose(grad, golden[f"grad/{names[path]}"], rtol=1e-9, atol=1e-12, err_msg=path)


def test_gradients_and_ten_steps_of_the_shipped_model_are_pytorchs() -> None:
    """float32 this time, and AdamW with it."""
    golden = np.load(DATA / "gradients_shakespeare.npz")
    _, hparams, params = load("shakespeare")
    flat = {path: np.array(param) for path, param in flatten(params).items()}  # the file's own are read-only
    params, n_head = nest(flat), hparams["n_head"]
    mean, square = ({path: np.zeros_like(param) for path, param in flat.items()} for _ in range(2))
    losses = []
    for step in range(len(golden["losses"])):
        loss, tree = backprop.loss_and_grads(params, golden["inputs"], golden["targets"], n_head)
        grads = flatten(tree)
        losses.append(loss)
        if step == 0:
            for path, grad in grads.items():
                name = huggingface_name(path)
                assert np.linalg.norm(grad) == pytest.approx(float(golden[f"norm/{name}"]), rel=1e-4), path
                sampled = grad.reshape(-1)[golden[f"index/{name}"]]
                largest = np.abs(grad).max()
                np.testing.assert_allclose(
                    sampled, golden[f"value/{name}"], rtol=1e-4, atol=1e-4 * largest, err_msg=path
                )
        everything = {path: param.reshape(1, -1) for path, param in flat.items()}  # matrices, so that all decay
        adamw(
            everything,
            {path: grad.reshape(1, -1) for path, grad in grads.items()},
            {path: m.reshape(1, -1) for path, m in mean.items()},
            {path: v.reshape(1, -1) for path, v in square.items()},
            step,
            lr=1e-4,
            beta2=0.999,
            weight_decay=0.01,
        )
    np.testing.assert_allclose(losses, golden["losses"], rtol=1e-4)
