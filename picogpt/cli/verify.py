"""`picogpt verify MODEL`: whether the bytes of a model are still what they were."""

from __future__ import annotations

import argparse

from picogpt.cli.options import Parser, add_models_dir_option

DESCRIPTION = """\
Check every file of a model against the SHA256SUMS beside it, and the tensors of OpenAI's layout against their own
checksums. The file or tensor that is damaged is named.
"""


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt verify", description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="a model's name or directory")
    add_models_dir_option(parser)
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from picogpt import pretrained
    from picogpt.download import verify

    found = verify(pretrained.find_model(args.model, args.models_dir))
    width = max(map(len, found))
    for name, finding in found.items():
        print(f"{name:{width}}  {finding}")
    return 0
