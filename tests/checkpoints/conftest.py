from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository with the golden models. CI has it, a clone by itself does not."""
    path = Path(__file__).parents[3] / "shared"
    if not path.is_dir():
        assert os.environ.get("CI") != "true", f"{path} is missing"
        pytest.skip(f"{path} is not there")
    return path
