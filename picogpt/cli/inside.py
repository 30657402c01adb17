"""`picogpt inside PROMPT`: what the model computes on the way to its prediction."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.cli.grid import terminal_width
from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.cli.streams import in_colour
from picogpt.cli.text import add_special_option, check_argument, read_stdin
from picogpt.cli.writing import prompt_ids
from picogpt.errors import PicoGPTError
from picogpt.files import without_nan

if TYPE_CHECKING:
    from picogpt.inspection import Trace
    from picogpt.inspection.look import Question
    from picogpt.pretrained import GPT2

DESCRIPTION = """\
Look inside the pass over PROMPT, or over standard input. By default: its tokens with the likeliest next ones, and what
each layer would predict (the logit lens), coloured by probability on a terminal.

Layers and heads count from 0. With --ablate everything is that of the changed pass. docs/inspection.md has the names of
the values, and the same from Python.
"""


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt inside", description=DESCRIPTION)
    add = parser.add_argument
    add("prompt", nargs="?", metavar="PROMPT")
    add_model_options(parser)
    add_special_option(parser)
    add("-k", type=int, default=3, metavar="K", help="how many next tokens at each position (default: 3)")
    add("--attention", metavar="LAYER.HEAD", help="which token looks at which in a head, such as 4.1")
    add("--heads", action="store_true", help="the same of all heads, in small")
    add("--attribution", metavar="TOKEN", help="what each part adds to the logit of a next token, such as ' the'")
    add("--ablate", metavar="HEADS", help="switch heads off, such as 3.1,4.*, and show what is predicted then")
    add("--shapes", action="store_true", help="each value's shape and norm, and the line of model.py that made it")
    add("--json", action="store_true", help="print what was asked for as JSON")
    add("--npz", type=Path, metavar="FILE", help="write every value into an .npz file")
    add("--plot", type=Path, metavar="FILE", help="draw what was asked for into a .png or .svg (needs matplotlib)")
    add("--html", type=Path, metavar="FILE", help="write a page to explore: attention, lens, next tokens, shapes")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.prompt is None and sys.stdin is not None and sys.stdin.isatty():
        raise PicoGPTError("there is no prompt: give it in quotes, or pipe it in")
    prompt = read_stdin() if args.prompt is None else check_argument(args.prompt, "the prompt")
    from picogpt.cli import views
    from picogpt.inspection.look import Look

    model = load_model(args)
    ids = prompt_ids(prompt, args, model)
    look = Look(model, ids, question(args, model))
    report = look.report() if prints(args) else {}
    if args.npz is not None:
        write_npz(args.npz, look.values)
    if args.html is not None:
        write_page(args.html, look.values)
    if args.plot is not None:
        from picogpt.inspection.plot import draw

        draw(args.plot, report)
    if args.json:
        print(json.dumps(without_nan(report), ensure_ascii=False, allow_nan=False))
    elif report:
        for line in views.lines(report, in_colour(), terminal_width()):
            print(line)
    return 0


def question(args: argparse.Namespace, model: GPT2) -> Question:
    """What is asked for."""
    from picogpt.inspection.look import Question
    from picogpt.inspection.targets import token_id

    n_layer, n_head = model.hparams["n_layer"], model.hparams["n_head"]
    attention = None if args.attention is None else one_head(args.attention, n_layer, n_head)
    ablated = () if args.ablate is None else heads(args.ablate, n_layer, n_head)
    target = None
    if args.attribution is not None:
        target = token_id(model.encoder, check_argument(args.attribution, "the token"))
    return Question(
        k=args.k,
        lens=prints(args) and not has_chosen(args),
        attention=attention,
        heads=args.heads,
        target=target,
        ablated_heads=ablated,
        shapes=args.shapes,
        every_value=args.npz is not None or args.html is not None,
    )


def has_chosen(args: argparse.Namespace) -> bool:
    return bool(args.attention or args.heads or args.attribution or args.ablate or args.shapes)


def prints(args: argparse.Namespace) -> bool:
    """Whether there is anything to show; without a choice not where all of it goes into a file."""
    return has_chosen(args) or bool(args.json or args.plot or (args.npz is None and args.html is None))


def heads(text: str, n_layer: int, n_head: int) -> list[tuple[int, int]]:
    """The heads that a list such as "3.1,4.*" names; raises `PicoGPTError` where there is no such head."""
    from picogpt.inspection.names import check_heads

    named: dict[tuple[int, int], None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9}|\*)\.(\d{1,9}|\*)", part.strip(), re.ASCII)
        if match is None:
            raise PicoGPTError(f"{part!r} names no head: write LAYER.HEAD, such as 3.1, or 3.* for all of a layer")
        layers, in_layer = (
            range(n) if choice == "*" else [int(choice)]
            for choice, n in zip(match.groups(), (n_layer, n_head), strict=True)
        )
        named |= dict.fromkeys((layer, head) for layer in layers for head in in_layer)
    check_heads(list(named), n_layer, n_head)
    return list(named)


def one_head(text: str, n_layer: int, n_head: int) -> tuple[int, int]:
    """The one head that the text names."""
    named = heads(text, n_layer, n_head)
    if len(named) > 1:
        raise PicoGPTError(f"--attention shows one head, and {text!r} names {len(named)}; --heads shows them all")
    return named[0]


def write_page(path: Path, values: Trace) -> None:
    """One HTML file that needs no other."""
    from picogpt.files import write_text
    from picogpt.inspection.page import page

    write_text(path, page(values))


def write_npz(path: Path, values: Trace) -> None:
    """Every value under its name, with the prompt's `ids` and `tokens`."""
    import numpy as np

    from picogpt.files import replacing

    with replacing(path) as file:
        np.savez(file, allow_pickle=False, ids=values.ids, tokens=np.array(values.tokens), **values)
