"""`picogpt inside PROMPT`: what the model computes on the way to its prediction."""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.cli.grid import terminal_width
from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.cli.streams import in_colour
from picogpt.cli.text import add_special_option, check_argument, read_stdin
from picogpt.cli.writing import prompt_ids
from picogpt.errors import PicoGPTError
from picogpt.files import without_nan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from picogpt.inspection import LogitLens, Trace
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

    look = Look(args, prompt, load_model(args))
    report = look.report()
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


class Look:
    """What was asked of one prompt, computed once."""

    def __init__(self, args: argparse.Namespace, prompt: str, model: GPT2) -> None:
        from picogpt.inspection.targets import token_id

        self.args, self.model = args, model
        self.n_layer, self.n_head = model.hparams["n_layer"], model.hparams["n_head"]
        self.ids = prompt_ids(prompt, args, model)
        self.attention = self.ablated = self.target = None
        if args.attention is not None:
            self.attention = one_head(args.attention, self.n_layer, self.n_head)
        if args.ablate is not None:
            self.ablated = heads(args.ablate, self.n_layer, self.n_head)
        if args.attribution is not None:
            self.target = token_id(model.encoder, check_argument(args.attribution, "the token"))
        self.writes = args.npz is not None or args.html is not None
        chosen = args.attention or args.heads or args.attribution or args.ablate or args.shapes
        self.by_default = not chosen and bool(args.json or args.plot or not self.writes)

    @cached_property
    def values(self) -> Trace:
        """The values that are needed, of the pass without the ablated heads."""
        from picogpt.inspection import token_texts, trace, without_heads

        changes = without_heads(self.model.params, self.n_head, self.ablated or ())
        names = None if self.writes or self.args.shapes else list(self.names())
        values = trace(self.ids, self.model.params, self.n_head, names, changes=changes)
        check_finite(values, self.model)
        values.model = self.model
        values.tokens = token_texts(self.model.encoder, values.ids)
        return values

    def names(self) -> Iterator[str]:
        from picogpt.inspection import attribution

        yield "ln_final.normalized"
        if self.by_default:
            yield "blocks.*.resid_post"
        if self.args.heads:
            yield "blocks.*.attn.pattern"
        if self.attention is not None:
            yield f"blocks.{self.attention[0]}.attn.pattern"
        if self.target is not None:
            yield from attribution.VALUES

    @cached_property
    def lens(self) -> LogitLens:
        from picogpt.inspection import logit_lens

        return logit_lens(self.values, self.model.params, self.n_head, k=self.args.k)

    def report(self) -> dict[str, Any]:
        """What was asked for, by its name, as JSON has it; nothing where it all goes into a file."""
        from picogpt.inspection import report

        encoder, asked = self.model.encoder, self.args
        tokens = report.token_rows(encoder, self.values.ids)
        found: dict[str, Any] = {}
        if self.by_default:
            lens = report.lens_rows(encoder, self.lens)
            found |= {"next": lens[-1], "lens": lens}
        if self.ablated is not None:
            found["ablated"] = {"heads": self.ablated, "next": self.predictions()}
        if self.attention is not None:
            layer, head = self.attention
            pattern = self.values[f"blocks.{layer}.attn.pattern"][head]
            found["attention"] = {"layer": layer, "head": head, "pattern": pattern.tolist()}
        if asked.heads:
            found["heads"] = [self.values[f"blocks.{i}.attn.pattern"].tolist() for i in range(self.n_layer)]
        if self.target is not None:
            found["attribution"] = report.attribution_rows(self.values, self.model, self.target)
        if asked.shapes:
            found["shapes"] = report.shape_rows(self.values)
        return {"tokens": tokens, **found} if found else {}

    def predictions(self) -> list[dict[str, Any]]:
        """What comes after the prompt, before and after the ablation."""
        from picogpt.inspection import report, trace
        from picogpt.performance import project

        last = "ln_final.normalized"
        before = trace(self.ids, self.model.params, self.n_head, last)
        check_finite(before, self.model)
        of_before, of_after = (
            project(values[last][-1:], self.model.params["wte"])[0] for values in (before, self.values)
        )
        return report.change_rows(self.model.encoder, of_before, of_after, max(5, self.args.k))


def check_finite(values: Trace, model: GPT2) -> None:
    """Raises `PicoGPTError`, which names the weights to blame, where the last hidden states are not finite."""
    import numpy as np

    from picogpt.checkpoints.names import explain_non_finite

    if not np.isfinite(values["ln_final.normalized"]).all():
        raise explain_non_finite(model.params)


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
