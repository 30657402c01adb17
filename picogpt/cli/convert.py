"""`picogpt convert MODEL -o DIR`: write a model in the other layout."""

from __future__ import annotations

import argparse
import sys

from picogpt.cli.options import Parser, add_models_dir_option
from picogpt.errors import PicoGPTError


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt convert",
        description="Write a model that has OpenAI's layout in Hugging Face's, or the other way round.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name or directory")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the directory to make")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        default="float32",
        help="how Hugging Face's layout stores the weights (default: float32)",
    )
    add_models_dir_option(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt import checkpoints, pretrained

    directory = pretrained.find_model(args.model, args.models_dir)
    to_openai = checkpoints.layout(directory) == "huggingface"
    if to_openai and args.dtype != "float32":
        raise PicoGPTError(f"{directory} becomes OpenAI's layout, which is float32 and not {args.dtype}")
    pretrained.save(pretrained.load(directory), args.output, "openai" if to_openai else "huggingface", args.dtype)
    print(
        f"picogpt: {args.output} has {args.model} in {'OpenAI' if to_openai else 'Hugging Face'}'s layout",
        file=sys.stderr,
    )
    return 0
