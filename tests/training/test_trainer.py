"""The loop: reproducible, the same in any number of threads, and it stops when the numbers do."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from picogpt.checkpoints import flatten, param_shapes
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from picogpt.training.data import validation_loss
from picogpt.training.trainer import RANGES, Settings, State, gpt2_loss_and_grads, init_params, training_steps
from picogpt.training.windows import all_windows
from picogpt.types import Params
from tests.random_model import HPARAMS, N_CTX, N_HEAD, N_VOCAB, random_params
from tests.training.test_backprop import reference_loss

SETTINGS = Settings(steps=6, batch_size=5, parts=2, warmup=2, dropout=0.2, average=0.5)
IDS = np.random.default_rng(0).integers(0, N_VOCAB, 500).astype(np.uint16)


def trained(settings: Settings = SETTINGS, n_threads: int = 1) -> tuple[State, list[float]]:
    state = State.start(init_params(HPARAMS, np.random.default_rng(0)), settings)
    model = gpt2_loss_and_grads(N_HEAD, settings.dropout)
    return state, [step.loss for step in training_steps(state, IDS, N_CTX, model, settings, n_threads)]


def assert_same(first: Params, second: Params) -> None:
    others = flatten(second)
    for name, array in flatten(first).items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def test_the_same_seed_gives_the_same_weights_in_any_number_of_threads() -> None:
    (first, losses), (second, other_losses) = trained(), trained(n_threads=3)
    assert losses == other_losses
    assert_same(first.params, second.params)
    assert_same(first.averaged, second.averaged)


def test_another_seed_gives_other_weights() -> None:
    assert trained()[1] != trained(replace(SETTINGS, seed=1))[1]


def test_a_batch_in_parts_is_the_batch() -> None:
    """Five windows in one, two and three parts: without dropout only the rounding differs."""
    results = [trained(replace(SETTINGS, parts=parts, dropout=0.0))[1] for parts in (1, 2, 3, 9)]
    for losses in results[1:]:
        np.testing.assert_allclose(losses, results[0], rtol=1e-5)


def test_every_part_of_every_step_has_random_numbers_of_its_own() -> None:
    """Parts that shared a stream would drop the same units, and one that had the windows' stream would follow them."""
    first_draws = [np.random.default_rng([SETTINGS.seed, step]).random() for step in range(SETTINGS.steps)]

    def model(params: Params, inputs: Any, targets: Any, rng: np.random.Generator) -> tuple[float, Params]:
        first_draws.append(rng.random())
        return gpt2_loss_and_grads(N_HEAD)(params, inputs, targets, rng)

    state = State.start(init_params(HPARAMS, np.random.default_rng(0)), SETTINGS)
    assert len(list(training_steps(state, IDS, N_CTX, model, SETTINGS))) == SETTINGS.steps
    assert len(first_draws) == SETTINGS.steps * (1 + SETTINGS.parts)
    assert len(set(first_draws)) == len(first_draws)


def test_training_learns() -> None:
    """A text of seven ids over and over is soon known by heart."""
    settings = Settings(steps=60, batch_size=4, warmup=5, lr=1e-2, dropout=0.0, parts=1)
    state = State.start(init_params(HPARAMS, np.random.default_rng(0)), settings)
    ids = np.arange(500) % 7
    losses = [step.loss for step in training_steps(state, ids, N_CTX, gpt2_loss_and_grads(N_HEAD), settings)]
    assert losses[0] == pytest.approx(np.log(N_VOCAB), abs=0.1)
    assert losses[-1] < 0.2


def test_the_average_follows_the_weights() -> None:
    """With little memory it is near the last weights, and short at first however long it is meant to be."""
    state, _ = trained()
    params = flatten(state.params)
    for name, averaged in state.averaged.items():
        assert not np.array_equal(averaged, params[name])
        np.testing.assert_allclose(averaged, params[name], atol=0.02, err_msg=name)
    assert State.start(state.params, replace(SETTINGS, average=0)).averaged == {}


def test_the_average_begins_short() -> None:
    """Its decays are those of TensorFlow's `ExponentialMovingAverage(average, num_updates=step)`."""
    settings = replace(SETTINGS, average=1 / 3)
    state = State.start(init_params(HPARAMS, np.random.default_rng(0)), settings)
    expected = {name: array.astype(np.float64) for name, array in state.averaged.items()}
    steps = training_steps(state, IDS, N_CTX, gpt2_loss_and_grads(N_HEAD), settings)
    for decay, _ in zip([1 / 10, 2 / 11, 3 / 12, 4 / 13, 1 / 3, 1 / 3], steps, strict=True):
        for name, array in flatten(state.params).items():
            expected[name] = decay * expected[name] + (1 - decay) * array
            np.testing.assert_allclose(state.averaged[name], expected[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_the_callers_parameters_are_not_touched() -> None:
    """They may be mapped from a file, and read-only."""
    params = init_params(HPARAMS, np.random.default_rng(0))
    for array in flatten(params).values():
        array.flags.writeable = False
    state = State.start(params, SETTINGS)
    list(training_steps(state, IDS, N_CTX, gpt2_loss_and_grads(N_HEAD), SETTINGS))
    assert_same(params, init_params(HPARAMS, np.random.default_rng(0)))


def test_a_loss_that_is_no_number_stops_the_run_before_it_reaches_the_weights() -> None:
    settings = replace(SETTINGS, average=0.0)
    state = State.start(random_params(np.random.default_rng(0), np.float32), settings)

    def model(params: Params, inputs: Any, targets: Any, rng: Any) -> tuple[float, Params]:
        loss, grads = gpt2_loss_and_grads(N_HEAD)(params, inputs, targets, rng)
        return (float("nan") if state.step == 3 else loss), grads

    steps = training_steps(state, IDS, N_CTX, model, settings)
    before = [next(steps) for _ in range(3)]
    with pytest.raises(PicoGPTError, match="step 3: the loss is nan"):
        next(steps)
    assert (len(before), state.step) == (3, 3)
    assert all(np.isfinite(array).all() for array in flatten(state.params).values())


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1])
def test_every_setting_has_a_range(name: str, wrong: Any) -> None:
    """A weight decay that was not a number made weights of its kind."""
    with pytest.raises(PicoGPTError, match=f"^{name} must be {RANGES[name].words}, not {wrong}"):
        Settings(**{name: wrong})


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"parts": 0}, {"lr": 0.0}, {"lr": 1.5}, {"dropout": 1.0}, {"weight_decay": 1.5}, {"clip": 0.0}],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(PicoGPTError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_state_that_is_not_finite_is_none_to_start_from_nor_to_save() -> None:
    params = init_params(HPARAMS, np.random.default_rng(0))
    state = State.start(params, SETTINGS)
    state.check()
    for tree in (state.averaged, state.square, state.mean, flatten(state.params)):
        tree["blocks.1.mlp.c_fc.w"][2, 3] = np.inf
        with pytest.raises(PicoGPTError, match=r"step 0: blocks\.1\.mlp\.c_fc\.w has numbers that are not finite"):
            state.check()
        tree["blocks.1.mlp.c_fc.w"][2, 3] = 0
    params["wpe"][0, 0] = np.nan
    with pytest.raises(PicoGPTError, match="wpe has numbers that are not finite"):
        State.start(params, SETTINGS)


@pytest.mark.filterwarnings("error")
def test_threads_warn_as_little_as_their_caller() -> None:
    """Of what is not finite the error says enough."""
    params = init_params(HPARAMS, np.random.default_rng(0))
    params["wte"][:] = 1e30
    params["ln_f"]["g"][:] = 1e38
    steps = training_steps(State.start(params, SETTINGS), IDS, N_CTX, gpt2_loss_and_grads(N_HEAD), SETTINGS, 2)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(PicoGPTError, match="step 0: the loss is"):
        next(steps)


def test_new_parameters_have_gpt2s_shapes_and_deviations() -> None:
    hparams = {"n_vocab": 211, "n_ctx": 101, "n_embd": 96, "n_head": 4, "n_layer": 2}
    flat = flatten(init_params(hparams, np.random.default_rng(0)))
    assert {name: array.shape for name, array in flat.items()} == param_shapes(hparams)
    assert {array.dtype for array in flat.values()} == {np.dtype(np.float32)}
    assert flat["wte"].std() == pytest.approx(0.02, rel=0.05)
    assert flat["blocks.1.mlp.c_fc.w"].std() == pytest.approx(0.02, rel=0.05)
    assert flat["blocks.1.mlp.c_proj.w"].std() == pytest.approx(0.01, rel=0.05)  # 0.02 / √4
    assert flat["blocks.0.attn.c_proj.w"].std() == pytest.approx(0.01, rel=0.05)
    assert (flat["ln_f.g"] == 1).all()
    assert not flat["blocks.0.attn.c_attn.b"].any()


def test_the_validation_loss_is_the_mean_over_all_predicted_ids() -> None:
    """Not the mean of the windows' means: the last window is shorter."""
    params = random_params(np.random.default_rng(0))
    ids = IDS[: 2 * N_CTX + 8]
    losses = [(reference_loss(params, x, y), len(y)) for x, y in all_windows(ids, N_CTX)]
    expected = sum(loss * n for loss, n in losses) / (len(ids) - 1)
    assert validation_loss(partial(gpt2, **params, n_head=N_HEAD), ids, N_CTX) == pytest.approx(expected, rel=1e-12)
