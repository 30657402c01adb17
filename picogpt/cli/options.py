"""What the commands share: a parser whose errors are one line, and the options that choose a model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from picogpt.pretrained import GPT2


class Paragraphs(argparse.HelpFormatter):
    """Help whose description may have several paragraphs, each wrapped to the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(super(Paragraphs, self)._fill_text(part, width, indent) for part in text.split("\n\n"))


class Parser(argparse.ArgumentParser):
    """An argparse parser that answers a mistake with one line instead of the whole usage."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, formatter_class=Paragraphs, **options)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """`--model`, `--models-dir`, with picoGPT's spellings beside them, and `--dtype`."""
    parser.add_argument(
        "-m",
        "--model",
        "--model_size",
        dest="model",
        metavar="NAME",
        help="a model's name, OWNER/NAME at Hugging Face, or directory (default: 124M where it is present, else "
        "shakespeare)",
    )
    add_models_dir_option(parser)
    parser.add_argument(
        "--dtype",
        choices=["float32", "int8"],
        default="float32",
        help="int8 weights take a quarter of the memory (default: float32; a model stored in int8 stays int8)",
    )


def add_models_dir_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models-dir",
        "--models_dir",
        dest="models_dir",
        metavar="DIR",
        help="where models are looked for first (default: $PICOGPT_MODELS_DIR, then ./models, then your own folder)",
    )


def add_bos_option(
    parser: argparse.ArgumentParser, what: str = "score the first token, after the config's bos token"
) -> None:
    parser.add_argument("--bos", action=argparse.BooleanOptionalAction, help=f"{what} (default)")


def load_model(args: argparse.Namespace) -> GPT2:
    """The model that `add_model_options` chose; where no name did, a line says which it is."""
    from picogpt import pretrained

    name = args.model
    if name is None:
        name = pretrained.default_model(args.models_dir)
        if name == pretrained.SHIPPED:
            which = "GPT-2 is not here, so this is the small Shakespeare model; `picogpt download 124M` gets GPT-2"
        else:
            which = f"the model is {name}, in {pretrained.find_model(name, args.models_dir)}"
        print(f"picogpt: {which}", file=sys.stderr)
    return pretrained.load(name, args.models_dir, args.dtype)


def model_name(args: argparse.Namespace) -> str:
    """What the model of `load_model` is called."""
    from picogpt import pretrained

    name: str = args.model or pretrained.default_model(args.models_dir)
    return name


def model_in_words(args: argparse.Namespace) -> str:
    """The same for a table that people read: the model that ships must not look like GPT-2."""
    name = model_name(args)
    return name if args.model else f"{name} (no --model was given{', and GPT-2 is not here' * (name != '124M')})"
