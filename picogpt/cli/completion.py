"""`picogpt completion SHELL`: a script that completes picogpt's commands and options when Tab is pressed."""

from __future__ import annotations

import argparse
from pathlib import Path

from picogpt.cli import COMMANDS, generate, module
from picogpt.cli.options import Parser
from picogpt.errors import PicoGPTError

DESCRIPTION = """\
Print a script for the shell that completes commands, options and files. The package shtab makes it (pip install shtab);
the shell alone runs it. Put it where the shell looks:

bash: picogpt completion bash > ~/.local/share/bash-completion/completions/picogpt

zsh: picogpt completion zsh > DIR/_picogpt, where DIR is one of $fpath

fish: picogpt completion fish > ~/.config/fish/completions/picogpt.fish
"""
FILES, FOLDERS = ("FILE", "TEXT|FILE", "A", "B"), ("DIR", "MODELS")  # metavars


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt completion", description=DESCRIPTION)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    return parser


def main(argv: list[str]) -> int:
    shell = parser().parse_args(argv).shell
    try:
        import shtab
    except ImportError:
        raise PicoGPTError("the script is made by shtab: pip install shtab, and run the command again") from None
    if shell not in shtab.SUPPORTED_SHELLS:
        raise PicoGPTError(f"this shtab, {shtab.__version__}, does not know {shell}: pip install --upgrade shtab")
    print(shtab.complete(front_door(shtab.FILE, shtab.DIRECTORY), shell))
    return 0


def front_door(file: object, folder: object) -> Parser:
    """All of the command line as one parser, in which `complete` marks what is a file or a folder, as shtab wants."""
    whole = Parser("picogpt", description="GPT-2 in NumPy")
    generate.add_options(whole)
    parsers = [whole]
    commands = whole.add_subparsers(metavar="COMMAND")
    for name, does in COMMANDS.items():
        command = module(name).parser()
        parsers.append(commands.add_parser(name, help=does, parents=[command], add_help=False))
    for parser in parsers:
        for action in parser._actions:  # argparse has no public list of them
            if action.metavar in FOLDERS:
                action.complete = folder  # type: ignore[attr-defined]
            elif action.type is Path or action.metavar in FILES:
                action.complete = file  # type: ignore[attr-defined]
    return whole
