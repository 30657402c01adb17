"""`picogpt convert MODEL -o DIR`: write a model in the other layout, or in int8."""

from __future__ import annotations

import argparse
import sys

from picogpt.cli.info import LAYOUT_NAMES
from picogpt.cli.options import Parser, add_models_dir_option
from picogpt.errors import PicoGPTError


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt convert",
        description="Write a model that has OpenAI's layout in Hugging Face's, or the other way round, or in int8.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name or directory")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the directory to make")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16", "int8"],
        default="float32",
        help="how Hugging Face's layout stores the weights; int8 has a layout of its own (default: float32)",
    )
    add_models_dir_option(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt import checkpoints, pretrained

    directory = pretrained.find_model(args.model, args.models_dir)
    layout: checkpoints.Layout = "openai" if checkpoints.layout(directory) == "huggingface" else "huggingface"
    if args.dtype == "int8":
        layout = "int8"
    elif layout == "openai" and args.dtype != "float32":
        raise PicoGPTError(f"{directory} becomes OpenAI's layout, which is float32 and not {args.dtype}")
    pretrained.save(pretrained.load(directory), args.output, layout, args.dtype)
    print(f"picogpt: {args.output} has {args.model} in {LAYOUT_NAMES[layout]} layout", file=sys.stderr)
    return 0
