"""The benchmark runs. How fast anything is, is no matter of tests."""

from __future__ import annotations

import json
import runpy
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


def test_a_picture_is_drawn_from_the_pages_tables(tmp_path: Path) -> None:
    """A small one for each kind of work that has peers; the floor is a line, and no bar is cut."""
    script = runpy.run_path(str(ROOT / "scripts" / "performance_plot.py"))
    table = "| | ms | from – to |\n|---|---:|---:|\n| floor | 2 | 1 – 3 |\n| picogpt | 2.5 | 2 – 3e+01 |\n"
    rows = script["rows_of"](f"### Read\n\n{table}| other | 70 | 60 – 80 |\n\n### Alone\n\n{table}")
    figures = {"floor": [1, 2, 3], "picogpt": [2, 2.5, 30], "other": [60, 70, 80]}
    assert rows[0] == {"title": "Read", "unit": "ms", "figures": figures}
    assert [row["title"] for row in rows] == ["Read", "Alone"]
    picture = tmp_path / "picture.svg"
    script["draw"](picture, rows)
    drawn = picture.read_text(encoding="utf-8")
    assert all(f"<!-- {text} -->" in drawn for text in ("Read", "picogpt", "other", "2.5", "70", "floor 2"))
    assert "<!-- Alone -->" not in drawn
    with pytest.raises(SystemExit, match="there is nothing to draw"):
        script["draw"](picture, rows[1:])
