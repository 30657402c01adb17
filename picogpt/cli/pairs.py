"""`picogpt pairs`: of minimal pairs, how often a model finds the good sentence the better one."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.checksums import sha256
from picogpt.cli.accuracy import PairAccuracy
from picogpt.cli.corpus import reading_options, run
from picogpt.cli.description import describe
from picogpt.cli.options import Parser, add_bos_option, add_model_options, load_model, model_in_words
from picogpt.cli.output import add_output_options, form_of
from picogpt.cli.records import add_input_options, require_input
from picogpt.cli.text import add_special_option
from picogpt.corpus.shape import free_name
from picogpt.errors import PicoGPTError
from picogpt.files import read_parts

if TYPE_CHECKING:
    from picogpt.tokenizers import Tokenizer

DESCRIPTION = """\
Score the two sentences of each row of FILEs or standard input, CSV, TSV or JSON lines such as BLiMP's, and say how
often the good one has the better score: the accuracy, with its 95 % interval (Wilson's), of all rows and by group.

A score is the sentence's log-probability (natural), or with --metric mean that of a token on average; slor leaves out
what the frequencies of its tokens explain, which are counted in --unigrams; token-aligned takes the tokens that both
sentences share, given all that stands before each.
"""
METRICS = ("sum", "mean", "slor", "token-aligned")  # those of `picogpt.scoring.pairs`, which loads later


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt pairs", description=DESCRIPTION)
    add_input_options(parser)
    add_model_options(parser)
    add_special_option(parser)
    add = parser.add_argument
    add("--good", default="sentence_good", metavar="NAME", help="the column of the good sentence (sentence_good)")
    add("--bad", default="sentence_bad", metavar="NAME", help="the column of the other one (sentence_bad)")
    add("--group", metavar="NAME", help="accuracy by what stands in this column, too")
    add("--metric", choices=METRICS, default="sum", help="what is compared (default: sum)")
    add("--unigrams", type=Path, metavar="FILE", help="the text in which slor counts tokens")
    add_bos_option(parser)
    add_output_options(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    require_input(args)
    if (args.metric == "slor") != (args.unigrams is not None):
        raise PicoGPTError("--metric slor and --unigrams FILE, a text in which it counts tokens, belong together")
    args.form = form_of(args)
    from picogpt.scoring.pairs import PairsJob

    model = load_model(args)
    job = PairsJob(
        **reading_options(args),
        good=args.good,
        bad=args.bad,
        metric=args.metric,
        counted=count(args.unigrams, model.encoder) if args.unigrams is not None else None,
    ).with_model(model)
    accuracy = PairAccuracy(free_name(args.group, job.columns) if args.group else None)
    run(
        args,
        job,
        partial(
            describe,
            args,
            job.reader,
            unit=job.reader.unit,
            form=args.form,
            good=args.good,
            bad=args.bad,
            metric=args.metric,
            unigrams=sha256(args.unigrams) if args.unigrams else None,
        ),
        needed=[args.good, args.bad],
        along=[args.group] if args.group else [],
        seen=accuracy,
    )
    if args.output_dir is None:
        accuracy.show(args)
    if args.form == "table":
        print(f"\nmodel  {model_in_words(args)}")
    return 0


def count(path: Path, encoder: Tokenizer) -> Counter[int]:
    """How often each token comes in a file."""
    counted: Counter[int] = Counter()
    for part in read_parts(path):
        counted.update(encoder.encode(part, disallowed_special=()))
    return counted
