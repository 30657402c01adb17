"""Features of the texts of a corpus: what is done with each record, here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from picogpt.checkpoints.loaded import Model
from picogpt.corpus.jobs import Result
from picogpt.corpus.model import Check, ModelJob, no_check
from picogpt.corpus.records import Record
from picogpt.features.extractor import Extractor
from picogpt.features.store import scratch


class FeaturesJob(ModelJob[list[int], Extractor]):
    """The features of a column's texts: `n_rows`, the `pieces` that they are of, and `values [n_rows, *shape]`.

    What does not fit into memory is kept in a file of `folder`.
    """

    columns = ("n_rows", "pieces", "hidden", "entropy", "previous", "layers", "token", "word")

    def __init__(
        self,
        load: Callable[[], Model],
        check: Check = no_check,
        *,
        column: str = "text",
        folder: Path = Path(),
        **options: Any,
    ) -> None:
        super().__init__(load, check, **options)
        self.column, self.folder = column, folder

    def make_reader(self, model: Model) -> Extractor:
        return Extractor(model, **self.options)

    def prepare(self, record: Record) -> list[int]:
        return self.encode(record.text(self.column))

    def measure(self, prepared: Sequence[list[int]]) -> Iterable[Result]:
        units = [self.reader.units(ids) for ids in prepared]
        out = scratch(self.folder, (sum(len(unit.end) for unit in units), *self.reader.shape))
        self.reader.fill(list(zip(prepared, units, strict=True)), out)
        start = 0
        for unit in units:
            n_rows = len(unit.end)
            pieces = {"pieces": unit.pieces} if unit.pieces is not None else {}
            yield Result({"n_rows": n_rows, **pieces, "values": out[start : start + n_rows]})
            start += n_rows
