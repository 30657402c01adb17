"""`picogpt help [COMMAND]`: the commands, or the options of one."""

from __future__ import annotations

import argparse

from picogpt.cli import COMMANDS, module
from picogpt.cli.options import Parser
from picogpt.errors import PicoGPTError

USAGE = """\
usage: picogpt [PROMPT] [OPTION ...]
       picogpt COMMAND [OPTION ...]

Continue PROMPT, standard input, or what you type; or run a command, whose
options `picogpt help COMMAND` lists. Those of continuing a prompt are in
`picogpt help generate`.

commands:
{commands}"""


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt help", description="List the commands, or explain one.")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="the command to explain")
    return parser


def main(argv: list[str]) -> int:
    command = parser().parse_args(argv).command
    if command is None:
        print(USAGE.format(commands="\n".join(f"  {name:<17}{does}" for name, does in COMMANDS.items())))
    elif command in COMMANDS:
        module(command).parser().print_help()
    else:
        from picogpt.cli.words import closest

        guess = closest(command)
        hint = f"did you mean `picogpt help {guess}`?" if guess else "`picogpt help` lists them"
        raise PicoGPTError(f"there is no command {command!r}; {hint}")
    return 0
