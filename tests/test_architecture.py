"""The house's one rule of structure: imports run strictly downward, and the heavy ones stay outside."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import picogpt.pretrained

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "picogpt"


def floors() -> list[set[str]]:
    """The rooms of each floor, from the ground up, as CONTRIBUTING.md lists them from the top down."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| floor | rooms |")[2].partition("\n\n")[0]
    return [set(re.findall(r"`(\w+)`", line)) for line in table.splitlines()[2:]][::-1]


# a module may import what is below its own floor, and its own folder
FLOORS = floors()
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Top-level names imported anywhere in a module; for our own package the room."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    own = room(path)
    assert own in FLOOR, f"{own} is a new room: give it a floor in CONTRIBUTING.md"
    for name in imported(path):
        top, _, rest = name.partition(".")
        assert top not in {"tensorflow", "torch", "transformers"}, f"{path} imports {top}"
        if top == "picogpt":
            other = rest.split(".")[0]
            other = other if other in FLOOR else "__init__"
            assert other == own or FLOOR[other] < FLOOR[own], f"{own} must not import {other}"


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    assert sorted(FLOOR) == sorted({room(path) for path in MODULES})


def test_importing_picogpt_is_light() -> None:
    """A cold start is most of a short run: what only some commands need loads in those commands."""
    heavy = {
        "requests",
        "tqdm",
        "tensorflow",
        "torch",
        "matplotlib",
        "safetensors",
        "threadpoolctl",
        "urllib3",
        "hypothesis",
        "starlette",
        "uvicorn",
    }
    code = "import sys, picogpt, picogpt.cli; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(result.stdout.split())


def test_the_import_leaves_reading_models_for_later() -> None:
    code = "import sys, picogpt; before = {*sys.modules}; picogpt.load; print(*{*sys.modules} - before)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"regex", "picogpt.pretrained", "picogpt.checkpoints", "picogpt.tokenizers"} <= set(result.stdout.split())


def test_every_public_name_is_there() -> None:
    assert set(picogpt.__all__) <= set(dir(picogpt))
    assert picogpt.load is picogpt.pretrained.load
    assert all(getattr(picogpt, name) is not None for name in picogpt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        getattr(picogpt, "lod")  # noqa: B009
