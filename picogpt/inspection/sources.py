"""Which line of model.py makes a value: found by reading its source for the calls of `tap`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypedDict

from picogpt import model


class Line(TypedDict):
    """A line of model.py, counted from one."""

    line: int
    source: str


def source_lines() -> Callable[[str], Line]:
    """A function that gives the line for the name of a value."""
    source = Path(model.__file__).read_text(encoding="utf-8")
    places = tap_calls(source)
    text = source.splitlines()

    def line_of(name: str) -> Line:
        short = re.sub(r"^blocks\.\d+\.", "", name)
        line = next(line for pattern, line in places.items() if fnmatchcase(short, pattern))
        return {"line": line, "source": text[line - 1].strip()}

    return line_of


def tap_calls(source: str) -> dict[str, int]:
    """The first line on which `tap` is called with each name; what a name is put together from is `*`."""
    places: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tap" and node.args:
            name = pattern_of(node.args[0])
            if name is not None:
                places[name] = min(node.lineno, places.get(name, node.lineno))
    return dict(sorted(places.items(), key=lambda place: "*" in place[0]))  # a whole name before a pattern


def pattern_of(name: ast.expr) -> str | None:
    if isinstance(name, ast.Constant):
        return str(name.value)
    if isinstance(name, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in name.values)
    return None
