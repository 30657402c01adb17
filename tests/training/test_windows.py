from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import ByteLevelBPE
from picogpt.training.windows import all_windows, batches, random_windows, sliding_windows
from tests.texts import read_text


def test_the_windows_of_the_notes() -> None:
    ids = ByteLevelBPE.gpt2().encode(read_text("the-verdict.txt"))
    assert len(ids) == 5145
    inputs, targets = sliding_windows(ids, max_length=4, stride=1)
    assert inputs[0].tolist() == [40, 367, 2885, 1464]
    assert targets[0].tolist() == [367, 2885, 1464, 1807]
    x, y = next(batches(*sliding_windows(ids, max_length=4, stride=4), batch_size=8))
    assert x.tolist() == [
        [40, 367, 2885, 1464],
        [1807, 3619, 402, 271],
        [10899, 2138, 257, 7026],
        [15632, 438, 2016, 257],
        [922, 5891, 1576, 438],
        [568, 340, 373, 645],
        [1049, 5975, 284, 502],
        [284, 3285, 326, 11],
    ]
    assert y.shape == (8, 4)
    assert y[-1].tolist() == [3285, 326, 11, 287]


@settings(deadline=None, derandomize=True)
@given(n=st.integers(2, 60), max_length=st.integers(1, 59), stride=st.integers(1, 20))
def test_windows_equal_their_definition(n: int, max_length: int, stride: int) -> None:
    if max_length >= n:
        return
    ids = np.arange(100, 100 + n)
    inputs, targets = sliding_windows(ids, max_length, stride)
    starts = range(0, n - max_length, stride)
    assert inputs.tolist() == [ids[i : i + max_length].tolist() for i in starts]
    assert targets.tolist() == [ids[i + 1 : i + max_length + 1].tolist() for i in starts]


def test_windows_of_a_memory_mapped_file_are_views(tmp_path: Path) -> None:
    """The file may be larger than memory."""
    np.arange(1000, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    ids = np.memmap(tmp_path / "ids.bin", dtype=np.uint16, mode="r")
    inputs, targets = sliding_windows(ids, max_length=7, stride=3)
    assert np.shares_memory(inputs, ids)
    assert np.shares_memory(targets, ids)
    assert inputs.dtype == np.uint16
    x, _ = next(batches(inputs, targets, batch_size=5))
    assert np.shares_memory(x, ids)
    assert not x.flags.writeable


@pytest.mark.parametrize("ids", [[], [1], [1, 2, 3, 4], [[1, 2, 3, 4, 5, 6]]])
def test_text_shorter_than_a_window_is_an_error(ids: list[int]) -> None:
    with pytest.raises(PicoGPTError, match="a window of 4 tokens and its targets need a row of 5 ids"):
        sliding_windows(ids, max_length=4, stride=1)
    assert len(sliding_windows([1, 2, 3, 4, 5], max_length=4, stride=1)[0]) == 1


@pytest.mark.parametrize(("max_length", "stride"), [(0, 1), (1, 0), (-1, 1)])
def test_sizes_below_one_are_an_error(max_length: int, stride: int) -> None:
    with pytest.raises(PicoGPTError, match="must be at least 1"):
        sliding_windows([1, 2, 3], max_length, stride)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_window_comes_once(shuffle: bool, drop_last: bool) -> None:
    inputs, targets = sliding_windows(np.arange(24), max_length=1, stride=1)
    rng = np.random.default_rng(7)
    got = list(batches(inputs, targets, 5, shuffle=shuffle, drop_last=drop_last, rng=rng))
    assert [len(x) for x, _ in got] == ([5] * 4 if drop_last else [5] * 4 + [3])
    assert all((y == x + 1).all() for x, y in got)
    seen = np.concatenate([x[:, 0] for x, _ in got]).tolist()
    assert len(set(seen)) == len(seen)
    assert (seen == sorted(seen)) is not shuffle


def test_the_generator_decides_the_order() -> None:
    windows = sliding_windows(np.arange(30), max_length=2, stride=2)

    def order(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [int(i) for x, _ in batches(*windows, 4, shuffle=True, rng=rng) for i in x[:, 0]]

    assert order(3) == order(3) != order(4)


def test_mistakes_are_told_at_once() -> None:
    """Not only when the first batch is taken."""
    windows = sliding_windows([1, 2, 3], max_length=1, stride=1)
    with pytest.raises(PicoGPTError, match="give a random generator"):
        batches(*windows, 2, shuffle=True)
    with pytest.raises(PicoGPTError, match="batch_size must be at least 1; it is 0"):
        batches(*windows, 0)


def test_a_target_is_the_id_after_its_input() -> None:
    ids = np.arange(20, dtype=np.uint16)
    inputs, targets = random_windows(ids, 100, 7, np.random.default_rng(0))
    assert inputs.shape == targets.shape == (100, 7)
    np.testing.assert_array_equal(targets, inputs + 1)
    np.testing.assert_array_equal(inputs[:, 1:], inputs[:, :-1] + 1)
    assert inputs[:, 0].min() == 0
    assert targets[:, -1].max() == 19  # the last id is used too
    assert inputs.dtype == targets.dtype == np.int64  # whatever the file has


@pytest.mark.parametrize("n_ids", [2, 14, 15, 16])
def test_the_windows_predict_every_id_but_the_first_once(n_ids: int) -> None:
    windows = list(all_windows(np.arange(n_ids), 7))
    assert np.concatenate([targets for _, targets in windows]).tolist() == list(range(1, n_ids))
    assert all(len(inputs) <= 7 for inputs, _ in windows)
