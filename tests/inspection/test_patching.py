"""Activation patching: against one patched run at a time, and on a model whose circuit is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from picogpt.errors import PicoGPTError
from picogpt.inspection import activation_patching, patch, patching, run_with, trace
from picogpt.performance import driver
from tests.induction_model import INDUCTION, PREVIOUS_TOKEN, induction_params
from tests.induction_model import N_HEAD as N_HEAD_BUILT
from tests.random_model import HPARAMS, N_HEAD, N_LAYER, random_params

PARAMS = random_params(np.random.default_rng(0))
CLEAN, CORRUPTED, TARGET, FOIL = [3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7], 17, 42


@pytest.mark.parametrize("pass_tokens", [1024, 15])
@pytest.mark.parametrize("foil", [FOIL, None])
def test_every_patch_is_what_it_is_alone(pass_tokens: int, foil: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the places of a layer are more than one batch."""
    monkeypatch.setattr(patching, "PASS_TOKENS", pass_tokens)
    calls: list[tuple[int, int]] = []
    found = activation_patching(
        CLEAN, CORRUPTED, PARAMS, N_HEAD, TARGET, foil, progress=lambda *counts: calls.append(counts)
    )

    def answer(logits: Any) -> float:
        return float(logits[-1, TARGET] - (logits[-1, foil] if foil is not None else 0))

    ends = [answer(trace(ids, PARAMS, N_HEAD)["logits"]) for ids in (CORRUPTED, CLEAN)]
    assert [found.corrupted, found.clean] == pytest.approx(ends, abs=1e-12)
    clean = trace(CLEAN, PARAMS, N_HEAD)
    for layer in range(N_LAYER):
        for kind in ("resid_pre", "attn_out", "mlp_out"):
            for at in range(len(CLEAN)):
                logits = patch(CORRUPTED, CLEAN, PARAMS, N_HEAD, f"blocks.{layer}.{kind}", [at])
                expected = (answer(logits) - ends[0]) / (ends[1] - ends[0])
                assert found.restored[kind][layer, at] == pytest.approx(expected, abs=1e-10)
        for head in range(N_HEAD):

            def put_in(z: Any, layer: int = layer, head: int = head) -> Any:
                z[:, head] = clean["z", layer][:, head]
                return z

            logits = run_with(CORRUPTED, PARAMS, N_HEAD, {f"blocks.{layer}.attn.z": put_in})
            expected = (answer(logits) - ends[0]) / (ends[1] - ends[0])
            assert found.restored["heads"][layer, head] == pytest.approx(expected, abs=1e-10)
    n_patches = sum(array.size for array in found.restored.values())
    assert n_patches == N_LAYER * (3 * len(CLEAN) + N_HEAD)
    assert calls[-1] == (n_patches, n_patches)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_patching_finds_the_circuit_that_was_built() -> None:
    """In `A B C D A` the answer is B, in `C B A D A` it is D. Both heads decide it, each alone, and nothing else."""
    found = activation_patching(
        [10, 1, 2, 3, 4, 1], [10, 3, 2, 1, 4, 1], induction_params(), N_HEAD_BUILT, target=2, foil=4
    )
    heads = np.zeros((2, N_HEAD_BUILT))
    heads[PREVIOUS_TOKEN] = heads[INDUCTION] = 1
    np.testing.assert_allclose(found.restored["heads"], heads, atol=1e-6)
    np.testing.assert_allclose(found.restored["mlp_out"], 0, atol=1e-6)
    # layer 0 says after B and D what is before them; layer 1 moves the answer to the last position
    np.testing.assert_allclose(found.restored["attn_out"], [[0.0, 0, 0.5, 0, 0.5, 0], [0.0, 0, 0, 0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(
        found.restored["resid_pre"], [[0.0, 0.5, 0, 0.5, 0, 0], [0.0, 0, 0.5, 0, 0.5, 0]], atol=1e-6
    )


def test_layers_before_the_patch_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []
    whole = driver.through_blocks

    def counted(x: Any, rest: list[Any], n_head: int) -> Any:
        blocks.append(len(rest))
        return whole(x, rest, n_head)

    monkeypatch.setattr(patching, "through_blocks", counted)
    params = random_params(np.random.default_rng(0), hparams={**HPARAMS, "n_layer": 5})
    activation_patching(CLEAN, CORRUPTED, params, N_HEAD, TARGET, FOIL, kinds=["attn_out"])
    assert blocks == [4, 3, 2, 1, 0]


def test_only_the_kinds_that_are_asked_for() -> None:
    found = activation_patching(CLEAN, CORRUPTED, PARAMS, N_HEAD, TARGET, FOIL, ["heads"])
    assert list(found.restored) == ["heads"]
    assert found.restored["heads"].shape == (N_LAYER, N_HEAD)


def test_float32_stays_float32() -> None:
    params = random_params(np.random.default_rng(0), np.float32)
    exact = activation_patching(CLEAN, CORRUPTED, PARAMS, N_HEAD, TARGET, FOIL)
    found = activation_patching(CLEAN, CORRUPTED, params, N_HEAD, TARGET, FOIL)
    for kind, array in found.restored.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, exact.restored[kind], rtol=0, atol=1e-4)


def test_progress_may_stop_the_work() -> None:
    def stop(n_done: int, n_patches: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activation_patching(CLEAN, CORRUPTED, PARAMS, N_HEAD, TARGET, FOIL, progress=stop)


def test_bad_input_is_one_line() -> None:
    def refused(clean: Any, corrupted: Any, message: str, **options: Any) -> None:
        with pytest.raises(PicoGPTError, match=message):
            activation_patching(clean, corrupted, PARAMS, N_HEAD, **{"target": 1, "foil": 2, **options})

    refused([1, 2, 3], [1, 2], "the two prompts have 3 and 2 tokens; to patch one from the other")
    refused([[1, 2]], [[1, 3]], r"patching takes one prompt at a time, not ids of shape \(1, 2\)")
    refused([], [], "the prompt has no tokens")
    refused([1, 2], [1, 2], "both prompts give the same answer, so there is no difference to restore")
    refused([1, 2], [1, 3], "token id 61 is outside the vocabulary", target=61)
    refused([1, 2], [1, 3], "'mlps' cannot be patched; choose of resid_pre, attn_out, mlp_out, heads", kinds=["mlps"])
    refused([1] * 30, [2] * 30, "30 tokens are more than the model's context of 29")
