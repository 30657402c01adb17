"""How often the model was right, counted from the rows that are written, as a table under them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picogpt.cli.results import Row
    from picogpt.scoring.accuracy import Tally


class Accuracy:
    """Is told of every row, also of those that an earlier run wrote, which are texts in a CSV file."""

    tally: Tally

    def show(self, args: argparse.Namespace) -> None:
        """The table, on stdout unless the rows for a program are there."""
        file = sys.stdout if args.form == "table" or args.output is not None else sys.stderr
        if args.form == "table":
            print(file=file)
        print(f"{'n':>10}  {'accuracy':>10}  {'95 % from':>10}  {'to':>10}  of", file=file)
        for row in self.tally.rows():
            figures = "  ".join(f"{row[name]:10.3f}" for name in ("accuracy", "low", "high"))
            what = row["group"] if len(self.tally.names) == 1 else row["figure"]
            print(f"{row['n']:>10}  {figures}  {what}", file=file)


class PairAccuracy(Accuracy):
    """Of pairs, by the column `group` if there is one."""

    def __init__(self, group: str | None) -> None:
        from picogpt.scoring.accuracy import Tally

        self.tally, self.group = Tally("correct"), group

    def __call__(self, row: Row) -> None:
        group = None if self.group is None else str(row[self.group])
        self.tally.add({"correct": int(row["correct"])}, group)


class ChoiceAccuracy(Accuracy):
    """Of questions: in JSON lines a row is one, elsewhere the row of the right choice says how it ranks."""

    def __init__(self) -> None:
        from picogpt.scoring.accuracy import Tally

        self.tally = Tally("acc", "acc_norm", "acc_bytes")

    def __call__(self, row: Row) -> None:
        if "acc" in row:
            self.tally.add({name: row[name] for name in self.tally.names})
        elif int(row["is_answer"]):
            self.tally.add({name: int(str(row[f"rank{name[3:]}"]) == "1") for name in self.tally.names})
