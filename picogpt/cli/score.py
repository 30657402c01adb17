"""`picogpt score`: how surprising a model finds texts, by token, word, region or text, or which choice it prefers."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.cli.accuracy import ChoiceAccuracy
from picogpt.cli.corpus import reading_options, run
from picogpt.cli.description import describe, in_words, kept
from picogpt.cli.options import Parser, add_bos_option, add_model_options, load_model, model_in_words, model_name
from picogpt.cli.output import add_output_options, form_of
from picogpt.cli.records import Input, add_input_options, add_text_option, is_one_text, require_input
from picogpt.cli.results import Row, Writer
from picogpt.cli.streams import in_colour
from picogpt.cli.text import add_special_option, check_argument, check_special, special_options
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.corpus.jobs import Result
    from picogpt.pretrained import GPT2
    from picogpt.scoring.jobs import ScoringJob

DESCRIPTION = """\
Score a TEXT, FILEs or standard input: the log-probability (natural) of every token given those before it, its
surprisal, its rank among all tokens, and the entropy of the prediction; words and texts have sums of these.

A text is scored as if a document began with it, after the config's bos_token_id (<|endoftext|> of GPT-2): so its first
token has a score too, and the sum is the log-probability of the whole text. With --no-bos the first token has none.
Published tools differ: `surprisal` does the former, `minicons` the latter.

A text longer than the model's context is read in windows, one every --stride tokens; each token is scored once.

On a terminal tokens and words are coloured by their surprisal, from dark blue for none to yellow for that of a token
drawn blindly, or more; NO_COLOR=1 switches that off.
"""


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt score", description=DESCRIPTION)
    add_input_options(parser)
    add_text_option(parser)
    add_model_options(parser)
    add_special_option(parser)
    add = parser.add_argument
    unit = parser.add_mutually_exclusive_group()
    unit.add_argument("--tokens", dest="by", action="store_const", const="token", help="figures of each token")
    unit.add_argument("--words", dest="by", action="store_const", const="word", help="figures of each word")
    unit.add_argument("--texts", dest="by", action="store_const", const="text", help="figures of each text")
    add(
        "--regions",
        metavar="NAME",
        help='figures of each region; the column has the sentence with bars, "The king | is dead.", or spans of '
        'the text\'s characters, "0:8 9:17"',
    )
    add("--choices", nargs="+", metavar="TEXT", help="rank these, in place of {} in one text or after it")
    add("--choices-column", metavar="NAME", help="the same for rows; a list, or texts with bars between them")
    add("--answer", metavar="NAME", help="where the right choice is, as its number from 0, label or text: accuracy")
    add("--prefix", metavar="NAME", help="where the context of a text is, which is read and not scored")
    add("--separator", metavar="TEXT", help="between prefix and text, or text and choice (default: a space, if none)")
    add("--bow", action="store_true", help="words, corrected for where words begin (Pimentel & Meister 2024)")
    add("--previous", type=int, default=0, metavar="N", help="beside a word or region, the surprisals of N before it")
    add("--contextual-entropy", action="store_true", help="words and regions: the entropy just before they begin")
    add_bos_option(parser)
    add("--nats", action="store_true", help="surprisal and entropy in nats (default: bits)")
    add("--stride", type=int, metavar="N", help="tokens from window to window (default: half the context)")
    add("--hf-perplexity", action="store_true", help="perplexity by the formula in transformers' documentation")
    add("--plot", type=Path, metavar="FILE", help="draw the surprisal of a text's words (needs matplotlib)")
    add_output_options(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    require_input(args)
    one_text = args.output_dir is None and is_one_text(args)
    check(args, one_text)
    by_words = args.bow or args.plot or args.previous or args.contextual_entropy
    default = "word" if by_words else "token" if one_text and not args.hf_perplexity else "text"
    args.by = "region" if args.regions else "choice" if args.choices_column else args.by or default
    args.form = form_of(args)
    model = load_model(args)
    if args.choices is not None:
        rank_choices(args, model)
    elif one_text and args.by != "choice" and args.output is None and args.form == "table":
        show(args, job_of(args, model))
    else:
        job = job_of(args, model)
        work_through(args, job, one_text)
        if args.plot is not None:
            plot(result_of_one(args, job), args)
    return 0


def check(args: argparse.Namespace, one_text: bool) -> None:
    """Raises `PicoGPTError` for options that exclude each other."""
    words_or_regions = args.by in (None, "word") or args.regions
    other_figures = args.bow or args.hf_perplexity or args.plot or args.previous or args.contextual_entropy
    contradictions = [
        (
            args.bow and (args.by not in (None, "word") or args.regions),
            "--bow corrects words: leave out --tokens and --texts",
        ),
        (
            args.hf_perplexity and (args.by in ("token", "word") or args.regions or args.prefix),
            "--hf-perplexity is a figure of a whole text",
        ),
        (args.hf_perplexity and args.bos, "--hf-perplexity begins with the second token: leave out --bos"),
        (
            (args.choices or args.choices_column) and (other_figures or args.by or args.regions),
            "--choices have figures of their own",
        ),
        (args.choices and args.choices_column, "the choices are given, or in a column: leave one of the two out"),
        (args.regions and args.by, "--regions are neither words nor tokens nor texts: say one of them"),
        (args.choices and not one_text, "--choices are for one TEXT; for a file say --choices-column"),
        (args.choices_column and args.prefix, "the text itself is the prefix of the choices: leave out --prefix"),
        (args.choices and args.resume, "--choices are written at once: there is nothing to --resume"),
        (args.answer and not args.choices_column, "--answer says which of the --choices-column is right"),
        (args.plot and not one_text, "--plot draws one text"),
        (args.plot and args.by not in (None, "word"), "--plot draws words: leave out --tokens and --texts"),
        (args.previous < 0, "--previous is a number of words"),
        (
            (args.previous or args.contextual_entropy) and not words_or_regions,
            "--previous and --contextual-entropy are of words and regions: leave out --tokens and --texts",
        ),
        (args.resume and args.output is None and args.output_dir is None, "--resume continues an --output: say which"),
    ]
    for wrong, message in contradictions:
        if wrong:
            raise PicoGPTError(message)


def job_of(args: argparse.Namespace, model: GPT2) -> ScoringJob[Any]:
    """What is to be done with each text."""
    from picogpt.scoring.choices import ChoicesJob
    from picogpt.scoring.jobs import TextJob

    options: dict[str, Any] = {
        **reading_options(args),
        "column": args.column,
        "separator": args.separator,
        "nats": args.nats,
        "stride": args.stride,
    }
    if args.hf_perplexity:
        options["bos"] = False
    if args.by == "choice":
        return ChoicesJob(**options, choices=args.choices_column, answer=args.answer).with_model(model)
    return TextJob(
        **options,
        by=args.by,
        prefix=args.prefix,
        regions=args.regions,
        n_previous=args.previous,
        contextual_entropy=args.contextual_entropy,
        hf_perplexity=args.hf_perplexity,
        bow=args.bow,
    ).with_model(model)


def work_through(args: argparse.Namespace, job: ScoringJob[Any], one_text: bool) -> None:
    """Every text of the inputs; whatever is wrong with a single one is an error."""
    args.strict = args.strict or one_text
    accuracy = ChoiceAccuracy() if args.answer else None
    needed = [args.regions or args.column, *filter(None, (args.prefix, args.choices_column, args.answer))]
    run(
        args,
        job,
        partial(
            describe,
            args,
            job.reader,
            unit=job.reader.unit,
            form=args.form,
            rows=args.by,
            corrected=args.bow,
            hf_perplexity=args.hf_perplexity,
            column=args.column,
            prefix=args.prefix,
            separator=args.separator,
            regions=args.regions,
            choices=args.choices_column,
            answer=args.answer,
            previous=args.previous,
            contextual_entropy=args.contextual_entropy,
        ),
        needed=needed,
        parts=f"{args.by}s" if args.by != "text" else None,
        left_out=[args.column] if args.by in ("token", "word") and args.form != "jsonl" else [],
        along=[args.regions or args.column] if args.form == "jsonl" else [],
        seen=accuracy,
        brightest=brightest(args, job) if args.form == "table" else None,
    )
    if accuracy is not None and args.output_dir is None:
        accuracy.show(args)
    if args.form == "table":
        print(f"\nmodel  {model_in_words(args)}")


def brightest(args: argparse.Namespace, job: ScoringJob[Any]) -> float | None:
    """On a terminal, the surprisal of a token that is as likely as any other; words are coloured beside it."""
    if args.by not in ("token", "word", "region") or not in_colour():
        return None
    return (math.log if args.nats else math.log2)(max(2, job.reader.encoder.n_vocab))


def show(args: argparse.Namespace, job: ScoringJob[Any]) -> None:
    """A single text, as a table that ends with the sums of the whole text, and perhaps as a picture."""
    result = result_of_one(args, job)
    with Writer("table", brightest=brightest(args, job)) as writer:
        writer.write(list(result.parts) if args.by != "text" else [result.summary])
    print()
    for name, value in result.summary.items() if args.by != "text" else ():
        print(f"{name.replace('_', ' '):<19}{value:>9,.5g}")
    print(f"{'model':<19}{model_in_words(args)}")
    if args.plot is not None:
        plot(result, args)


def result_of_one(args: argparse.Namespace, job: ScoringJob[Any]) -> Result:
    """What comes of the single text; raises `PicoGPTError` where there is something wrong with it."""
    with Input(args) as records:
        (result,) = job(records)
    if result.bad is not None:
        raise PicoGPTError(result.bad)
    return result


def rank_choices(args: argparse.Namespace, model: GPT2) -> None:
    """The continuations of `--choices`, the likeliest first."""
    from picogpt.scoring import Scorer
    from picogpt.scoring.choices import GAP

    scorer = Scorer(model, bos=args.bos, stride=args.stride, details=False, **special_options(args.special))
    with Input(args) as records:
        (text,) = (record.text(args.column) for record in records)
    prefix, _, suffix = text.partition(GAP)
    choices = [check_argument(choice, "a choice") for choice in args.choices]
    for choice in choices:
        check_special(scorer.encoder, text + choice, args.special)
    rows = scorer.choices(prefix, choices, args.separator or "", suffix)
    columns = ("logprob", "per_token", "per_byte", "n_tokens", "choice")
    head = {"model": model_name(args)} if args.form != "table" else {}
    description = {}
    if args.form != "table":
        description = describe(args, scorer, unit=scorer.unit, form=args.form, choices=args.choices)
    keeping = nullcontext() if args.output is None else kept(description, args.output, resume=False)
    with keeping, Writer(args.form, args.output, description if args.meta else None) as writer:
        for row in rows:
            writer.write([head | {column: row[column] for column in columns}])
    if args.form == "table":
        print(f"\nmodel  {model_in_words(args)}")
    elif args.output is None:
        print(f"picogpt: {in_words(description)}", file=sys.stderr)


def plot(result: Result, args: argparse.Namespace) -> None:
    from picogpt.scoring.plot import draw_surprisals

    rows: Sequence[Row] = result.parts
    draw_surprisals(args.plot, rows, "nats" if args.nats else "bits")
