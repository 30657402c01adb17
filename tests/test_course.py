"""The course: its notebooks print what stands in them, and an exercise that is wrong is told in what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picogpt.course import check, read_text, show
from picogpt.errors import PicoGPTError
from tests.texts import read_text as find_text

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "course").glob("*.ipynb"))
X = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
SQUARE = X[:, :3]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_stands_in_it_and_its_solutions_are_right(path: Path) -> None:
    find_text("tinyshakespeare.txt")
    from run_notebooks import differences, execute, read

    notebook = read(path)
    done, wrong = execute(notebook)
    assert wrong == []
    assert differences(notebook, done) == []


def test_every_notebook_has_an_exercise_and_leads_to_the_next() -> None:
    from run_notebooks import read, solved_cells

    assert len(NOTEBOOKS) == 9
    for path, following in zip(NOTEBOOKS, [*NOTEBOOKS[1:], None], strict=True):
        notebook = read(path)
        assert len(solved_cells(notebook.cells)) >= 1
        assert following is None or f"({following.name})" in notebook.cells[-1].source


def right(x: Any) -> Any:
    return x * 2


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: None, "still to be written; it returns nothing"),
    (lambda x: x @ x, "raised ValueError: matmul"),
    (lambda x: x.T * 2, "the shape is (4, 3) and should be (3, 4): two axes have changed places"),
    (lambda x: (x * 2).reshape(12), "the shape is (12,) and should be (3, 4): the same numbers in another arrangement"),
    (lambda x: x.sum(axis=0), "should be (3, 4): an axis is gone; did a sum or a mean want keepdims=True"),
    (lambda x: np.stack([x, x]), "there is an axis too many"),
    (lambda x: x * 6, "12 of 12 numbers differ, the first at [0, 0]: 6, not 2; all are 3 times what they should be"),
    (lambda x: x[::-1] * 2, "the first at [0, 0]: 18, not 2; the numbers are the right ones, in another order"),
    (lambda x: x / 0 * 2, "there are infinite numbers or NaN where there should be none"),
    (lambda x: x * np.float64(2), "the numbers are right, but float64: a NumPy float64 scalar made them so"),
    (lambda x: "8", "it should return numbers of shape (3, 4); it returns a str of 1"),
    (lambda x: [x, [1]], "it should return numbers of shape (3, 4); it returns a list of 2"),
]


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("yours", "message"), WRONG)
def test_a_wrong_answer_is_told_in_what_it_differs(
    yours: Callable[[Any], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(yours, right, X)
    said = capsys.readouterr().out
    assert message in said
    assert said.count("\n") == 1
    assert "is right" not in said


def test_a_right_answer_is_right_up_to_rounding(capsys: pytest.CaptureFixture[str]) -> None:
    check(lambda x: x * np.float32(2.00001), right, X)
    check(lambda x: x, lambda x: x, "a text")
    check(lambda x: (x, [1, 2]), lambda x: (x, [1, 2]), X)
    assert capsys.readouterr().out.count("is right") == 3


@pytest.mark.parametrize(
    ("yours", "expected", "message"),
    [
        (["a", "b", "x"], ["a", "b", "c"], "the first 2 of 3 are right; then 'x' stands where 'c' should"),
        (["a"], ["a", "b"], "the first 1 of 2 are right; then it ends where 'b' should"),
        ("ab", "a", "the first 1 of 1 are right; then 'b' stands where it should end"),
        ("ab", ["a", "b"], "it should return a list of 2; it returns a str of 2"),
        (X, (X, X), "it should return 2 values, a tuple"),
        ((X, X.T), (X, X), "value 2: the shape is (4, 3)"),
        (SQUARE.T, SQUARE, "the last two axes have changed places"),
    ],
)
def test_lists_texts_and_tuples_too(
    yours: Any, expected: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(lambda: yours, lambda: expected)
    assert message in capsys.readouterr().out


def test_a_text_is_found_in_a_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("to be")
    (tmp_path / "docs" / "course").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs" / "course")
    assert read_text("x.txt") == "to be"
    with pytest.raises(PicoGPTError, match="get it with `picogpt download the-verdict`"):
        read_text("the-verdict.txt")


def test_matrices_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    show(X / 12, -X, titles=["a"], rows=list("abc"), columns=list("wxyz"), values=True)
    axes = plt.gcf().axes
    assert [axis.get_title() for axis in axes] == ["a", ""]
    assert axes[0].images[0].norm.vmin == 0
    assert axes[1].images[0].norm.vmin == -axes[1].images[0].norm.vmax
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list("abc")
    plt.close("all")
