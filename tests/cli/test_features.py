"""`picogpt features`: what the file has, rows that are those of `score`, and runs that were killed."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picogpt import pretrained
from picogpt.cli import main
from picogpt.cli.results import Writer
from picogpt.corpus import loop
from picogpt.features import Extractor, store
from picogpt.lock import locked
from tests.crashes import crashes

MODEL = ["--model", "shakespeare"]
LINES = "To be, or\n  not  to be \n\n   \nthat is\nO\nthe question\n"  # one without tokens, one without words


class Run:
    """Runs `picogpt features` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str | Path, input: bytes = b"", status: int = 0) -> tuple[str, str]:
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(input)))
        assert main(["features", *map(str, arguments), *MODEL]) == status
        captured = self.capsys.readouterr()
        if status:
            assert captured.err.startswith("picogpt: ")
            assert captured.err.count("\n") == 1
        return captured.out, captured.err


@pytest.fixture(autouse=True)
def load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "load", functools.cache(pretrained.load))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capsys, monkeypatch)


def loaded(path: Path) -> dict[str, Any]:
    with np.load(path) as found:
        return dict(found)


@pytest.mark.parametrize("unit", ["--words", "--tokens"])
def test_rows_are_those_of_score(
    run: Run, tmp_path: Path, unit: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row by row, whatever the chunks: the same text, place and index."""
    monkeypatch.setattr(loop, "CHUNK", 3)
    texts, out = tmp_path / "texts.txt", tmp_path / "out.npz"
    texts.write_text(LINES)
    _, err = run(texts, "--lines", *(["--words"] if unit == "--words" else ["--pool", "none"]), "--out", out)
    assert err.splitlines()[-1] == "picogpt: 1 bad row left out"
    assert f"{texts}, line 3: the text has no tokens; left out" in err
    assert main(["score", str(texts), "--lines", unit, "--jsonl", *MODEL]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found, name = loaded(out), unit[2:-1]
    rows = [(o["source"], o["line"], i, part[name]) for o in objects for i, part in enumerate(o[f"{name}s"])]
    columns = (found[column].tolist() for column in ("source", "line", "index", name))
    assert list(zip(*columns, strict=True)) == rows
    model = pretrained.load("shakespeare")
    good = [line for line in LINES.split("\n")[:-1] if line]
    expected = model.features(good, words=unit == "--words", pool="mean" if unit == "--words" else "none")
    np.testing.assert_allclose(found["hidden"], expected["hidden"], rtol=0, atol=2e-5)


def test_what_is_written_is_said(run: Run, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text('name,said\nx,"To be, or"\ny,not to be\n')
    given: list[str | Path] = [texts, "--column", "said", "--id", "name"]
    out, _ = run(*given, "--layer", "0,3", "--out", tmp_path / "a.npz")
    assert out == f"{tmp_path / 'a.npz'}: hidden 2×2×192, a row for each text, from the model shakespeare\n"
    found = loaded(tmp_path / "a.npz")
    assert (found["name"].tolist(), found["line"].tolist(), found["layers"].tolist()) == (["x", "y"], [2, 3], [0, 3])
    out, _ = run(*given, "--attention", "--layer", "1", "--out", tmp_path / "b.npz")
    assert "entropy 2×4, previous 2×4, a row for each text" in out
    run(*given, "--out", tmp_path / "c.npy")
    assert np.load(tmp_path / "c.npy").shape == (2, 192)
    lines = [json.loads(line) for line in (tmp_path / "c.npy.rows.jsonl").read_text().splitlines()]
    assert [(line["name"], line["n_rows"]) for line in lines] == [("x", 1), ("y", 1)]
    run("-", "--out", tmp_path / "d.csv", input=b"To be")
    assert (tmp_path / "d.csv").read_text().splitlines()[1].startswith("standard input,1,shakespeare,")
    names = {path.name.split(".", 1)[0] + path.suffix for path in tmp_path.iterdir()}
    assert names == {"texts.csv", "a.npz", "b.npz", "c.npy", "d.csv", "c.jsonl", *(f"{x}.json" for x in "abcd")}


def test_the_model_that_stands_in_for_gpt2_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "default_model", lambda models_dir: "shakespeare")
    out = tmp_path / "out.npz"
    assert main(["features", "To be", "--out", str(out)]) == 0
    said, told = capsys.readouterr()
    assert "from the model shakespeare" in said
    assert "GPT-2 is not here" in told
    assert str(loaded(out)["model"]) == json.loads(Path(f"{out}.meta.json").read_text())["model"] == "shakespeare"


@pytest.mark.parametrize("name", ["out.npz", "out.npy"])
def test_a_run_that_dies_at_any_moment_is_completed_to_the_same_bytes(
    run: Run, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each write, half done, and each rename; also one that is completed in several runs, each of which dies."""
    monkeypatch.setattr(loop, "CHUNK", 3)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    texts = tmp_path / "te\\xts.txt"
    texts.write_text(LINES)
    arguments: list[str | Path] = [texts, texts, "--lines", "--words", "--layer", "1"]
    whole, folder = tmp_path / name, tmp_path / "killed"
    folder.mkdir()
    run(*arguments, "--out", whole)
    expected = whole.read_bytes()
    resumed = [str(argument) for argument in (*arguments, *MODEL, "--out", folder / name, "--resume")]
    n_deaths = 0
    for _ in crashes(lambda: quietly(resumed)):  # each goes on from what the one before it left
        n_deaths += 1
        if n_deaths % 5 == 0:
            run(*arguments, "--out", folder / name, "--resume")
            assert (folder / name).read_bytes() == expected
            for path in folder.iterdir():
                path.unlink()
    assert n_deaths > 10
    assert (folder / name).read_bytes() == expected
    left = {path.name for path in folder.iterdir()}
    assert left == {name, f"{name}.meta.json"} | ({f"{name}.rows.jsonl"} if name == "out.npy" else set())
    out, err = run(*arguments, "--out", folder / name, "--resume")
    assert (out, err) == ("", f"picogpt: {folder / name} is whole, so there is nothing to resume\n")
    _, err = run(*arguments, "--out", folder / name, status=2)
    assert "exists: continue it (--resume)" in err


def quietly(arguments: list[str]) -> None:
    """In a child, whose errors must be told from dying."""
    with Path(os.devnull).open("w") as nowhere:
        sys.stderr = sys.stdout = nowhere
        if main(["features", *arguments]):
            raise RuntimeError


@pytest.mark.parametrize("n_written", [0, 1, 3, 5])
def test_a_process_that_is_killed_is_completed_to_the_same_bytes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    """By SIGKILL, when the values of a text are there and their label is not."""
    monkeypatch.setattr(loop, "CHUNK", 3)
    texts, out, whole = tmp_path / "texts.txt", tmp_path / "out.npz", tmp_path / "whole.npz"
    texts.write_text(LINES)
    arguments = [str(texts), "--lines", "--words", "--layer", "all"]
    run(*arguments, "--out", whole)
    child = os.fork()
    if not child:
        left, write = [n_written], Writer.write

        def killed(writer: Writer, rows: Any) -> None:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            write(writer, rows)

        monkeypatch.setattr(Writer, "write", killed)
        quietly([*arguments, *MODEL, "--out", str(out)])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not out.exists()
    assert len(Path(f"{out}.rows.jsonl").read_text().splitlines()) == n_written
    if n_written:
        _, err = run(*arguments, "--out", out, status=2)
        assert "out.npz.rows.jsonl exists: continue it (--resume)" in err
    run(*arguments, "--out", out, "--resume")
    assert out.read_bytes() == whole.read_bytes()


def test_a_run_with_other_options_is_not_continued(run: Run, tmp_path: Path) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "out.npz"
    texts.write_text("To be\n")
    run(texts, "--lines", "--out", out)
    for options, message in (
        (["--layer", "2"], "layer was 5 and is 2"),
        (["--layer", "5,5"], r"layer was 5 and is [5]"),
        (["--words"], "rows was 'text' and is 'word'"),
        (["--pool", "last"], "pool was 'mean' and is 'last'"),
        (["--attention"], "features was ['hidden'] and is ['entropy', 'previous']"),
        (["--no-bos"], "bos was 1023 and is None"),
    ):
        _, err = run(texts, "--lines", "--out", out, "--resume", *options, status=2)
        assert message in err
    Path(f"{out}.rows.jsonl").write_text('{"source": "x", "line": 1, "n_rows": 1}\n')
    out.unlink()
    _, err = run(texts, "--lines", "--out", out, "--resume", status=2)
    assert "out.npz.part lacks rows" in err
    texts.write_text("To bee\n")
    _, err = run(texts, "--lines", "--out", out, "--resume", status=2)
    assert "texts.txt has changed" in err
    with locked(tmp_path / ".new.npz.lock", on_wait=lambda: None):
        _, err = run(texts, "--out", tmp_path / "new.npz", status=2)
    assert "another process is writing" in err


def test_what_came_through_a_pipe_is_not_continued(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    run("--lines", "--out", out, input=b"To be\n")
    _, err = run("-", "--lines", "--out", out, "--resume", input=b"To be\n", status=2)
    assert "came through a pipe" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "the text has no tokens"),
        (["<|endoftext|>"], "say --special token"),
        (["lost.txt"], "there is no file lost.txt"),
        (["a", "--layer", "6"], "there is no layer 6: hidden states have layers 0, the embedding, to 5"),
        (["a", "--layer", "5", "--attention"], "there is no layer 5: attention has layers 0 to 4"),
        (["a", "--layer=-1"], "--layer takes a number, several (0,6,12) or all, not '-1'"),
        (["a", "--layer", "1,x"], "--layer takes a number"),
        (["a", "--layer", "9" * 5000], "--layer takes a number"),
        (["a", "--words", "--pool", "none"], "a row is a word or a token"),
        (["a", "--stride", "0"], "the stride must be from 1"),
        (["a", "--out", "x.txt"], "the name x.txt must end in .npz, .npy or .csv"),
        (["a", "--out", "x.npy", "--attention"], "an .npy file holds one array"),
        (["a", "--out", "no/such/folder.npz"], "cannot be written: No such file or directory"),
    ],
)
def test_mistakes_get_one_line_and_leave_no_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "load", functools.partial(pretrained.load))
    _, err = run("--out", "out.npz", *arguments, status=2)
    assert message in err
    assert not any(Path().glob("*.np[yz]"))


def test_a_full_disk_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "out.npz"
    texts.write_text(LINES)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_array", full)
    _, err = run("To be", "--out", out, status=2)
    assert err == f"picogpt: {out}.part: No space left on device\n"


def test_a_text_that_is_longer_than_the_context(run: Run, tmp_path: Path) -> None:
    text = "To be, or not to be, that is the question. " * 30
    run(text, "--pool", "none", "--layer", "2", "--out", tmp_path / "out.npy")
    model = pretrained.load("shakespeare")
    ids = model.encoder.encode(text)
    assert len(ids) > model.hparams["n_ctx"]
    extractor = Extractor(model, layer=2, pool="none")
    out = np.zeros((len(ids), *extractor.shape), np.float32)
    extractor.fill([(ids, extractor.units(ids))], out)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), out[:, 0, 0])
