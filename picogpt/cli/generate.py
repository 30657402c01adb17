"""`picogpt [generate] PROMPT`: write on from a prompt. The continuation goes to stdout, exactly."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.cli.text import add_special_option, check_argument, read_stdin, write_exactly
from picogpt.cli.writing import write_on, write_several
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.decoding.loop import Options
    from picogpt.decoding.sampling import Transform
    from picogpt.pretrained import GPT2

DESCRIPTION = """\
Write on from PROMPT. Without one the prompt is standard input, exactly as it is; on a terminal you are asked for
prompts, one after the other. The continuation goes to standard output exactly, everything else to standard error.

A first argument that is the name of a command runs that command: `picogpt info` prints the model's figures. To write
on from such a word say `picogpt generate info`.
"""
MANY_TOKENS = 64  # so many win back, each a tenth of its time, what arranging the weights for them takes
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "seed")


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt generate", description=DESCRIPTION)
    add = parser.add_argument
    add("prompt", nargs="?", metavar="PROMPT")
    add_model_options(parser)
    spellings = ("-n", "--n-tokens", "--n_tokens_to_generate")
    add(*spellings, dest="n_tokens", type=int, default=40, metavar="N", help="write at most N tokens (default: 40)")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT; may be given several times")
    add("--ignore-eos", action="store_true", help="go on behind the end-of-text token")
    add("--slide", action="store_true", help="when the context is full, go on behind its last half")
    add("--echo", action="store_true", help="print the prompt before the continuation")
    add("--stats", action="store_true", help="say how fast it went")
    add("--lines", action="store_true", help="each line of the prompt is a prompt; they are written on side by side")
    add("-N", "--num-samples", dest="n_samples", type=int, default=1, metavar="N", help="continuations of each prompt")
    add("--json", action="store_true", help="print an object with texts, ids and log-probabilities for each")
    add("--logprobs", type=int, metavar="K", help="with --json: at every step the K most likely tokens too")
    add("--lookup", action="store_true", help="guess from earlier text: the same text, sooner where it repeats")
    add_special_option(parser)

    add = parser.add_argument_group("sampling (without any of these the most likely token is taken)").add_argument
    add("--seed", type=int, metavar="N", help="the same seed gives the same text again")
    add("--temperature", type=float, metavar="T", help="below 1 is safer, above 1 is wilder, 0 is the most likely")
    add("--top-k", "--top_k", type=int, metavar="K", help="only the K most likely tokens")
    add("--top-p", "--top_p", type=float, metavar="P", help="only the most likely that together have probability P")
    add("--min-p", type=float, metavar="P", help="only tokens at least P times as likely as the most likely")
    add("--typical-p", type=float, metavar="P", help="only the most typical that together have probability P")

    add = parser.add_argument_group("what may be written").add_argument
    add("--repetition-penalty", type=float, metavar="X", help="above 1: tokens seen before are less likely")
    add("--presence-penalty", type=float, metavar="X", help="take X from the logit of every token seen before")
    add("--frequency-penalty", type=float, metavar="X", help="take X from it for every time it was seen")
    add("--no-repeat-ngram", type=int, metavar="N", help="no N tokens stand together twice")
    add("--ban", action="append", default=[], type=int, metavar="ID", help="never this token; may be repeated")
    add("--min-length", type=int, metavar="N", help="no end of text before N tokens, those of the prompt included")

    add = parser.add_argument_group("beam search").add_argument
    add("--beams", type=int, metavar="N", help="find the likeliest continuations with N beams; -N says how many")
    add("--length-penalty", type=float, metavar="X", help="above 0 favours long ones, below 0 short ones (default: 1)")
    add("--early-stopping", action="store_true", help="end as soon as N continuations are finished")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    write_exactly()
    check(args)
    transforms = make_transforms(args)
    interactive = args.prompt is None and sys.stdin is not None and sys.stdin.isatty()
    prompt = None
    if not interactive:
        prompt = read_stdin() if args.prompt is None else check_argument(args.prompt, "the prompt")
    model = load_model(args)
    if interactive or args.n_tokens >= MANY_TOKENS:
        from picogpt.performance.layout import for_decoding

        model = model._replace(params=for_decoding(model.params))
    options = make_options(args, model, transforms)
    several = args.json or args.lines or args.beams or args.n_samples > 1

    def write(prompt: str) -> None:
        (write_several if several else write_on)(prompt, args, model, options)

    if prompt is None:
        converse(write)
    else:
        write(prompt)
    return 0


def check(args: argparse.Namespace) -> None:
    """Raises `PicoGPTError` for numbers that mean nothing and options that exclude each other."""
    several = args.lines or args.n_samples > 1
    beam_options = ("length_penalty", "early_stopping")
    contradictions = [
        (args.n_tokens < 0, f"the number of tokens must be 0 or more, not {args.n_tokens}"),
        (args.seed is not None and args.seed < 0, f"the seed must be 0 or more, not {args.seed}"),
        (args.n_samples < 1, f"the number of samples must be 1 or more, not {args.n_samples}"),
        ("" in args.stop, "a stop string must not be empty"),
        (args.logprobs is not None and not args.json, "--logprobs are part of the output of --json"),
        (args.logprobs is not None and args.logprobs < 0, f"--logprobs must be 0 or more, not {args.logprobs}"),
        (args.lookup and several, "--lookup decodes one row: leave it out, or --num-samples and --lines"),
        (not args.beams and given(args, *beam_options), f"{given(args, *beam_options)} is for --beams"),
    ]
    if args.beams is not None:
        others = given(args, *SAMPLING, "stop", "slide", "lookup", "logprobs")
        contradictions += [
            (args.beams < args.n_samples, f"of {args.beams} beams {args.n_samples} cannot be the best"),
            (others, f"beam search finds the likeliest continuations, it has no {others}"),
        ]
    for wrong, message in contradictions:
        if wrong:
            raise PicoGPTError(message)


def given(args: argparse.Namespace, *names: str) -> str:
    """Those of the options that were given, as they are written."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names if getattr(args, name) not in (None, False, []))


def make_transforms(args: argparse.Namespace) -> list[Transform]:
    """In the order in which Hugging Face's `generate` has them."""
    from picogpt.decoding import sampling

    chosen: list[tuple[Any, Any]] = [
        (sampling.repetition_penalty, args.repetition_penalty),
        (sampling.presence_penalty, args.presence_penalty),
        (sampling.frequency_penalty, args.frequency_penalty),
        (sampling.no_repeat_ngram, args.no_repeat_ngram),
        (sampling.banned_tokens, args.ban or None),
        (sampling.temperature, args.temperature),
        (sampling.top_k, args.top_k),
        (sampling.top_p, args.top_p),
        (sampling.min_p, args.min_p),
        (sampling.typical_p, args.typical_p),
    ]
    return [make(value) for make, value in chosen if value is not None]


def make_options(args: argparse.Namespace, model: GPT2, transforms: list[Transform]) -> Options:
    import numpy as np

    from picogpt.decoding.sampling import min_length
    from picogpt.decoding.stopping import stop_criterion

    eot_token = model.encoder.eot_token
    if args.min_length is not None and eot_token is not None:
        transforms = [min_length(args.min_length, eot_token), *transforms]
    options: Options = {"transforms": transforms, "slide": args.slide, "lookup": args.lookup}
    options["eot_token"] = None if args.ignore_eos else eot_token
    if given(args, *SAMPLING) or (args.n_samples > 1 and not args.beams):
        options["rng"] = np.random.default_rng(args.seed)
    if args.stop:
        options["stop"] = stop_criterion(model.encoder, args.stop)
    return options


def converse(write: Callable[[str], None]) -> None:
    """Ask for prompts until the end of input; Ctrl-C ends a continuation, and at the prompt the program."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() its line editing and history
    print("Write the beginning of a text and press return; Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            if sys.stdout.isatty():
                prompt = input("> ")
            else:
                print("> ", end="", file=sys.stderr, flush=True)
                prompt = input()
        except EOFError:
            print(file=sys.stderr)
            return
        try:
            write(check_argument(prompt, "the prompt"))
        except PicoGPTError as error:
            print(f"picogpt: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            continue
