"""`picogpt features`: hidden states or attention statistics of texts, by token, word or text, for a study."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from picogpt.cli.chunks import Texts, each_text
from picogpt.cli.description import describe, kept
from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.cli.records import add_input_options, is_one_text, require_input
from picogpt.cli.results import Place, Row, Writer
from picogpt.cli.text import add_special_option, special_options
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.features import Extractor, Layers
    from picogpt.features.store import ValuesFile
    from picogpt.types import Array

DESCRIPTION = """\
Write the hidden states of a TEXT, FILEs or standard input (-) into a file, or statistics of attention: for each text
the mean over its tokens, or their last one, or with --words the same for each word, or with --pool none each token.

Tokens, words and windows are those of `picogpt score`: its rows are the rows here. Layers of hidden states count as
in transformers: 0 is the embedding, and the last is after ln_f. With --attention there is each head's entropy (in nats)
and its attention to the previous token; layers then count as in `picogpt inside`.

An .npz file has the features and what each row is of; an .npy file has them alone, in the order of FILE.rows.jsonl
beside it; a .csv file has a line for each row. FILE is there once it is whole; --resume completes a stopped run.
"""


class Found(NamedTuple):
    """What a text gives: what its rows are of, and the rows `[n_rows, n_names, n_layers, width]`."""

    label: Row
    values: Array


class Study(NamedTuple):
    """The two files in which a run keeps what it has found so far; `picogpt.features.store` says how."""

    labels: Writer
    values: ValuesFile

    def has(self, place: Place) -> bool:
        return self.labels.has(place)

    def write(self, found: Found) -> None:
        """The values first, so that what has a label has its values."""
        self.values.append(found.values)
        self.labels.write([found.label])


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt features", description=DESCRIPTION)
    add_input_options(parser)
    add_model_options(parser)
    add_special_option(parser)
    add = parser.add_argument
    add("--out", "--output", dest="out", type=Path, required=True, metavar="FILE", help="an .npz, .npy or .csv")
    add("--layer", metavar="N|all", help="a layer, several (0,6,12), or all (default: the last; of attention all)")
    add("--pool", choices=("mean", "last", "none"), default="mean", help="over a text's or a word's tokens (mean)")
    add("--words", action="store_true", help="a row for each word")
    add("--attention", action="store_true", help="each head's entropy and attention to the previous token")
    add(
        "--bos",
        action=argparse.BooleanOptionalAction,
        help="read a text after the config's bos token, which has no row (default)",
    )
    add("--stride", type=int, metavar="N", help="tokens from window to window (default: half the context)")
    add("--resume", action="store_true", help="complete the FILE of a run that was stopped")
    add("--strict", action="store_true", help="end at the first bad row (default: report it and leave it out)")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    args.inputs = [] if args.inputs == ["-"] else args.inputs
    require_input(args)
    args.strict = args.strict or is_one_text(args)
    layer = None if args.layer is None else layers(args.layer)
    from picogpt.features import Extractor
    from picogpt.features.store import check_form

    extractor = Extractor(
        load_model(args),
        layer=layer,
        pool=args.pool,
        words=args.words,
        attention=args.attention,
        bos=args.bos,
        stride=args.stride,
        **special_options(args.special),
    )
    check_form(args.out, extractor)
    description = describe(
        args,
        extractor,
        features=list(extractor.names),
        layer=extractor.layers[0] if extractor.has_one_layer else list(extractor.layers),
        pool=args.pool,
        rows=extractor.unit,
    )
    labels, values = parts(args.out)
    with kept(description, args.out, args.resume, parts=[labels]):
        if args.out.exists() and args.out.stat().st_size:
            print(f"picogpt: {args.out} is whole, so there is nothing to resume", file=sys.stderr)
        else:
            study(args, extractor, description["model"])
        values.unlink(missing_ok=True)
        if args.out.suffix != ".npy":
            labels.unlink(missing_ok=True)
    return 0


def study(args: argparse.Namespace, extractor: Extractor, model: str) -> None:
    """Read all texts that no earlier run has read, make the file of all that was found, and say what it is."""
    from picogpt.features.store import Labels, ValuesFile, empty, publish

    labels_path, values_path = parts(args.out)
    with Writer("jsonl", labels_path) as writer:
        labels = Labels(labels_path, extractor.unit, args.id is not None)
        with ValuesFile(values_path, extractor.shape, labels.n_rows()) as values:
            each_text(args, extractor, Study(writer, values), lambda texts: extract(texts, args, extractor))
            publish(args.out, extractor, values, labels, model)
    sizes = {name: (values.n_rows, *empty(extractor, name).shape[1:]) for name in extractor.names}
    arrays = ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in sizes.items())
    print(f"{args.out}: {arrays}, a row for each {extractor.unit}, from the model {model}")


def parts(out: Path) -> tuple[Path, Path]:
    """Where a run keeps what its rows are of, and their values."""
    return out.with_name(f"{out.name}.rows.jsonl"), out.with_name(f"{out.name}.part")


def layers(text: str) -> Layers:
    """What `--layer` names."""
    if text == "all":
        return "all"
    numbers = text.split(",")
    if not all(number.strip().isdecimal() and len(number) < 10 for number in numbers):
        raise PicoGPTError(f"--layer takes a number, several (0,6,12) or all, not {text!r}")
    return int(text) if len(numbers) == 1 else [int(number) for number in numbers]


def extract(texts: Texts, args: argparse.Namespace, extractor: Extractor) -> Iterator[Found]:
    """What texts give that are read side by side."""
    from picogpt.features.store import scratch

    units = [extractor.units(ids) for _, ids in texts]
    out = scratch(args.out.parent, (sum(len(unit.end) for unit in units), *extractor.shape))
    extractor.fill([(ids, unit) for (_, ids), unit in zip(texts, units, strict=True)], out)
    start = 0
    for (record, _), unit in zip(texts, units, strict=True):
        label: Row = {"source": record.source, "row": record.row}
        label |= ({"id": record.id} if args.id is not None else {}) | {"n_rows": len(unit.end)}
        label |= {"pieces": unit.pieces} if unit.pieces is not None else {}
        yield Found(label, out[start : start + len(unit.end)])
        start += len(unit.end)
