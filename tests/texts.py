"""The two texts of the course notes, and the notes, where they are: in CI beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read_text(name: str) -> str:
    """The text, also from data/, after a download. Where it is not, the test is skipped; in CI it fails."""
    for folder in ROOT.parent / "shared" / "data", ROOT / "data":
        if (folder / name).exists():
            return (folder / name).read_text(encoding="utf-8")
    assert os.environ.get("CI") != "true", f"{name} is missing"
    pytest.skip(f"needs {name}: run scripts/download_model.py")


def read_note(beginning: str) -> str:
    """The note whose file's name begins so. Where it is not, the test is skipped; in CI it fails."""
    for path in (ROOT.parent / "shared" / "notes").glob(f"{beginning}*"):
        return path.read_text(encoding="utf-8")
    assert os.environ.get("CI") != "true", f"the note {beginning} is missing"
    pytest.skip("needs the course notes")
