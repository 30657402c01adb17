"""Rows that grow on the disk, and the files that are made of them."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from picogpt import pretrained
from picogpt.errors import PicoGPTError
from picogpt.features import Extractor, store
from picogpt.features.store import Labels, ValuesFile, publish, scratch

MODEL = pretrained.load("shakespeare")
PIECES = [["To", '"be",', "or\nnot"], [], ["x" * 250]]


def labels(path: Path) -> Labels:
    lines = [
        {"source": "é.txt", "line": 7 * i, "id": "", "n_rows": len(pieces), "pieces": pieces}
        for i, pieces in enumerate(PIECES)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Labels(path, "word", ["id"])


def written(out: Path, extractor: Extractor, rows: npt.NDArray[Any], of: Labels) -> bytes:
    with ValuesFile(out.with_suffix(".part"), extractor.shape, 0) as values:
        values.append(rows)
        publish(out, extractor, values, of, "shakespeare")
    return out.read_bytes()


@pytest.mark.parametrize("n_rows", [1, 2, 1024])
@pytest.mark.parametrize("options", [{}, {"layer": [0, 3]}, {"attention": True}])
def test_every_form_has_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, n_rows: int
) -> None:
    monkeypatch.setattr(store, "N_ROWS", n_rows)
    extractor = Extractor(MODEL, words=True, **options)
    of = labels(tmp_path / "labels")
    rows = np.random.default_rng(0).standard_normal((4, *extractor.shape)).astype(np.float32)
    rows[1, -1] = np.nan
    arrays = extractor.arrays(rows)
    first = written(tmp_path / "a.npz", extractor, rows, of)
    assert written(tmp_path / "b.npz", extractor, rows, of) == first
    with np.load(tmp_path / "a.npz") as found:
        assert set(found) == {*arrays, "source", "line", "id", "index", "word", "layers", "model"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
        assert found["word"].tolist() == ["To", '"be",', "or\nnot", "x" * 99 + "…"]
        assert (found["line"].tolist(), found["index"].tolist()) == ([0, 0, 0, 14], [0, 1, 2, 0])
        assert (found["source"].tolist(), found["id"].tolist()) == (["é.txt"] * 4, [""] * 4)
        assert (found["layers"].tolist(), str(found["model"])) == (list(extractor.layers), "shakespeare")
    if not options.get("attention"):
        written(tmp_path / "a.npy", extractor, rows, of)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), arrays["hidden"], strict=True)
    text = written(tmp_path / "a.csv", extractor, rows, of).decode()
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    assert header[:6] == ["source", "line", "id", "index", "word", "model"]
    assert [line[:6] for line in lines][2:] == [
        ["é.txt", "0", "", "2", "or\nnot", "shakespeare"],
        ["é.txt", "14", "", "0", "x" * 250, "shakespeare"],
    ]
    numbers = np.array([[float(cell or "nan") for cell in line[6:]] for line in lines]).astype(np.float32)
    np.testing.assert_array_equal(numbers, rows.reshape(4, -1))
    assert header[-1] == f"{extractor.names[-1]}.{extractor.layers[-1]}.{extractor.shape[-1] - 1}"


def test_a_study_without_rows(tmp_path: Path) -> None:
    extractor = Extractor(MODEL)
    nothing = np.empty((0, *extractor.shape), np.float32)
    of = Labels(tmp_path / "labels", "text")
    written(tmp_path / "a.npz", extractor, nothing, of)
    with np.load(tmp_path / "a.npz") as found:
        assert (found["hidden"].shape, found["source"].shape) == ((0, 192), (0,))
    assert written(tmp_path / "a.csv", extractor, nothing, of).startswith(b"source,line,model,hidden.5.0,")


def test_files_larger_than_memory_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 MB of features no more than some rows are ever in memory."""
    extractor = Extractor(MODEL, layer="all", pool="none")
    monkeypatch.setattr(store, "N_ROWS", 100)
    n = 2200
    part = np.ones((n // 10, *extractor.shape), np.float32)
    path = tmp_path / "labels"
    path.write_text(json.dumps({"source": "s", "line": 1, "n_rows": 55, "pieces": ["a"] * 55}) + "\n")
    path.write_text(path.read_text() * (n // 55))
    of = Labels(path, "token")
    with ValuesFile(tmp_path / "part", extractor.shape, 0) as values:
        for _ in range(10):
            values.append(part)
        for name in ("a.npz", "a.npy"):
            tracemalloc.start()
            try:
                publish(tmp_path / name, extractor, values, of, "shakespeare")
                assert tracemalloc.get_traced_memory()[1] < (tmp_path / name).stat().st_size / 4
            finally:
                tracemalloc.stop()
    assert np.load(tmp_path / "a.npy", mmap_mode="r").shape == (n, 6, 192)


def test_what_an_earlier_run_has_written_is_kept_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "part"
    rows = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    with ValuesFile(path, (2, 3), 0) as values:
        values.append(rows)
        assert path.stat().st_size == rows.nbytes, "it is with the operating system"
    path.write_bytes(path.read_bytes()[:-5])
    with ValuesFile(path, (2, 3), 3) as values:
        values.append(rows[:1])
        np.testing.assert_array_equal(np.concatenate(list(values.read())), rows[[0, 1, 2, 0]])
    with pytest.raises(PicoGPTError, match="part lacks rows that an earlier run had written"):
        ValuesFile(path, (2, 3), 5)


def test_scratch_is_zero_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = scratch(tmp_path, (3, 5))
    monkeypatch.setattr(store, "IN_MEMORY", 7)
    monkeypatch.setattr(store, "BLOCK", 17)
    on_disk = scratch(tmp_path, (3, 5))
    assert isinstance(on_disk, np.memmap)
    assert not isinstance(in_memory, np.memmap)
    assert list(tmp_path.iterdir()) == []
    for array in (in_memory, on_disk):
        assert (array.shape, array.dtype.name, array.any().item()) == ((3, 5), "float32", False)
        array[1] += 2
        assert array.sum() == 10


def test_labels_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    for content in ('{"source": "x", "line": 1}\n', "[]\n", "no\n"):
        path.write_text(content)
        with pytest.raises(PicoGPTError, match="labels is not the output of such a run"):
            Labels(path, "word").n_rows()
