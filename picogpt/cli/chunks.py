"""Many texts, a chunk of them after another, for commands whose output a later run can continue."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

from picogpt.cli.records import Record, read_records
from picogpt.cli.results import Place, cell
from picogpt.cli.text import check_special
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.tokenizers import Tokenizer
    from picogpt.types import Params

CHUNK = 64  # texts that are sorted by length and read side by side; a run that is killed loses no more than these

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Texts = list[tuple[Record, list[int]]]  # records with their ids


class Reader(Protocol):
    """What reads texts: a model, and how a text begins and where its windows lie."""

    encoder: Tokenizer
    params: Params
    n_head: int
    bos: list[int]
    stride: int

    def encode(self, text: str) -> list[int]:
        """A text's ids; raises `PicoGPTError` where there is nothing to read in it."""


class Output(Protocol[T_contra]):
    """Where the results of texts go, in their order."""

    def has(self, place: Place) -> bool:
        """Whether an earlier run has dealt with the text at this place; to be asked of all in their order."""

    def write(self, result: T_contra) -> None:
        """The result of one text."""


def each_text(
    args: argparse.Namespace, reader: Reader, output: Output[T], work: Callable[[Texts], Iterable[T]]
) -> None:
    """Every record in its order, those of a chunk together. Bad ones are reported on stderr and left out."""
    from tqdm import tqdm

    n_bad = 0
    with tqdm(unit=" texts", disable=None, dynamic_ncols=True) as progress:  # none where stderr is no terminal
        records = read_records(args)
        while chunk := list(itertools.islice(records, CHUNK)):
            good = []
            for record in chunk:
                try:
                    good.append((record, encode(record, args, reader)))
                except PicoGPTError as error:
                    message = f"{record.place}: {error}"
                    if args.strict:
                        raise PicoGPTError(message) from None
                    progress.write(f"picogpt: {message}; left out", file=sys.stderr)
                    n_bad += 1
            n_done = sum(output.has(place(record)) for record, _ in good)
            if n_done < len(good):  # a chunk is worked on as a whole: what is read side by side decides the last digits
                for result in list(work(good))[n_done:]:
                    output.write(result)
            progress.update(len(chunk))
    if n_bad:
        print(f"picogpt: {n_bad} bad row{'s' if n_bad > 1 else ''} left out", file=sys.stderr)


def encode(record: Record, args: argparse.Namespace, reader: Reader) -> list[int]:
    """A record's ids; raises `PicoGPTError` when there is nothing to read in it."""
    if record.is_bad:
        raise PicoGPTError(record.text)
    check_special(reader.encoder, record.text, args.special)
    return reader.encode(record.text)


def place(record: Record) -> Place:
    """A record's place as its rows have it."""
    return cell(record.source, 0), str(record.row)
