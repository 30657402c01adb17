"""`picogpt score`: how surprising a model finds texts, by token, word or text."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from picogpt.cli.chunks import each_text, encode, place
from picogpt.cli.description import describe, kept
from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.cli.records import Record, add_input_options, is_one_text, read_records, require_input
from picogpt.cli.results import Row, Writer
from picogpt.cli.streams import in_colour
from picogpt.cli.text import add_special_option, check_argument, check_special, special_options
from picogpt.errors import PicoGPTError, what

if TYPE_CHECKING:
    from picogpt.scoring import Scorer, TextScore

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
COLUMNS = {  # in a table the text is last, since it is as long as it likes
    "token": ("id", "logprob", "surprisal", "rank", "entropy", "token"),
    "word": ("n_tokens", "surprisal", "word"),
    "choice": ("logprob", "per_token", "per_byte", "n_tokens", "choice"),
}


class Scored(NamedTuple):
    """A record with its figures, and the rows of its tokens or words where these are asked for."""

    record: Record
    summary: Row
    parts: list[Row]


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt score", description=DESCRIPTION)
    add_input_options(parser)
    add_model_options(parser)
    add_special_option(parser)
    add = parser.add_argument
    unit = parser.add_mutually_exclusive_group()
    unit.add_argument("--tokens", dest="by", action="store_const", const="token", help="figures of each token")
    unit.add_argument("--words", dest="by", action="store_const", const="word", help="figures of each word")
    unit.add_argument("--texts", dest="by", action="store_const", const="text", help="figures of each text")
    add("--bow", action="store_true", help="words, corrected for where words begin (Pimentel & Meister 2024)")
    add(
        "--bos",
        action=argparse.BooleanOptionalAction,
        help="score the first token, after the config's bos token (default)",
    )
    add("--nats", action="store_true", help="surprisal and entropy in nats (default: bits)")
    add("--stride", type=int, metavar="N", help="tokens from window to window (default: half the context)")
    add("--hf-perplexity", action="store_true", help="perplexity by the formula in transformers' documentation")
    add("--choices", nargs="+", metavar="TEXT", help="rank these continuations of a text")
    add("--plot", type=Path, metavar="FILE", help="draw the surprisal of a text's words (needs matplotlib)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--tsv", dest="form", action="store_const", const="tsv", help="tab-separated values")
    form.add_argument("--jsonl", dest="form", action="store_const", const="jsonl", help="a JSON object for each text")
    add("--output", type=Path, metavar="FILE", help="write to a file, by its name (.tsv, .jsonl) or as said")
    add("--resume", action="store_true", help="continue the --output of a run that was stopped")
    add("--strict", action="store_true", help="end at the first bad row (default: report it and leave it out)")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    require_input(args)
    one_text = is_one_text(args)
    check(args, one_text)
    default = "word" if args.bow or args.plot else "token" if one_text and not args.hf_perplexity else "text"
    args.by = args.by or default
    args.form = args.form or form_of(args.output)
    scorer = make_scorer(args)
    options = {
        "unit": scorer.unit,
        "rows": args.by,
        "corrected": args.bow,
        "hf_perplexity": args.hf_perplexity,
        "choices": args.choices,
        "form": args.form,
    }
    description = (
        nullcontext() if args.output is None else kept(describe(args, scorer, **options), args.output, args.resume)
    )
    with description, Writer(args.form, args.output, brightest(args, scorer)) as writer:
        if args.choices is not None:
            writer.write(rank_choices(args, scorer))
        elif one_text:
            score_one(args, scorer, writer)
        else:
            each_text(args, scorer, writer, lambda texts: (rows(s, args) for s in score_records(texts, args, scorer)))
    return 0


def check(args: argparse.Namespace, one_text: bool) -> None:
    """Raises `PicoGPTError` for options that exclude each other."""
    other_figures = args.by or args.bow or args.hf_perplexity or args.plot
    contradictions = [
        (args.bow and args.by not in (None, "word"), "--bow corrects words: leave out --tokens and --texts"),
        (
            args.hf_perplexity and args.by in ("token", "word"),
            "--hf-perplexity is a figure of a whole text",
        ),
        (args.hf_perplexity and args.bos, "--hf-perplexity begins with the second token: leave out --bos"),
        (args.choices and other_figures, "--choices have figures of their own"),
        (args.choices and not one_text, "--choices continue one TEXT"),
        (args.plot and not one_text, "--plot draws one text"),
        (args.plot and args.by not in (None, "word"), "--plot draws words: leave out --tokens and --texts"),
        (args.choices and args.resume, "--choices are written at once: there is nothing to --resume"),
        (args.resume and args.output is None, "--resume continues an --output: say which"),
    ]
    for wrong, message in contradictions:
        if wrong:
            raise PicoGPTError(message)


def make_scorer(args: argparse.Namespace) -> Scorer:
    """The chosen model, with the options of scoring."""
    from picogpt.scoring import Scorer

    return Scorer(
        load_model(args),
        bos=False if args.hf_perplexity else args.bos,
        bow=args.bow,
        nats=args.nats,
        stride=args.stride,
        details=args.by == "token",
        **special_options(args.special),
    )


def brightest(args: argparse.Namespace, scorer: Scorer) -> float | None:
    """On a terminal, the surprisal of a token that is as likely as any other; words are coloured beside it."""
    if args.by == "text" or not in_colour():
        return None
    return (math.log if args.nats else math.log2)(max(2, scorer.encoder.n_vocab))


def form_of(output: Path | None) -> str:
    """The form that a file's name asks for; without a file a table."""
    if output is None:
        return "table"
    if output.suffix not in (".tsv", ".jsonl"):
        raise PicoGPTError(f"say --tsv or --jsonl, or let the name {output} end so")
    return output.suffix[1:]


def rank_choices(args: argparse.Namespace, scorer: Scorer) -> list[Row]:
    """The continuations of `--choices`, the likeliest first."""
    (record,) = read_records(args)
    choices = [check_argument(choice, "a choice") for choice in args.choices]
    for choice in choices:
        check_special(scorer.encoder, record.text + choice, args.special)
    return arrange(scorer.choices(record.text, choices), "choice")


def score_records(
    records: Sequence[tuple[Record, list[int]]], args: argparse.Namespace, scorer: Scorer
) -> Iterator[Scored]:
    """Records with their ids, scored side by side."""
    from picogpt.scoring import huggingface_perplexity

    if args.hf_perplexity:
        for record, ids in records:
            figure = huggingface_perplexity(ids, scorer.params, scorer.n_head, scorer.stride)
            yield Scored(record, {"n_tokens": len(ids), "hf_perplexity": figure}, [])
        return
    scores = scorer.score_encoded([(record.text, ids) for record, ids in records])
    for (record, _), score in zip(records, scores, strict=True):
        yield Scored(record, score.summary, parts(score, args.by))


def parts(score: TextScore, by: str) -> list[Row]:
    """The rows of a text's tokens or words; none where the figures of the whole text are asked for."""
    if by == "text":
        return []
    return arrange(score.tokens if by == "token" else score.words, by)


def arrange(rows: Sequence[Row], kind: str) -> list[Row]:
    """The rows with their columns in the order of `COLUMNS`."""
    return [{column: row[column] for column in COLUMNS[kind]} for row in rows]


def score_one(args: argparse.Namespace, scorer: Scorer, writer: Writer) -> None:
    """A single text; whatever is wrong with it is an error. A table ends with the sums of the whole text."""
    (record,) = read_records(args)
    if writer.has(place(record)):
        return
    (scored,) = score_records([(record, encode(record, args, scorer))], args, scorer)
    if args.form == "table" and args.by != "text":
        writer.write(scored.parts)
        print()
        for name, value in scored.summary.items():
            print(f"{name.replace('_', ' '):<19}{value:>9,.5g}")
    else:
        writer.write(rows(scored, args, one_text=True))
    if args.plot is not None:
        plot(scored, args)


def rows(scored: Scored, args: argparse.Namespace, one_text: bool = False) -> list[Row]:
    """A text's rows as its form has them."""
    record = scored.record
    head: Row = {"source": record.source, "row": record.row} | ({"id": record.id} if args.id is not None else {})
    if args.form == "jsonl":
        nested = {f"{args.by}s": scored.parts} if args.by != "text" else {}
        return [{**head, "text": record.text, **scored.summary, **nested}]
    if args.form == "table":
        head = {} if one_text else {"id": record.row if args.id is None else record.id}
    if args.by == "text":
        return [{**head, **scored.summary}]
    return [{**head, "index": i, **part} for i, part in enumerate(scored.parts)]


def plot(scored: Scored, args: argparse.Namespace) -> None:
    """Bars over the words, as high as their surprisal."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PicoGPTError("--plot needs matplotlib: pip install matplotlib") from None
    words = [part["word"] for part in scored.parts]
    figure = Figure(figsize=(max(4, 0.5 * len(words)), 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(words)), [part["surprisal"] for part in scored.parts])
    axes.set_xticks(range(len(words)), words, rotation=60, ha="right", parse_math=False)
    axes.set_ylabel(f"surprisal ({'nats' if args.nats else 'bits'})")
    try:
        figure.savefig(args.plot)
    except (OSError, ValueError) as error:
        reason = what(error) if isinstance(error, OSError) else error
        raise PicoGPTError(f"the plot {args.plot} cannot be written: {reason}") from None
