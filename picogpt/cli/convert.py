"""`picogpt convert MODEL -o DIR`: write a model in another layout or dtype."""

from __future__ import annotations

import argparse
import sys

from picogpt.cli.info import LAYOUT_NAMES
from picogpt.cli.options import Parser, add_models_dir_option
from picogpt.errors import PicoGPTError


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt convert",
        description="Write a model in another layout: of OpenAI's in Hugging Face's, of any other likewise but for "
        "Hugging Face's own, which becomes OpenAI's, unless --to says otherwise.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name or directory")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the directory to make, or file")
    parser.add_argument(
        "--to",
        choices=["huggingface", "openai", "gguf", "llmc"],
        help="gguf is a file for llama.cpp, with the vocabulary; llmc a file for llm.c, without one",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16", "int8"],
        default="float32",
        help="how the weights are stored; int8 is Q8_0 in GGUF, and else a layout of its own (default: float32)",
    )
    add_models_dir_option(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt import checkpoints, pretrained

    directory = pretrained.find_model(args.model, args.models_dir)
    other: checkpoints.Layout = "openai" if checkpoints.layout(directory) == "huggingface" else "huggingface"
    layout: checkpoints.Layout = args.to or other
    if args.dtype == "int8" and args.to is None:
        layout = "int8"
    elif (layout == "openai" and args.dtype != "float32") or (layout == "huggingface" and args.dtype == "int8"):
        raise PicoGPTError(f"{directory} becomes {LAYOUT_NAMES[layout]} layout, which is not {args.dtype}")
    pretrained.save(pretrained.load(directory), args.output, layout, args.dtype)
    print(f"picogpt: {args.output} has {args.model} in {LAYOUT_NAMES[layout]} layout", file=sys.stderr)
    return 0
