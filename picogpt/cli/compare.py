"""`picogpt compare A B`: two texts' surprisals side by side, as for a minimal pair."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from picogpt.cli.options import Parser, add_bos_option, add_model_options, load_model, model_in_words, model_name
from picogpt.cli.results import Row, Writer
from picogpt.cli.text import add_special_option, check_argument, check_special, special_options


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt compare",
        description="Print the surprisal of the words of two texts side by side, and which of them is the likelier. "
        "The words that they share stand in the same line. A and B are texts, or files that hold one.",
    )
    add = parser.add_argument
    add("a", metavar="A", help="a text, or a file, which is read to its end")
    add("b", metavar="B", help="another")
    add_model_options(parser)
    add_special_option(parser)
    add("--bow", action="store_true", help="correct for where words begin (Pimentel & Meister 2024)")
    add_bos_option(parser)
    add("--nats", action="store_true", help="surprisal in nats (default: bits)")
    add("--tsv", action="store_true", help="tab-separated values")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt.scoring import score_text

    texts = [read(args.a, "the first text"), read(args.b, "the second text")]
    model = load_model(args)
    for text in texts:
        check_special(model.encoder, text, args.special)
    a, b = score_text(model, texts, bos=args.bos, bow=args.bow, nats=args.nats, **special_options(args.special))
    with Writer("tsv" if args.tsv else "table") as writer:
        rows = side_by_side(a.words, b.words)
        writer.write([{"model": model_name(args), **row} for row in rows] if args.tsv else list(rows))
    if not args.tsv:
        in_a, in_b = a.surprisal, b.surprisal
        likelier = f"{'A' if in_a < in_b else 'B'} is the likelier by {abs(in_a - in_b):.3f}"
        print(f"\nA {in_a:.3f} {a.unit} · B {in_b:.3f} {b.unit} · {likelier}")
        print(f"model  {model_in_words(args)}")
    return 0


def read(text: str, name: str) -> str:
    """The text, or the text of the file that it names."""
    from picogpt.cli.records import files
    from picogpt.files import read_text

    return read_text(Path(text)) if files([text]) else check_argument(text, name)


def side_by_side(a: Sequence[Row], b: Sequence[Row]) -> Iterator[Row]:
    """A row for each word of either; words in the same place stand together, the same or not."""
    matcher = SequenceMatcher(None, [part["word"] for part in a], [part["word"] for part in b], autojunk=False)
    nothing: Row = {"surprisal": math.nan, "word": ""}
    for _, a_start, a_end, b_start, b_end in matcher.get_opcodes():
        for i in range(max(a_end - a_start, b_end - b_start)):
            in_a = a[a_start + i] if a_start + i < a_end else nothing
            in_b = b[b_start + i] if b_start + i < b_end else nothing
            yield {
                "surprisal_a": in_a["surprisal"],
                "surprisal_b": in_b["surprisal"],
                "difference": in_a["surprisal"] - in_b["surprisal"],
                "word_a": in_a["word"],
                "word_b": in_b["word"],
            }
