"""A run that dies or finds the disk full at any operation on a file goes on to the same bits, in every format."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import openai
from picogpt.errors import PicoGPTError
from picogpt.training.run import FORMATS, Run, only_one
from tests.training.test_run import ROOT, advance, start


@pytest.mark.slow
@pytest.mark.parametrize(("format", "full_disk"), [*((format, False) for format in FORMATS), ("tf", True)])
def test_wherever_a_run_dies_it_comes_to_the_same_files(tmp_path: Path, format: str, full_disk: bool) -> None:
    """`--resume` once reported success with old weights, and a start that was cut off could be neither resumed nor
    made again. Syncs, renames, removals; `scripts/drills.py` dies within writes too."""
    arguments = [str(tmp_path), format, *(["full-disk"] if full_disk else [])]
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.crash_driver", *arguments],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 60


def test_resume_brings_the_model_up_to_its_state(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    advance(run, 1)
    model = tmp_path / "run" / "model.safetensors"
    after_one = model.read_bytes()
    advance(run, 1)
    after_two = model.read_bytes()
    model.write_bytes(after_one)  # as if killed between the state and the model
    Run.resume(tmp_path / "run")
    assert model.read_bytes() == after_two != after_one


def test_openai_files_of_the_step_before_are_gone_and_the_new_ones_named(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    run.format = "tf"
    advance(run, 1)
    (tmp_path / "run" / ".model.ckpt-1.index.99999999").touch()  # a killed process was writing it
    advance(run, 1)
    assert openai.read_prefix(tmp_path / "run" / "checkpoint").name == "model.ckpt-2"
    assert {path.name for path in (tmp_path / "run").glob("*model.ckpt*")} == {
        "model.ckpt-2.index",
        "model.ckpt-2.data-00000-of-00001",
    }


def test_a_start_that_was_cut_off_says_so_and_can_be_made_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    start(out)
    (out / "training" / "run.json").unlink()
    (out / "training" / "unfinished").touch()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(PicoGPTError, match=r"cut off; make it again with --out"):
        Run.resume(out)
    with pytest.raises(PicoGPTError, match="not empty"):
        start(out)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    advance(start(out), 1)
    assert Run.resume(out).state.step == 1


def test_two_processes_do_not_train_in_one_directory(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "run"),
        pytest.raises(PicoGPTError, match="another process is training"),
        only_one(tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("training/run.json", "[]", "should hold a JSON object"),
        ("training/run.json", "{}", "does not describe a training run: 'hparams'"),
        ("training/run.json", {"hparams": {"n_vocab": 0}}, "does not say the model's n_ctx"),
        ("training/run.json", {"settings": {"step": 1}}, "does not describe a training run"),
        ("training/run.json", {"settings": {"lr": "fast"}}, "does not describe a training run"),
        ("training/run.json", {"format": "png"}, "does not describe a training run"),
        ("training/run.json", {"n_characters": None}, "does not describe a training run"),
        ("loss.csv", "step,loss\n0,nothing\n", r"loss\.csv is damaged"),
        ("loss.csv", b"\xff\xfe", "not UTF-8"),
        ("training/train.ids", b"123", "no whole number of ids"),
        ("training/train.ids", b"\xff\xff\xff\xff", "has the id 65535, but the vocabulary has"),
        ("training/state.npz", b"PK", r"state\.npz is damaged"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, name: str, content: str | bytes | dict, message: str) -> None:  # type: ignore[type-arg]
    advance(start(tmp_path / "run"), 1)
    path = tmp_path / "run" / name
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PicoGPTError, match=message) as error:
        Run.resume(tmp_path / "run")
    assert "\n" not in str(error.value)


def test_flipped_bytes_of_the_state_raise_nothing_else(tmp_path: Path) -> None:
    """zipfile, zlib and NumPy's own header have their own exceptions, MemoryError among them."""
    advance(start(tmp_path / "run"), 1)
    path = tmp_path / "run" / "training" / "state.npz"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(PicoGPTError):
            n_refused += 1
            Run.resume(tmp_path / "run")
            n_refused -= 1
    assert n_refused == 100  # zip's checksums see them all
