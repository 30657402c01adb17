"""Working in parts changes the order of the work and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt.performance.formulas import gelu, layer_norm
from picogpt.performance.rowwise import rowwise

Array = npt.NDArray[Any]


@pytest.mark.parametrize("n_rows", [1, 2, 7, 50])
@pytest.mark.parametrize("shape", [(11,), (0, 11), (1, 11), (13, 11), (2, 3, 5, 11)])
@pytest.mark.parametrize("few_rows", [0, 256])
def test_parts_give_what_the_whole_gives(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], n_rows: int, few_rows: int
) -> None:
    """The last part is short, and a view's rows are not neighbours in memory; with and without threads."""
    monkeypatch.setattr("picogpt.performance.rowwise.FEW_ROWS", few_rows)
    rng = np.random.default_rng(0)
    whole: Array = rng.standard_normal((*shape[:-1], 2 * shape[-1])).astype(np.float32)
    g, b = rng.standard_normal((2, shape[-1])).astype(np.float32)
    functions: list[tuple[Any, tuple[Any, ...]]] = [(gelu.__wrapped__, ()), (layer_norm, (g, b))]  # type: ignore[attr-defined]
    for x in (np.ascontiguousarray(whole[..., ::2]), whole[..., ::2]):
        for function, args in functions:
            np.testing.assert_array_equal(rowwise(n_rows)(function)(x, *args), function(x, *args))


@pytest.mark.parametrize("n_rows", [1, 4, 5, 6, 23, 24])
def test_no_part_has_more_rows_than_allowed_and_rows_may_change_their_length(n_rows: int) -> None:
    sizes = []

    @rowwise(6)
    def doubled(x: Array) -> Array:
        sizes.append(len(x))
        return np.concatenate([x, x], axis=-1)

    x = np.arange(3.0 * n_rows).reshape(n_rows, 3)
    np.testing.assert_array_equal(doubled(x), np.concatenate([x, x], axis=1))
    assert max(sizes) <= 12
    if n_rows > 12:
        assert max(sizes) <= 6
        assert sum(sizes) == n_rows
