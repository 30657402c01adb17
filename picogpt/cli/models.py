"""`picogpt models`: which models are here, and which can be fetched."""

from __future__ import annotations

import argparse
from pathlib import Path

from picogpt.cli.info import LAYOUT_NAMES
from picogpt.cli.options import Parser, add_models_dir_option


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt models",
        description="List the models that are here: name, parameters, size on the disk, layout and place; a model's "
        "name stands for the first of these places that has it. Then the names of what `picogpt download` fetches.",
    )
    add_models_dir_option(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt import checkpoints, pretrained
    from picogpt.download.catalogue import HUGGING_FACE_MODELS, OPENAI_MODELS
    from picogpt.places import expanded

    home = expanded("~")
    lines = [("name", "parameters", "MB", "layout", "place")]
    for name, path in pretrained.available_models(args.models_dir).items():
        n_params = f"{checkpoints.n_params(checkpoints.read_hparams(path)):,}"
        layout = LAYOUT_NAMES[checkpoints.layout(path)]
        place = f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
        lines.append((name, n_params, f"{size(path) / 1e6:,.1f}", layout, place))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, n_params, megabytes, layout, place in lines:
        numbers = f"{n_params:>{widths[1]}}  {megabytes:>{widths[2]}}"
        print(f"{name:{widths[0]}}  {numbers}  {layout:{widths[3]}}  {place}")
    print(f"\nwithout a name: {pretrained.default_model(args.models_dir)}")
    print(f"to fetch with `picogpt download NAME`: {', '.join(OPENAI_MODELS)};")
    print(f"  {', '.join(HUGGING_FACE_MODELS)};")
    print("  OWNER/NAME, any GPT-2 at Hugging Face")
    return 0


def size(path: Path) -> int:
    """The bytes of a model's files."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
