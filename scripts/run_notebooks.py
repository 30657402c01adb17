"""Run the notebooks of docs/course from top to bottom, and write their outputs into them.

    python scripts/run_notebooks.py [--check] [NOTEBOOK ...]

With --check nothing is written: what the cells print must be what stands in the notebook. Pictures are not compared,
nor is what a cell with the tag "varies" prints. After the last cell each exercise is solved by the solution that
follows it, and its check must say that it is right. The texts are found as the tests find them.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "docs" / "course"
TEXTS = ROOT.parent / "shared" / "data", ROOT / "data"
FENCE = "```"
SOLVED = "solved"  # marks cells that are not the notebook's


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(COURSE.glob("*.ipynb")), metavar="NOTEBOOK")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    args = parser.parse_args()
    wrong = 0
    for path in args.notebooks:
        notebook = read(path)
        done, found = execute(notebook)
        found += differences(notebook, done) if args.check else []
        wrong += len(found)
        print(f"{path.name}: {'; '.join(found) or 'good'}")
        if not args.check:
            nbformat.write(done, path)
    return 1 if wrong else 0


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """The notebook after a run of all its cells, and what the checks say of solutions that are not right.

    Each exercise is tried with its solution right after it.
    """
    done: NotebookNode = nbformat.from_dict(notebook)
    done.cells = with_solutions(done.cells)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data").symlink_to(next(place for place in TEXTS if (place / "tinyshakespeare.txt").is_file()))
        paths = {"PYTHONPATH": str(ROOT), "PICOGPT_MODELS_DIR": str(ROOT / "models")}
        NotebookClient(
            done, timeout=300, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": folder}}
        ).execute(env={**os.environ, **paths, "OPENBLAS_NUM_THREADS": "1"})
    said = [printed(cell) for cell in done.cells if SOLVED in cell.metadata]
    done.cells = [cell for cell in done.cells if SOLVED not in cell.metadata]
    for cell in done.cells:
        cell.metadata.pop("execution", None)  # the times of day, which change with every run
        if cell.cell_type == "code":
            cell.execution_count = None
    return done, [
        "; ".join(lines) for lines in said if not lines or not all(line.endswith("is right") for line in lines)
    ]


def with_solutions(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, and after each solution the one that tries it."""
    tried = solved_cells(cells)
    return [one for cell in cells for one in (cell, *([tried[cell.id]] if cell.id in tried else []))]


def solved_cells(cells: list[NotebookNode]) -> dict[str, NotebookNode]:
    """For each solution, by its id, a cell with its code and the exercise's checks, which are all that that calls."""
    solved: dict[str, NotebookNode] = {}
    exercise = ""
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            exercise = cell.source
        if "solution" in tags:
            calls = [node for node in ast.parse(exercise).body if isinstance(node, ast.Expr)]
            checks = [ast.get_source_segment(exercise, call) or "" for call in calls]
            code = cell.source.split(f"{FENCE}python\n")[1].split(FENCE)[0]
            solved[cell.id] = nbformat.v4.new_code_cell("\n".join([code, *checks]), metadata={SOLVED: True})
    return solved


def differences(committed: NotebookNode, done: NotebookNode) -> list[str]:
    """The cells that print something else than the committed notebook says."""
    cells = [(i, *pair) for i, pair in enumerate(zip(committed.cells, done.cells, strict=True))]
    return [
        f"cell {i} prints {printed(new)}, and the notebook has {printed(old)}"
        for i, old, new in cells
        if old.cell_type == "code" and "varies" not in old.metadata.get("tags", []) and printed(old) != printed(new)
    ]


def printed(cell: NotebookNode) -> list[str]:
    """What a code cell has printed, and the values and errors it shows, line by line."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return "".join(text for text in texts if not text.startswith("<Figure")).splitlines()


if __name__ == "__main__":
    sys.exit(main())
