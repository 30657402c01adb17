"""`picogpt tokenize TEXT`: show how a text becomes tokens."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.cli.options import Parser, add_models_dir_option
from picogpt.cli.streams import in_colour
from picogpt.cli.text import check_argument, encode, read_stdin
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.tokenizers import Tokenizer

BACKGROUNDS = [f"\x1b[30;48;5;{colour}m" for colour in (153, 222, 157, 218)]  # black on blue, yellow, green, pink
RESET = "\x1b[0m"


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt tokenize",
        description="Show the tokens of TEXT, of a file or of standard input: their text (in colours on a terminal, "
        "else with | between them), their ids, and how many there are. <|endoftext|> in the text is that token.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT")
    parser.add_argument("-f", "--file", type=Path, metavar="FILE", help="read the text from FILE")
    parser.add_argument(
        "-m",
        "--model",
        default="gpt2",
        metavar="NAME",
        help="whose tokens: a model's name or directory (default: gpt2)",
    )
    add_models_dir_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--ids", action="store_true", help="print the ids alone")
    form.add_argument("--json", action="store_true", help="print ids, tokens and counts as JSON")
    return parser


def main(argv: list[str]) -> int:
    from picogpt.tokenizers import token_bytes

    args = parser().parse_args(argv)
    text = read_input(args)
    tokenizer = find_tokenizer(args.model, args.models_dir)
    ids = encode(tokenizer, text, special="token")
    counts = {"n_tokens": len(ids), "n_characters": len(text), "n_bytes": len(text.encode())}
    if args.ids:
        print(*ids)
    elif args.json:
        tokens = [piece.decode("utf-8", "replace") for piece in token_bytes(tokenizer, ids)]
        print(json.dumps({**counts, "ids": ids, "tokens": tokens}, ensure_ascii=False, allow_nan=False))
    else:
        print(show(tokenizer, ids, in_colour()))
        print(*ids)
        print(" · ".join(f"{n:,} {name.removeprefix('n_')}" for name, n in counts.items()))
    return 0


def read_input(args: argparse.Namespace) -> str:
    """The text; raises `PicoGPTError` when there is none, or two, or it is not UTF-8."""
    from picogpt.files import read_text

    if args.text is not None and args.file is not None:
        raise PicoGPTError("give a TEXT or a --file, not both")
    if args.text is not None:
        return check_argument(args.text, "the text")
    if args.file is not None:
        return read_text(args.file)
    if sys.stdin is None or sys.stdin.isatty():
        raise PicoGPTError("there is no text: give it in quotes, or a --file, or pipe it in")
    return read_stdin()


def find_tokenizer(model: str, models_dir: str | None) -> Tokenizer:
    """The released GPT-2s share a vocabulary, which is always at hand; others are read from their directory."""
    from picogpt import checkpoints, pretrained
    from picogpt.tokenizers import ByteLevelBPE

    if pretrained.is_released(model):
        return ByteLevelBPE.gpt2()
    return checkpoints.read_encoder(pretrained.find_model(model, models_dir))


def show(tokenizer: Tokenizer, ids: list[int], colour: bool) -> str:
    """The text with its tokens told apart; a line of the text is a line here."""
    from picogpt.tokenizers import token_bytes

    pieces = [visible(piece) for piece in token_bytes(tokenizer, ids)]
    if pieces:
        pieces[-1] = pieces[-1].removesuffix("\n")  # print adds one
    if not colour:
        return "|".join(pieces)
    # a background that is still on at the end of a line would fill the rest of the line
    return "".join(
        background + piece.replace("\n", f"{RESET}\n{background}") + RESET
        for background, piece in zip(itertools.cycle(BACKGROUNDS), pieces, strict=False)
    )


def visible(token: bytes) -> str:
    """The token's text, with escapes for what has no picture: control characters, and parts of characters."""
    from picogpt.errors import printable

    return printable(token.decode("utf-8", "backslashreplace")).replace("\\n", "\\n\n")
