"""What the notebooks of docs/course share: exercises that say what differs, the texts, and a picture of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from picogpt.errors import PicoGPTError, shown

ALMOST = 1e-4  # relative to the largest number: what float32 leaves open, and no mistake does


def check(yours: Callable[..., Any], right: Callable[..., Any], *arguments: Any) -> None:
    """Say whether `yours` gives for these arguments what `right` gives, and if not, in what it differs."""
    name = getattr(yours, "__name__", "your function")
    try:
        found = yours(*arguments)
    except Exception as error:  # whatever a learner's function raises is what the learner wants to know
        print(f"{name} raised {type(error).__name__}: {error}")
        return
    wrong = difference(found, right(*arguments))
    print(f"{name}: {wrong}" if wrong else f"{name} is right")


def difference(yours: Any, right: Any) -> str:
    """In what `yours` is not `right`, in a line; nothing where they are the same, numbers up to rounding."""
    if yours is None or yours is ...:
        return "still to be written; it returns nothing"
    if isinstance(right, str) or (isinstance(right, list) and not all(isinstance(x, int | float) for x in right)):
        return difference_of_sequences(yours, right)
    if isinstance(right, tuple):
        if not isinstance(yours, tuple) or len(yours) != len(right):
            return f"it should return {len(right)} values, a tuple; it returns {kind(yours)}"
        parts = [difference(x, y) for x, y in zip(yours, right, strict=True)]
        return next((f"value {i + 1}: {part}" for i, part in enumerate(parts) if part), "")
    return difference_of_arrays(yours, right)


def difference_of_sequences(yours: Any, right: Sequence[Any]) -> str:  # of strings, or lists of them
    if type(yours) is not type(right):
        return f"it should return {kind(right)}; it returns {kind(yours)}"
    if yours == right:
        return ""
    same = next((i for i, (x, y) in enumerate(zip(yours, right, strict=False)) if x != y), min(len(yours), len(right)))
    here = f"{shown(yours[same])} stands" if same < len(yours) else "it ends"
    there = f"{shown(right[same])} should" if same < len(right) else "it should end"
    return f"the first {same} of {len(right)} are right; then {here} where {there}"


def difference_of_arrays(yours: Any, right: Any) -> str:
    right = np.asarray(right)
    returned = kind(yours)
    try:
        yours = np.asarray(yours)
    except ValueError:  # of rows that differ in length
        yours = np.array("")
    if yours.dtype.kind not in "biuf":
        return f"it should return numbers of shape {right.shape}; it returns {returned}"
    if yours.shape != right.shape:
        return f"the shape is {yours.shape} and should be {right.shape}{about_shapes(yours, right)}"
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0)) or 1.0
    near = np.isclose(yours, right, rtol=0, atol=ALMOST * scale, equal_nan=True)
    if near.all():
        if right.dtype == np.float32 and yours.dtype == np.float64:
            return "the numbers are right, but float64: a NumPy float64 scalar made them so; use math and plain numbers"
        return ""
    if not np.isfinite(yours[np.isfinite(right)]).all():
        return "there are infinite numbers or NaN where there should be none"
    place = tuple(map(int, np.argwhere(~near)[0]))
    where = f" at {list(place)}" if place else ""
    line = f"{int((~near).sum())} of {near.size} numbers differ, the first{where}: {yours[place]:.4g}, not "
    return f"{line}{right[place]:.4g}{about_numbers(yours, right)}"


def about_shapes(yours: Any, right: Any) -> str:
    """The mistake that shapes like these come from, if it is a common one."""
    if yours.ndim == right.ndim and sorted(yours.shape) == sorted(right.shape):
        return ": two axes have changed places"
    if yours.size == right.size:
        return ": the same numbers in another arrangement"
    if yours.ndim == right.ndim - 1:
        return ": an axis is gone; did a sum or a mean want keepdims=True, or did you index where you should slice?"
    if yours.ndim == right.ndim + 1:
        return ": there is an axis too many"
    return ""


def about_numbers(yours: Any, right: Any) -> str:
    """The mistake that numbers like these come from, if it is a common one."""
    known = right != 0
    if known.any():
        ratio = yours[known] / right[known]
        if ratio[0] and np.allclose(ratio, ratio[0], rtol=1e-3):
            return f"; all are {ratio[0]:.4g} times what they should be"
    if yours.ndim > 1 and yours.shape[-1] == yours.shape[-2] and np.allclose(yours.swapaxes(-1, -2), right):
        return "; the last two axes have changed places"
    if yours.ndim and np.allclose(np.sort(yours, axis=None), np.sort(right, axis=None)):
        return "; the numbers are the right ones, in another order"
    return ""


def kind(value: Any) -> str:
    """What the value is, in a word or two."""
    if isinstance(value, list | tuple | str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a value of type {type(value).__name__}"


def read_text(name: str) -> str:
    """A text of the course, from `data/` here or in a folder above; raises `PicoGPTError` where it is not there."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (path := folder / "data" / name).is_file():
            return path.read_text(encoding="utf-8")
    raise PicoGPTError(f"data/{name} is not there; get it with `picogpt download {Path(name).stem}`")


def show(
    *matrices: Any,
    titles: Sequence[str] = (),
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    values: bool = False,
) -> None:
    """Draw matrices beside each other as shaded cells, darker for more; with `values`, each cell with its number."""
    import matplotlib.pyplot as plt

    n = len(matrices)
    _, axes = plt.subplots(1, n, figsize=(min(4.0 * n, 12), 3.6), layout="constrained", squeeze=False)
    for i, (axis, matrix) in enumerate(zip(axes[0], matrices, strict=True)):
        array = np.asarray(matrix)
        image = axis.imshow(array, cmap="Blues" if array.min() >= 0 else "RdBu", **limits(array))
        if values:
            half = (image.norm.vmin + image.norm.vmax) / 2
            for (row, column), value in np.ndenumerate(array):
                dark = value > half if array.min() >= 0 else abs(value) > 0.6 * image.norm.vmax
                colour = "white" if dark else "black"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
        axis.set_title(titles[i] if i < len(titles) else "")
        axis.set_xticks(range(len(columns)), columns, rotation=90)
        axis.set_yticks(range(len(rows)), rows)
    plt.show()


def limits(array: Any) -> dict[str, float]:
    """The numbers of the lightest and the darkest colour; white is 0."""
    largest = float(np.abs(array).max()) or 1.0
    return {"vmin": 0.0 if array.min() >= 0 else -largest, "vmax": largest}
