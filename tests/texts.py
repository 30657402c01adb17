"""The two texts of the course notes, where they are: beside the repository in CI, or in data/ after a download."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read_text(name: str) -> str:
    """The text. Where it is not, the test is skipped; in CI it fails."""
    for folder in ROOT.parent / "shared" / "data", ROOT / "data":
        if (folder / name).exists():
            return (folder / name).read_text(encoding="utf-8")
    assert os.environ.get("CI") != "true", f"{name} is missing"
    pytest.skip(f"needs {name}: run scripts/download_model.py")
