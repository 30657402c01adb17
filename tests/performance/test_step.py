"""The short way of a single position is the plain one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from picogpt import model
from picogpt.cache import KVCache
from picogpt.decoding.loop import generate
from picogpt.errors import PicoGPTError
from picogpt.performance import step
from picogpt.performance.int8 import quantize_params
from picogpt.performance.layout import cache_memory
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(5))


@pytest.mark.parametrize("long", [0, 512])
@pytest.mark.parametrize("batch", [(), (1,)])
@pytest.mark.parametrize("n_past", [0, 1, 12, N_CTX - 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_it_gives_what_the_plain_function_gives(
    monkeypatch: pytest.MonkeyPatch,
    dtype: npt.DTypeLike,
    tolerance: float,
    n_past: int,
    batch: tuple[int, ...],
    long: int,
) -> None:
    """The hidden state and the cache, which it extends by one position; the tolerance is relative to the largest."""
    monkeypatch.setattr("picogpt.performance.layout.LONG_CACHE", long)
    params = random_params(np.random.default_rng(5), dtype)
    ids = np.random.default_rng(n_past).integers(N_VOCAB, size=(*batch, n_past + 1))
    caches = [KVCache.for_params(params, N_HEAD, batch, allocate=cache_memory) for _ in range(2)]
    for cache in caches:
        cache.kv[:] = 7  # what stands after the last position must not matter
        if n_past:
            model.hidden_states(ids[..., :-1], **params, n_head=N_HEAD, cache=cache)
    plain = model.hidden_states(ids[..., -1:], **params, n_head=N_HEAD, cache=caches[0])
    short = step.hidden_states(ids[..., -1:], **params, n_head=N_HEAD, cache=caches[1])
    assert short.shape == plain.shape
    assert short.dtype == dtype
    np.testing.assert_allclose(short, plain, rtol=0, atol=tolerance * float(abs(plain).max()))
    assert caches[1].length == caches[0].length == n_past + 1
    filled = caches[0].kv[..., : n_past + 1, :]
    np.testing.assert_allclose(
        caches[1].kv[..., : n_past + 1, :], filled, rtol=0, atol=tolerance * float(abs(filled).max())
    )
    np.testing.assert_array_equal(caches[1].kv[..., n_past + 1 :, :], 7)


def test_int8_weights_go_the_same_way() -> None:
    params = quantize_params(random_params(np.random.default_rng(5), np.float32))
    caches = [KVCache.for_params(params, N_HEAD) for _ in range(2)]
    for token in (3, 1, 4, 1, 5):
        plain = model.hidden_states([token], **params, n_head=N_HEAD, cache=caches[0])
        short = step.hidden_states([token], **params, n_head=N_HEAD, cache=caches[1])
        np.testing.assert_allclose(short, plain, rtol=0, atol=1e-6 * float(abs(plain).max()))


def test_wrong_input_is_refused_before_anything_changes() -> None:
    cache = KVCache.for_params(PARAMS, N_HEAD, n_ctx=1)
    with pytest.raises(PicoGPTError, match="token id 61 is outside the vocabulary"):
        step.hidden_states([N_VOCAB], **PARAMS, n_head=N_HEAD, cache=cache)
    assert cache.length == 0
    step.hidden_states([1], **PARAMS, n_head=N_HEAD, cache=cache)
    with pytest.raises(PicoGPTError, match="2 tokens do not fit into a cache of 1 positions"):
        step.hidden_states([1], **PARAMS, n_head=N_HEAD, cache=cache)
    assert cache.length == 1


def test_far_to_the_left_gelu_overflows_in_silence() -> None:
    """Warnings are errors here."""
    params = random_params(np.random.default_rng(5), np.float32)
    params["blocks"][0]["mlp"]["c_fc"]["b"][:3] = -1e3
    assert np.isfinite(step.hidden_states([1], **params, n_head=N_HEAD, cache=KVCache.for_params(params, N_HEAD))).all()


def test_decoding_one_row_goes_this_way_once_the_prompt_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whatever way it goes, it writes the same."""
    n_steps = []

    def counted(*args: object, **kwargs: object) -> object:
        n_steps.append(1)
        return hidden_states(*args, **kwargs)  # type: ignore[arg-type]

    hidden_states = step.hidden_states
    monkeypatch.setattr(step, "hidden_states", counted)
    ids = generate([1, 2, 3], PARAMS, N_HEAD, 10)
    assert len(n_steps) == 9
    monkeypatch.setattr(step, "hidden_states", model.hidden_states)
    assert generate([1, 2, 3], PARAMS, N_HEAD, 10) == ids
