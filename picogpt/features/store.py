"""Features on the disk: rows that are appended while a study runs, and the files that are made of them at its end.

Nothing here holds more in memory than some rows, however many there are.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.features.extractor import Extractor, Row, numbered
from picogpt.files import replacing, write_array

N_ROWS = 1024  # on their way from one file to another at once
NUMBERS = ("line", "index")  # the columns that are not strings
IN_MEMORY, BLOCK = 1 << 26, 1 << 20  # bytes
LONGEST = 100  # characters of a token or word in an .npz, where all take the room of the longest


class Labels:
    """What each row of features is of: its text's source, line and further columns, and its token or word.

    They stand in a file of JSON lines, one for each text, which has the number of its rows, `n_rows`, and the list of
    its tokens or words, `pieces`.
    """

    def __init__(self, path: Path, unit: str, columns: Sequence[str] = ()) -> None:
        self.path, self.unit = path, unit
        self.of_texts = ["source", "line", *columns]
        self.columns = [*self.of_texts, *(["index", unit] if unit != "text" else [])]

    def __iter__(self) -> Iterator[Row]:
        for label in self.texts():
            of_text = {name: label[name] for name in self.of_texts}
            if self.unit == "text":
                yield of_text
            else:
                yield from ({**of_text, **row} for row in numbered(label["pieces"], self.unit))

    def texts(self) -> Iterator[Row]:
        """The lines as they are; of a file that is not there yet none."""
        if self.path.exists():
            with self.path.open(encoding="utf-8", newline="\n") as file:
                yield from map(json.loads, file)

    def n_rows(self) -> int:
        """How many rows there are; raises `PicoGPTError` where the file is something else."""
        try:
            return sum(int(label["n_rows"]) for label in self.texts())
        except (ValueError, LookupError, TypeError):
            raise PicoGPTError(f"{self.path} is not the output of such a run; name another file") from None


class ValuesFile:
    """float32 rows of a shape, one after another in a file, of which the first `n_rows` are there already."""

    def __init__(self, path: Path, shape: tuple[int, ...], n_rows: int) -> None:
        self.path, self.shape, self.n_rows = path, shape, n_rows
        row_size = 4 * math.prod(shape)
        if n_rows * row_size > (path.stat().st_size if path.exists() else 0):
            raise PicoGPTError(f"{path} lacks rows that an earlier run had written; begin again under another name")
        self.file = path.open("ab")
        self.file.truncate(n_rows * row_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.file.close()

    def append(self, rows: npt.NDArray[Any]) -> None:
        """More rows; they are with the operating system when this returns."""
        try:
            write_array(self.file, rows.astype(np.float32, copy=False))
            self.file.flush()
        except OSError as error:
            error.filename = str(self.path)
            raise
        self.n_rows += len(rows)

    def read(self) -> Iterator[npt.NDArray[np.float32]]:
        """All of the rows, some at a time."""
        with self.path.open("rb") as file:
            for start in range(0, self.n_rows, N_ROWS):
                shape = min(N_ROWS, self.n_rows - start), *self.shape
                yield np.fromfile(file, np.float32, math.prod(shape)).reshape(shape)


def scratch(folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Zeros to work on: in memory, or where they are many in a file of `folder` that nobody else sees."""
    size = 4 * math.prod(shape)
    if size <= IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        for start in range(0, size, BLOCK):  # not a hole: writing into its map would end the process on a full disk
            file.write(bytes(min(BLOCK, size - start)))
        file.flush()
        return np.memmap(file, np.float32, "r+", shape=shape)


def publish(out: Path, extractor: Extractor, values: ValuesFile, labels: Labels, model: str) -> None:
    """Make the file `out`, .npz, .npy or .csv, of all the rows; it is there when it is whole."""
    with replacing(out) as file:
        WRITERS[out.suffix](file, extractor, values, labels, model)


def write_npy(file: IO[bytes], extractor: Extractor, values: ValuesFile, labels: Labels, model: str) -> None:
    """The array of features alone."""
    name = extractor.names[0]
    write_parts(file, values.n_rows, (extractor.arrays(part)[name] for part in values.read()), empty(extractor, name))


def write_npz(file: IO[bytes], extractor: Extractor, values: ValuesFile, labels: Labels, model: str) -> None:
    """Features by their names, an array for each column of the labels, the layers, and the model's name."""
    with zipfile.ZipFile(file, "w") as archive:

        def member(name: str, n: int | None, parts: Iterable[npt.NDArray[Any]], like: npt.NDArray[Any]) -> None:
            info = zipfile.ZipInfo(f"{name}.npy")  # of no date, so that the same features are the same bytes
            with archive.open(info, "w", force_zip64=True) as entry:
                write_parts(entry, n, parts, like)

        for name in extractor.names:
            parts = (extractor.arrays(part)[name] for part in values.read())
            member(name, values.n_rows, parts, empty(extractor, name))
        for name, like in column_types(labels).items():
            member(name, values.n_rows, column(labels, name, like.dtype), like)
        for name, array in (("layers", np.array(extractor.layers)), ("model", np.array(model))):
            member(name, None, [array], array)


def write_csv(file: IO[bytes], extractor: Extractor, values: ValuesFile, labels: Labels, model: str) -> None:
    """A line for each row: what it is of, the model, and `NAME.LAYER.NUMBER` for each number."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    numbers = range(extractor.shape[-1])
    names = [f"{name}.{layer}.{i}" for name in extractor.names for layer in extractor.layers for i in numbers]
    flat = itertools.chain.from_iterable(part.reshape(len(part), -1) for part in values.read())
    writer.writerow([*labels.columns, "model", *names])
    for row, numbers_of_row in zip(labels, flat, strict=True):
        writer.writerow([*row.values(), model, *map(digits, numbers_of_row)])
    text.detach()


WRITERS: Mapping[str, Callable[[IO[bytes], Extractor, ValuesFile, Labels, str], None]] = {
    ".npz": write_npz,
    ".npy": write_npy,
    ".csv": write_csv,
}


def check_form(out: Path, extractor: Extractor) -> None:
    """Raises `PicoGPTError` where no such file can be made."""
    if out.suffix not in WRITERS:
        raise PicoGPTError(f"the name {out} must end in .npz, .npy or .csv, which says what is written")
    if out.suffix == ".npy" and len(extractor.names) > 1:
        raise PicoGPTError("an .npy file holds one array, and attention makes two: name an .npz or .csv")


def empty(extractor: Extractor, name: str) -> npt.NDArray[Any]:
    """No rows of these features."""
    return extractor.arrays(np.empty((0, *extractor.shape), np.float32))[name]


def write_parts(file: IO[bytes], n: int | None, parts: Iterable[npt.NDArray[Any]], like: npt.NDArray[Any]) -> None:
    """An .npy file of `n` rows like those of `like`, or of `like` itself, which come in parts."""
    shape = like.shape if n is None else (n, *like.shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(like.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
        write_array(file, part)


def column_types(labels: Labels) -> dict[str, npt.NDArray[Any]]:
    """For each column an empty array of its dtype: strings take the room of the longest."""
    longest = dict.fromkeys(labels.columns, 1)
    for row in labels:
        for name, value in row.items():
            if name not in NUMBERS:
                longest[name] = max(longest[name], len(shortened(name, value)))
    return {name: np.empty(0, np.int64 if name in NUMBERS else f"<U{n}") for name, n in longest.items()}


def column(labels: Labels, name: str, dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    """A column, some rows at a time."""
    rows = iter(labels)
    while part := [shortened(name, row[name]) for row in itertools.islice(rows, N_ROWS)]:
        yield np.array(part, dtype)


def shortened(name: str, value: Any) -> Any:
    """The value of a column; only tokens and words, which have their index, are ever cut."""
    if name in ("token", "word") and len(value) > LONGEST:
        return f"{value[: LONGEST - 1]}…"
    return value


def digits(number: np.float32) -> str:
    """The shortest decimal that is this float32; nothing for what is not a number."""
    return "" if np.isnan(number) else str(number)
