"""The benchmark runs. How fast anything is, is no matter of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def benchmark(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "--quick", "--threads", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_row_is_measured(tmp_path: Path) -> None:
    """A function that the benchmark calls may have changed."""
    result = benchmark("--json", str(tmp_path / "run.json"))
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "run.json").read_text())["rows"]
    assert len(rows) >= 15
    for row in rows:
        assert row["title"] in result.stdout
        assert row["figures"]
        assert all(figure > 0 for figures in row["figures"].values() for figure in figures)


@pytest.mark.slow
def test_runs_of_other_settings_are_not_compared(tmp_path: Path) -> None:
    earlier = tmp_path / "run.json"
    assert benchmark("--rows", "training_step", "--json", str(earlier)).returncode == 0
    assert "1 layers" in benchmark("--rows", "training_step", "--compare", str(earlier)).stdout
    run = json.loads(earlier.read_text())
    run["settings"]["threads"] = 17
    earlier.write_text(json.dumps(run))
    result = benchmark("--rows", "training_step", "--compare", str(earlier))
    assert result.returncode == 2
    assert "was measured with other threads" in result.stderr


def test_an_unknown_peer_is_named() -> None:
    result = benchmark("--peers", "transformers,eniac")
    assert result.returncode == 2
    assert "unknown peer: eniac" in result.stderr
