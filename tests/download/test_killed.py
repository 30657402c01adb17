"""The plug is pulled at any moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import read_checkpoint, write_openai
from picogpt.checksums import check_checksums
from tests.download.kill_driver import NAMES
from tests.download.server import serving
from tests.random_model import random_params

HPARAMS = {"n_vocab": 9973, "n_ctx": 29, "n_embd": 52, "n_head": 4, "n_layer": 2}


@pytest.mark.slow
def test_killed_fifty_times_it_never_leaves_a_wrong_file_and_then_completes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write_openai(source, HPARAMS, random_params(np.random.default_rng(0), np.float32, HPARAMS))
    with serving() as server:
        server.reset({f"/{name}": (source / name).read_bytes() for name in NAMES})
        driver = [sys.executable, "-m", "tests.download.kill_driver", server.url, str(source), str(target), "50"]
        result = subprocess.run(driver, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        kills, resumed = map(int, result.stdout.split())
        assert (kills, resumed > 0) == (50, True)
        assert any(asked is not None for _, asked, _ in server.requests), "nothing was ever resumed"
    assert {path.name for path in target.iterdir()} == {*NAMES, "SHA256SUMS"}
    assert check_checksums(target).keys() == {*NAMES}
    read_checkpoint(target)
