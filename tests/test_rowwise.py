"""Working in parts changes the order of the work and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt import rowwise
from picogpt.model import gelu, layer_norm


@pytest.mark.parametrize("part_size", [1, 7, 50, 10**6])
@pytest.mark.parametrize("shape", [(11,), (1, 11), (13, 11), (2, 3, 5, 11)])
def test_parts_give_what_the_whole_gives(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], part_size: int
) -> None:
    """The last part is short, a row may be longer than a part, and a view's rows are not neighbours in memory."""
    monkeypatch.setattr(rowwise, "PART_SIZE", part_size)
    rng = np.random.default_rng(0)
    whole: npt.NDArray[Any] = rng.standard_normal((*shape[:-1], 2 * shape[-1])).astype(np.float32)
    g, b = rng.standard_normal((2, shape[-1])).astype(np.float32)
    functions: list[tuple[Any, tuple[Any, ...]]] = [(gelu, ()), (layer_norm, (g, b))]
    for x in (np.ascontiguousarray(whole[..., ::2]), whole[..., ::2]):
        for function, args in functions:
            np.testing.assert_array_equal(function(x, *args), function.__wrapped__(x, *args))
