"""A run that dies at every operation on a file, or finds the disk full there, and is taken up again.

python -m tests.training.crash_driver DIRECTORY FORMAT [full-disk] [writes]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from picogpt.checkpoints import read_checkpoint
from picogpt.tokenizers import train_bpe
from picogpt.training.run import Run, only_one
from picogpt.training.trainer import Settings, init_params
from tests.crashes import crashes
from tests.training.test_run import HPARAMS, TEXT, advance, assert_same_files

SETTINGS = Settings(steps=3, batch_size=2, parts=1, warmup=1, average=0.9)


def start(out: Path, format: str) -> Run:
    encoder = train_bpe([TEXT], 260, ["<|endoftext|>"])
    hparams = {**HPARAMS, "n_vocab": encoder.n_vocab}
    params = init_params(hparams, np.random.default_rng(0))
    return Run.start(out, TEXT, encoder, hparams, params, SETTINGS, format)


def train(out: Path, format: str, n_steps: int = 2) -> None:
    """Start or resume the run, as far as `n_steps`."""
    with only_one(out):
        run = Run.resume(out) if (out / "training" / "run.json").exists() else start(out, format)
        for _ in range(n_steps - run.state.step):
            advance(run, 1)


def main(directory: Path, format: str, full_disk: bool = False, writes: bool = True) -> int:
    """How many crashes there were; each is followed by a second run that must come to the same files."""
    whole, out = directory / "whole", directory / "run"
    train(whole, format)
    n_crashes = 0
    for n in crashes(lambda: train(out, format), full_disk, writes):
        n_crashes += 1
        if (out / "training" / "run.json").exists():
            read_checkpoint(out)  # what is there loads, at any moment
        train(out, format)
        try:
            assert_same_files(whole, out)
        except AssertionError as error:
            there = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
            raise AssertionError(f"{format}, operation {n}: {error}; there is {there}") from error
        shutil.rmtree(out)
    return n_crashes


if __name__ == "__main__":
    n_crashes = main(Path(sys.argv[1]), sys.argv[2], "full-disk" in sys.argv, "writes" in sys.argv)
    sys.stdout.write(f"{n_crashes}\n")
