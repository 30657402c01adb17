"""The documents tell the truth: their transcripts are run, their Python is run, and their links lead somewhere.

A `console` block is a transcript: lines with `$ ` are commands, the others are what they print on stdout (a line
of three dots stands for any lines). An `sh` block is for the reader's own machine and is not run.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from picogpt.cli import chosen, module

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "docs" / "course").glob("README*.md"))


def blocks(language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language: where it stands, and its text."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            found.append((f"{document.relative_to(ROOT)}:{line}", match[1]))
    return found


def steps(block: str) -> list[tuple[str, str]]:
    """A transcript's commands, each with what it prints."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert not parts[0], "a transcript begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


TRANSCRIPTS = [(where, *step) for where, block in blocks("console") for step in steps(block)]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone's, in which commands may leave files, with `python` and `picogpt` on its PATH."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "bin").mkdir()
    for name, command in (("python", ""), ("picogpt", "-m picogpt ")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command}"$@"\n', encoding="utf-8")
        script.chmod(0o755)
    shutil.copytree(ROOT / "models" / "shakespeare", folder / "models" / "shakespeare")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    return folder


@pytest.mark.parametrize(("where", "command", "printed"), TRANSCRIPTS, ids=[t[0] + " " + t[1] for t in TRANSCRIPTS])
def test_transcripts_are_real(where: str, command: str, printed: str, elsewhere: Path) -> None:
    env = {**os.environ, "PATH": f"{elsewhere / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    result = subprocess.run(command, shell=True, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, f"{where}: {result.stderr}"
    pattern = "(?s)" + ".*\n".join(re.escape(part) for part in re.split(r"^\.\.\.\n", printed, flags=re.MULTILINE))
    actual = result.stdout if result.stdout.endswith("\n") or not result.stdout else result.stdout + "\n"
    assert re.fullmatch(pattern, actual), f"{where}: `{command}` prints\n{actual}"


def named_commands() -> list[tuple[str, str]]:
    """The commands that a reader is told to run and the tests do not: of `sh` blocks, and of the notebooks' prose."""
    found = []
    for where, block in blocks("sh"):
        for line in re.split(r"\n|&&|\|", re.sub(r"\\\n|#.*", "", block)):
            if match := re.match(r"\s*(?:python -m )?picogpt (.*)", line):
                found.append((where, match[1]))
    for path in sorted((ROOT / "docs" / "course").glob("*.ipynb")):
        prose = [cell["source"] for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"]
        texts = re.findall(r"`picogpt ([^`]*)`", "".join(map("".join, prose)))
        found += [(str(path.relative_to(ROOT)), text) for text in texts]
    return found


@pytest.mark.parametrize(("where", "words"), named_commands())
def test_commands_that_are_not_run_are_commands(where: str, words: str) -> None:
    """A guide named an option that `picogpt train` does not have."""
    name, rest = chosen(shlex.split(words.split(" > ")[0].split(" < ")[0].split(" 2>")[0]))
    module(name).parser().parse_args([word for word in rest if word not in ("…", "...")])


def documents_with_python() -> dict[str, list[tuple[str, str]]]:
    """Each document's Python blocks, in their order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for where, block in blocks("python"):
        found.setdefault(where.rpartition(":")[0], []).append((where, block))
    return found


@pytest.mark.parametrize("document", documents_with_python())
def test_python_examples_run(document: str) -> None:
    """Examples with `>>>` are compared, the others must run; a block knows the names of those before it."""
    names: dict[str, object] = {}
    for where, block in documents_with_python()[document]:
        if ">>>" in block:
            example = doctest.DocTestParser().get_doctest(block, names, where, where, 0)
            assert doctest.DocTestRunner(verbose=False).run(example, clear_globs=False).failed == 0, where
            names = example.globs
        else:
            exec(compile(block, where, "exec"), names)


def test_links_lead_somewhere() -> None:
    links = 0
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if "://" not in link:
                links += 1
                assert (document.parent / link).exists(), f"{document.name} links to {link}, which is not there"
    assert links > 0


def test_ci_runs_the_first_command() -> None:
    """From the checkout and from an installed wheel, word for word."""
    _, first = blocks("sh")[0]
    arguments = first.strip().partition("python -m picogpt ")[2]
    assert arguments
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert ci.count(f"{arguments} > ") == 2


def test_nobody_is_told_to_install_somebody_elses_package() -> None:
    """On PyPI `picogpt` is another project, which needs torch."""
    texts = [*DOCUMENTS, *(ROOT / "picogpt").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "pyproject.toml"]
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install [^\n`&]*\bpicogpt\b(?!-numpy)", text), path
    assert '\nname = "picogpt-numpy"' in texts[-1].read_text(encoding="utf-8")
