"""`picogpt ladder`."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picogpt.cli.ladder
import picogpt.training.ladder
import picogpt.training.plot
from picogpt.cli import main
from picogpt.cli.ladder import smooth, why_the_mean_is_worse
from picogpt.pretrained import load
from picogpt.training.ladder import IDEAS, rungs

TEXT = "".join(f"{i} times {i} is {i * i}.\n" for i in range(200))
NAMES = ["bigram", "embedding", "positions", "averaged-past", "residual", "self-attention", "gpt-2"]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT)
    return tmp_path / "text"


def ladder(text: Path, *options: str, steps: int = 3) -> int:
    return main(["ladder", "--data", str(text), "--steps", str(steps), *options])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """All of the ladder, three steps a rung: the folder where it leaves its files, and what it prints."""
    folder = tmp_path_factory.mktemp("ladder")
    (folder / "text").write_text(TEXT)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert ladder(folder / "text", "--out", str(folder / "out"), "--plot", str(folder / "ladder.png")) == 0
    return folder, out.getvalue()


def test_a_row_and_an_idea_for_every_rung_and_a_picture(whole: tuple[Path, str]) -> None:
    folder, out = whole
    lines = out.splitlines()
    assert [line[:17].strip() for line in lines[1:17:2]] == ["counted pairs", *IDEAS]
    assert [line.strip() for line in lines[4:17:2]] == list(IDEAS.values())
    assert (folder / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_some_of_the_rungs(text: Path, whole: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    """In the ladder's order, whatever the option's; each the same as in the whole ladder."""
    assert ladder(text, "--only", "averaged-past, bigram") == 0
    some, all_of_them = figures(capsys.readouterr().out), figures(whole[1])
    assert list(some) == ["counted pairs", "bigram", "+ averaged past"]
    assert all(all_of_them[name] == found for name, found in some.items())


def figures(out: str) -> dict[str, list[str]]:
    """The parameters and losses of each row."""
    rows = [line for line in out.splitlines()[1:] if line and not line.startswith(" ")]
    return {row[:17].strip(): row[17:].split()[:4] for row in rows if re.match(r"[\d,]+$", row[17:].split()[0])}


def test_what_was_trained_is_saved(whole: tuple[Path, str]) -> None:
    """Each rung's parameters as arrays; GPT-2 as a model like any other."""
    out = whole[0] / "out"
    assert sorted(path.stem for path in out.iterdir()) == sorted(NAMES)
    n_vocab = len(set(TEXT))
    rung = rungs(n_vocab)["+ self-attention"]
    params = picogpt.training.ladder.load(out / "self-attention.npz")
    assert rung.forward(params, np.array([1, 2, 3])).shape == (3, n_vocab)
    assert len(load(str(out / "gpt-2")).generate("2 times", 5)) == 5


def test_the_picture_grows_while_a_rung_is_trained(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the levels in it from the first time on."""
    drawn: list[tuple[int, list[float]]] = []

    def draw(path: Path, curves: Any, title: str, levels: Any) -> bool:
        drawn.append((len(curves["bigram"]), sorted(levels.values())))
        return True

    monkeypatch.setattr(picogpt.cli.ladder, "REDRAWN", 0)
    monkeypatch.setattr(picogpt.training.plot, "draw_losses", draw)
    assert ladder(text, "--only", "bigram", steps=4) == 0
    assert [n for n, _ in drawn] == [1, 2, 3, 4, 4]
    n_vocab = len(set(TEXT))
    assert all(floor < level == math.log(n_vocab) for _, (floor, level) in drawn)


class Interrupting:
    """Ctrl-C in the middle of a training step."""

    def __init__(self, rung: str, step: int) -> None:
        self.rung, self.step = rung, step

    def __call__(self, rung: Any, state: Any, *others: Any) -> Iterator[Any]:
        for step in self.original(rung, state, *others):
            if rung == rungs(len(set(TEXT)))[self.rung] and step.step == self.step:
                os.kill(os.getpid(), signal.SIGINT)
            yield step

    original = staticmethod(picogpt.training.ladder.steps)


def test_ctrl_c_leaves_what_there_is(
    text: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picogpt.training.ladder, "steps", Interrupting("+ positions", 2))
    assert ladder(text, "--out", "out", steps=9) == 130
    out, err = capsys.readouterr()
    assert list(figures(out)) == ["counted pairs", "bigram", "embedding", "+ positions"]
    assert "stopped in + positions, after 3 of 9 steps" in err
    assert sorted(path.stem for path in Path("out").iterdir()) == ["bigram", "embedding", "positions"]
    assert Path("ladder.png").is_file()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_that_there_will_be_no_picture_is_said_first(
    text: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not after minutes of training."""
    monkeypatch.setattr(picogpt.training.plot, "can_draw", lambda: False)
    assert ladder(text, "--only", "nothing") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "pip install matplotlib" in first
    assert "there is no such rung; there are bigram, embedding, positions" in second
    assert ladder(text, "--only", "bigram") == 0
    assert not Path("ladder.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "--data FILE"),
        (["--data", "short"], "the ladder needs more"),
        (["--only", "bigram,"], "--only : there is no such rung"),
        (["--steps", "0"], "steps must be 1 or more, not 0"),
        (["--out", "text"], "text is not a directory"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    text: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("short").write_text("too short")
    assert main(["ladder", "--data", "text", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_the_lesson_says_only_what_the_figures_show() -> None:
    losses = {"+ positions": 2.4, "+ averaged past": 3.2, "+ residual": 2.5, "+ self-attention": 2.3}
    assert [word in why_the_mean_is_worse(losses) for word in ("3.200 against 2.400", "2.500", "2.300")] == [True] * 3
    unclear = {**losses, "+ residual": 3.3, "+ self-attention": 2.6}
    assert [word in why_the_mean_is_worse(unclear) for word in ("3.200", "3.300", "2.600")] == [True, False, False]
    for missing in ("+ positions", "+ averaged past"):
        assert not why_the_mean_is_worse({name: loss for name, loss in losses.items() if name != missing})
    for mean in (2.2, 2.45):  # after a few steps they are all alike
        assert not why_the_mean_is_worse({**losses, "+ averaged past": mean})


def test_a_curves_points_are_means() -> None:
    assert smooth([1, 3, 5, 7, 9], 2) == [(1, 2), (3, 6), (4.5, 9)]
