"""A value that is computed again is the one that the pass had."""

from __future__ import annotations

import numpy as np
import pytest

from picogpt.errors import PicoGPTError
from picogpt.inspection import logit_lens, trace, value_names, without_heads, without_mlps
from picogpt.inspection.replay import Replay, in_small
from tests.random_model import N_HEAD, N_LAYER, random_params

PARAMS = random_params(np.random.default_rng(0))
IDS = [3, 1, 4, 1, 5, 9, 2]
CHANGES = {
    **without_heads(PARAMS, N_HEAD, [(0, 1), (1, 2)]),
    **without_mlps(PARAMS, N_HEAD, [1]),
    "blocks.1.resid_pre": lambda x: x + 1,  # which must not be done twice
    "logits": lambda logits: 2 * logits,
}


@pytest.mark.parametrize("changes", [{}, CHANGES], ids=["whole", "changed"])
def test_every_value_is_that_of_the_trace(changes: dict[str, object]) -> None:
    values = trace(IDS, PARAMS, N_HEAD, changes=changes)  # type: ignore[arg-type]
    replay = Replay(IDS, PARAMS, N_HEAD, changes=changes)  # type: ignore[arg-type]
    for name in value_names(N_LAYER):
        np.testing.assert_allclose(replay[name], values[name], rtol=0, atol=1e-12, err_msg=name)
        assert replay[name].shape == values[name].shape
    np.testing.assert_allclose(replay.logits(slice(2, 4)), values["logits"][2:4], rtol=0, atol=1e-12)


def test_a_part_is_read_like_the_whole() -> None:
    replay = Replay(IDS, PARAMS, N_HEAD)
    whole, part = (logit_lens(values, PARAMS, N_HEAD, k=3) for values in (replay.kept, replay.part(slice(2, 5))))
    np.testing.assert_array_equal(part.ids, whole.ids[:, 2:5])
    np.testing.assert_allclose(part.kl, whole.kl[:, 2:5], rtol=0, atol=1e-12)


def test_little_is_kept() -> None:
    """The residual stream, and not the patterns, which grow with the square of the prompt."""
    assert not [name for name in Replay(IDS, PARAMS, N_HEAD).kept if ".attn." in name or ".mlp" in name]


@pytest.mark.parametrize("name", ["blocks.0.attn.patern", "*", "blocks.7.attn.q", "wte"])
def test_a_name_that_is_no_value(name: str) -> None:
    with pytest.raises(PicoGPTError, match="no value is called"):
        Replay(IDS, PARAMS, N_HEAD)[name]


def test_a_small_picture_shows_the_largest_of_what_a_cell_covers() -> None:
    pattern = np.zeros((2, 13, 13))
    pattern[1, 12, 7] = 0.75
    small = in_small(pattern, 5)
    assert small.shape == (2, 5, 5)
    assert small[1, 4, 3] == 0.75  # the cells begin at 0, 2, 5, 7 and 10
    assert small.sum() == 0.75
    np.testing.assert_array_equal(in_small(pattern, 13), pattern)
