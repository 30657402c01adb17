"""Who does the work: that is nobody's business but the clock's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

import picogpt.download
from picogpt import pretrained
from picogpt.checkpoints.fingerprint import fingerprint
from picogpt.cli import main, workers
from picogpt.corpus import processes
from picogpt.errors import PicoGPTError
from picogpt.scoring.jobs import TextJob

MODEL = pretrained.load("shakespeare")


def load() -> pretrained.GPT2:
    return MODEL


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    """To the byte, from the beginning and after a run that was stopped, bad rows and all."""
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join("To be or not" + " to be" * (i % 7) if i % 50 else "" for i in range(300)) + "\n")
    arguments = ["score", str(texts), "--lines", "--words", "--model", "shakespeare", "--output"]
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert main([*arguments, str(one), "--workers", "1"]) == 0
    assert main([*arguments, str(two), "--workers", "2"]) == 0
    assert two.read_bytes() == one.read_bytes()
    two.write_bytes(one.read_bytes()[:20_000])
    assert main([*arguments, str(two), "--workers", "2", "--resume"]) == 0
    assert two.read_bytes() == one.read_bytes()
    arguments = ["features", str(texts), "--lines", "--words", "--layer", "1", "--model", "shakespeare", "--out"]
    for n in "12":
        assert main([*arguments, str(tmp_path / f"{n}.npz"), "--workers", n]) == 0
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_many_texts_have_a_process_for_each_core_where_their_memory_is_no_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights that are mapped from a file are there once, however many processes read them."""
    monkeypatch.setattr(processes, "n_cores", lambda: 5)
    job = TextJob(load).with_model(MODEL)
    assert job.n_bytes_of_copy() == 0
    args = argparse.Namespace(workers=None, dask=None)

    def n_processes(is_much: bool) -> int:
        with workers.spread(args, job, is_much) as spread:
            keywords: dict[str, int] = getattr(spread, "keywords", {"n_processes": 1})
            return keywords["n_processes"]

    assert (n_processes(False), n_processes(True)) == (1, 5)
    monkeypatch.setattr(job, "n_bytes_of_copy", lambda: workers.COPIES // 4)
    assert n_processes(True) == 1
    args.workers = 3
    assert n_processes(False) == 3


def test_copied_weights_count() -> None:
    job = TextJob(load).with_model(pretrained.load("shakespeare", dtype="int8"))
    assert 1_200_000 < job.n_bytes_of_copy() < 4_900_000  # of 4.9 MB in float32


def test_another_machine_must_have_the_same_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found by name, or downloaded there; and a directory that is only here is named."""
    digest = fingerprint(MODEL.params)
    assert repr(workers.load_there("shakespeare", None, "float32", digest)) == repr(MODEL)
    with pytest.raises(PicoGPTError, match="has other weights than it has here"):
        workers.load_there("shakespeare", None, "float32", "0" * 64)
    with pytest.raises(PicoGPTError, match="there is no model"):
        workers.load_there(str(tmp_path / "mine"), None, "float32", digest)
    fetched: list[Path] = []

    def download(collection: Any, directory: Path) -> None:
        fetched.append(directory)
        directory.parent.mkdir(parents=True)
        directory.symlink_to(pretrained.find_model("shakespeare"))

    monkeypatch.setattr(picogpt.download, "download", download)
    monkeypatch.chdir(tmp_path)
    workers.load_there("355M", str(tmp_path / "models"), "float32", digest)
    assert fetched == [tmp_path / "models" / "355M"]
