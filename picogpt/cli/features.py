"""`picogpt features`: hidden states or attention statistics of texts, by token, word or text, for a study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.cli.corpus import Output, reading_options
from picogpt.cli.description import describe, kept
from picogpt.cli.options import Parser, add_bos_option, add_model_options, load_model, model_name
from picogpt.cli.progress import Progress
from picogpt.cli.records import Input, add_input_options, add_text_option, is_one_text, require_input
from picogpt.cli.results import Writer
from picogpt.cli.text import add_special_option
from picogpt.cli.workers import MANY, add_worker_options, spread
from picogpt.corpus import loop
from picogpt.corpus.jobs import Result
from picogpt.corpus.records import Record
from picogpt.corpus.shape import Shape
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.features import Layers
    from picogpt.features.job import FeaturesJob
    from picogpt.features.store import ValuesFile

DESCRIPTION = """\
Write the hidden states of a TEXT, FILEs or standard input (-) into a file, or statistics of attention: for each text
the mean over its tokens, or their last one, or with --words the same for each word, or with --pool none each token.

Tokens, words and windows are those of `picogpt score`: its rows are the rows here. Layers of hidden states count as
in transformers: 0 is the embedding, and the last is after ln_f. With --attention there is each head's entropy (in nats)
and its attention to the previous token; layers then count as in `picogpt inside`.

An .npz file has the features and what each row is of; an .npy file has them alone, in the order of FILE.rows.jsonl
beside it; a .csv file has a line for each row. FILE is there once it is whole; --resume completes a stopped run.
"""


class Study(Output):
    """Keeps what a run has found so far in two files; `picogpt.features.store` says how."""

    values: ValuesFile

    def write(self, record: Record, result: Result) -> None:
        """The values first, so that what has a label has its values."""
        label = dict(result.summary)
        self.values.append(label.pop("values"))
        super().write(record, Result(label))


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt features", description=DESCRIPTION)
    add_input_options(parser)
    add_text_option(parser)
    add_model_options(parser)
    add_special_option(parser)
    add = parser.add_argument
    add("--out", "--output", dest="out", type=Path, required=True, metavar="FILE", help="an .npz, .npy or .csv")
    add("--layer", metavar="N|all", help="a layer, several (0,6,12), or all (default: the last; of attention all)")
    add("--pool", choices=("mean", "last", "none"), default="mean", help="over a text's or a word's tokens (mean)")
    add("--words", action="store_true", help="a row for each word")
    add("--attention", action="store_true", help="each head's entropy and attention to the previous token")
    add_bos_option(parser, "read a text after the config's bos token, which has no row")
    add("--stride", type=int, metavar="N", help="tokens from window to window (default: half the context)")
    add("--resume", action="store_true", help="complete the FILE of a run that was stopped")
    add("--strict", action="store_true", help="end at the first bad row (default: report it and leave it out)")
    add_worker_options(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    args.inputs = [] if args.inputs == ["-"] else args.inputs
    require_input(args)
    args.strict = args.strict or is_one_text(args)
    layer = None if args.layer is None else layers(args.layer)
    from picogpt.features.job import FeaturesJob
    from picogpt.features.store import check_form

    job = FeaturesJob(
        **reading_options(args),
        column=args.column,
        folder=args.out.parent.resolve(),
        layer=layer,
        pool=args.pool,
        words=args.words,
        attention=args.attention,
        stride=args.stride,
    ).with_model(load_model(args))
    extractor = job.reader
    check_form(args.out, extractor)
    description = describe(
        args,
        extractor,
        column=args.column,
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
            study(args, job)
        values.unlink(missing_ok=True)
        if args.out.suffix != ".npy":
            labels.unlink(missing_ok=True)
    return 0


def study(args: argparse.Namespace, job: FeaturesJob) -> None:
    """Read all texts that no earlier run has read, make the file of all that was found, and say what it is."""
    from picogpt.features.store import Labels, ValuesFile, empty, publish

    extractor, model = job.reader, model_name(args)
    labels_path, values_path = parts(args.out)
    ids = None if args.id is None else tuple(args.id)
    shape = Shape("csv", model, job.columns, ids=ids, left_out=(args.column,))
    with Input(args) as records, Writer("jsonl", labels_path) as writer:
        survey = records.survey()
        survey.require([args.column, *(ids or ())])
        columns = shape.columns(survey.columns)
        labels = Labels(labels_path, extractor.unit, list(columns.values()))
        with ValuesFile(values_path, extractor.shape, labels.n_rows()) as values:
            with (
                Progress(survey.n_records) as progress,
                spread(args, job, survey.n_records > MANY and args.pool != "none") as side_by_side,
            ):
                sink = Study(writer, progress, shape, columns, args.strict)
                sink.values = values
                loop.run(records, job, sink, side_by_side)
            sink.close()
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
