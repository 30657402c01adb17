"""Two thousand mutations of every file that a model is read from. `mutations.py` tries as many more as one asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints.mutations import READERS, drill

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_right_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    outcomes = drill(name, 2000, tmp_path)
    assert outcomes.wrong == []
    assert outcomes.n_read, "a mutator that only destroys leaves what comes after the first check untried"
    assert outcomes.n_refused
