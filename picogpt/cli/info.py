"""`picogpt info [MODEL]`: what a model is made of, without reading its weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from picogpt.cli.options import Parser, add_models_dir_option

LAYOUT_NAMES = {
    "openai": "OpenAI's",
    "huggingface": "Hugging Face's",
    "int8": "picogpt's int8",
    "gguf": "GGUF's",
    "llmc": "llm.c's",
    "nanogpt": "nanoGPT's",
}


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt info", description="Print a model's hyperparameters, its size and its files.")
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a model's name or directory (default: as generate's)"
    )
    add_models_dir_option(parser)
    return parser


def main(argv: list[str]) -> int:
    from picogpt import checkpoints, pretrained
    from picogpt.checkpoints import openai
    from picogpt.errors import listed

    args = parser().parse_args(argv)
    directory = pretrained.find_model(args.model or pretrained.default_model(args.models_dir), args.models_dir)
    hparams = checkpoints.read_hparams(directory)
    facts = {
        "directory": str(directory),
        "layout": LAYOUT_NAMES[checkpoints.layout(directory)],
        "parameters": f"{checkpoints.n_params(hparams):,}",
        **{name: f"{value:,}" for name, value in hparams.items()},
    }
    if facts["layout"] == LAYOUT_NAMES["openai"] and (left_out := openai.optimizer_variables(directory)):
        facts["left out"] = f"{len(left_out)} variables of the optimizer: {listed(left_out[:3])}, …"
    for name, value in facts.items():
        print(f"{name:12}{value}")
    print()
    print_files(directory, checkpoints.weight_files(directory))
    return 0


def print_files(directory: Path, needed: list[Path]) -> None:
    """A line for each file, with its size in bytes; files that the model needs and lacks are listed too."""
    if directory.is_file():
        directory, paths = directory.parent, [directory]
    else:
        paths = list(directory.iterdir())
    present = {path for path in paths if path.is_file() and not path.name.startswith(".")}
    sizes = {path: f"{path.stat().st_size:,}" for path in present}
    paths = sorted(present | set(needed))
    width = max(len(str(path.relative_to(directory))) for path in paths)
    for path in paths:
        print(f"{path.relative_to(directory)!s:{width}}  {sizes.get(path, 'missing'):>15}")
    total = sum(path.stat().st_size for path in present)
    print(f"{'total':{width}}  {total:>15,}")
