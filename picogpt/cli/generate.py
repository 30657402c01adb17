"""`picogpt [generate] PROMPT`: continue a prompt. The continuation goes to stdout, exactly."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from picogpt.cli import COMMANDS
from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.cli.text import LOOKS_LIKE_A_FILE, add_special_option, check_argument, is_file, read_stdin
from picogpt.cli.writing import write_on, write_several
from picogpt.decoding.options import SAMPLING_OPTIONS, decoding_options, make_transforms
from picogpt.decoding.ranges import check_range
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.decoding.loop import Options
    from picogpt.pretrained import GPT2

DESCRIPTION = """\
Continue PROMPT. Without one the prompt is standard input, exactly as it is; on a terminal you and the model write a
text together, a line at a time. The continuation goes to standard output exactly, everything else to standard error.

A first argument that is the name of a command runs that command: `picogpt info` prints the model's figures. To continue
such a word: `picogpt generate info`.
"""


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt generate", description=DESCRIPTION)
    parser.add_argument("prompt", nargs="?", metavar="PROMPT")
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-p", "--prompt", dest="exact", metavar="TEXT", help="the prompt, even if it is the name of a file or a model")
    add_model_options(parser)
    spellings = ("-n", "--n-tokens", "--max-tokens", "--n_tokens_to_generate")
    add(*spellings, dest="n_tokens", type=int, default=40, metavar="N", help="write at most N tokens (default: 40)")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT; may be given several times")
    add("--ignore-eos", action="store_true", help="continue after a token that ends the text")
    add("--slide", action="store_true", help="when the context is full, continue after its last half")
    add("--echo", action="store_true", help="print the prompt before the continuation")
    add("--stats", action="store_true", help="say how fast it went")
    add("--lines", action="store_true", help="each line of the prompt is a prompt; they are continued side by side")
    of_each = "continuations of each (1 to 1000)"
    add("-N", "--num-samples", dest="n_samples", type=int, default=1, metavar="N", help=of_each)
    add("--json", action="store_true", help="print an object with texts, ids and log-probabilities for each")
    add("--logprobs", type=int, metavar="K", help="with --json: at every step the K most likely tokens too")
    add("--lookup", action="store_true", help="guess from earlier text: the same text, sooner where it repeats")
    add_special_option(parser)

    sampling = parser.add_argument_group("sampling (without any of these the most likely token is taken)")
    sampling.add_argument("-s", "--seed", type=int, metavar="N", help="the same seed gives the same text again")
    allowed = parser.add_argument_group("what may be written")
    for option in SAMPLING_OPTIONS:
        dashed = f"--{option.name.replace('_', '-')}"
        short = ["-t"] if option.name == "temperature" else []
        flags = dict.fromkeys([*short, dashed, *([f"--{option.name}"] if option.samples else [])])  # picoGPT's too
        how: dict[str, Any] = {"action": "append", "default": []} if option.repeats else {}
        group = sampling if option.samples else allowed
        group.add_argument(*flags, type=option.type, metavar=option.metavar, help=option.help_with_range, **how)
    allowed.add_argument("--allow-unused", action="store_true", help="ids without a token, of a padded vocabulary, too")
    allowed.add_argument("--min-length", type=int, metavar="N", help="no end of text before N tokens, prompt included")

    add = parser.add_argument_group("beam search").add_argument
    add("--beams", type=int, metavar="N", help="find the likeliest with N beams (1 to 1000); -N says how many")
    add("--length-penalty", type=float, metavar="X", help="-10 to 10: the higher, the longer they are (default: 1)")
    add("--early-stopping", action="store_true", help="end as soon as N continuations are finished")


def main(argv: list[str]) -> int:
    syntax = parser()
    args, others = syntax.parse_known_args(argv)
    if unknown := [word for word in others if word.startswith("-")]:
        syntax.error(f"unrecognized arguments: {' '.join(unknown)}")
    prompt = given_prompt(args, others)
    check(args)
    chosen = {option.name: getattr(args, option.name) for option in SAMPLING_OPTIONS}
    make_transforms(chosen)  # what is wrong is said before a model is loaded
    several = args.json or args.lines or args.beams or args.n_samples > 1
    if prompt is None and sys.stdin is not None and sys.stdin.isatty():
        if several:
            raise PicoGPTError("there is no prompt for --json, --lines, --beams or --num-samples: give one in quotes")
        from picogpt.cli.conversation import converse

        converse(args, load_model(args), chosen)
        return 0
    prompt = read_stdin() if prompt is None else check_argument(prompt, "the prompt")
    model = load_model(args)
    (write_several if several else write_on)(prompt, args, model, make_options(args, model, chosen))
    return 0


def make_options(args: argparse.Namespace, model: GPT2, chosen: Mapping[str, Any]) -> Options:
    """The loop's options; `chosen` are those of the table."""
    return decoding_options(
        model.encoder,
        **chosen,
        seed=args.seed,
        stop=args.stop,
        min_length=args.min_length,
        ignore_eos=args.ignore_eos,
        allow_unused=args.allow_unused,
        slide=args.slide,
        lookup=args.lookup,
        sample=args.n_samples > 1 and not args.beams,
    )


def given_prompt(args: argparse.Namespace, others: list[str]) -> str | None:
    """The prompt on the command line, if any; raises `PicoGPTError` for what cannot have been meant as one."""
    if args.prompt is None:
        return args.exact
    if args.exact is not None:
        raise PicoGPTError("--prompt is the prompt already: leave out one of the two")
    from picogpt.pretrained import is_released

    prompt: str = args.prompt
    if is_released(prompt):
        raise PicoGPTError(
            f"{prompt} is a model: to continue a text with it, `picogpt TEXT --model {prompt}`; "
            f"to continue the name, `picogpt -p {prompt}`"
        )
    if others and prompt in COMMANDS:
        raise PicoGPTError(f"the command comes first: `picogpt {prompt} …`")
    if others:
        raise PicoGPTError(f'a prompt of several words goes into quotes: picogpt "{" ".join([prompt, *others])}"')
    if prompt.endswith(LOOKS_LIKE_A_FILE) and is_file(prompt):
        raise PicoGPTError(
            f"{prompt} is a file: to continue its text, `picogpt < {prompt}`; to continue the name, "
            f"`picogpt -p {prompt}`"
        )
    return prompt


def check(args: argparse.Namespace) -> None:
    """Raises `PicoGPTError` for numbers that are out of range and options that exclude each other."""
    numbers = {
        "the number of tokens": args.n_tokens,
        "the number of samples": args.n_samples,
        "the number of beams": args.beams,
        "length_penalty": args.length_penalty,
        "the number of log-probabilities": args.logprobs,
        "min_length": args.min_length,
        "the seed": args.seed,
    }
    for name, number in numbers.items():
        if number is not None:
            check_range(name, number)
    several = args.lines or args.n_samples > 1
    beam_options = ("length_penalty", "early_stopping")
    contradictions = [
        (args.logprobs is not None and not args.json, "--logprobs are part of the output of --json"),
        (args.lookup and several, "--lookup decodes one row: leave it out, or --num-samples and --lines"),
        (not args.beams and given(args, *beam_options), f"{given(args, *beam_options)} is for --beams"),
    ]
    if args.beams is not None:
        sampling = [option.name for option in SAMPLING_OPTIONS if option.samples]
        others = given(args, "seed", *sampling, "stop", "slide", "lookup", "logprobs")
        contradictions += [
            (args.beams < args.n_samples, f"of {args.beams} beams {args.n_samples} cannot be the best"),
            (others, f"beam search finds the likeliest continuations, it has no {others}"),
        ]
    for wrong, message in contradictions:
        if wrong:
            raise PicoGPTError(message)


def given(args: argparse.Namespace, *names: str) -> str:
    """Those of the options that were given, as they are written."""
    values = {name: getattr(args, name) for name in names}
    chosen = [name for name, value in values.items() if value is not None and value is not False and value != []]
    return ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
