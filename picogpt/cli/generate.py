"""`picogpt [generate] PROMPT`: write on from a prompt. The continuation goes to stdout, exactly."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from picogpt.cli.options import Parser, add_model_options, decode_utf8, load_model
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.generation import Options, Token
    from picogpt.pretrained import GPT2
    from picogpt.sampling import Transform

DESCRIPTION = """\
Write on from PROMPT. Without one the prompt is standard input, exactly as it is; on a terminal you are asked for
prompts, one after the other. The continuation goes to standard output exactly, everything else to standard error.

A first argument that is the name of a command runs that command: `picogpt info` prints the model's figures. To write
on from such a word say `picogpt generate info`.
"""


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="picogpt generate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prompt", nargs="?", metavar="PROMPT")
    add_model_options(parser)
    parser.add_argument(
        "-n",
        "--n-tokens",
        "--n_tokens_to_generate",
        dest="n_tokens",
        type=int,
        default=40,
        metavar="N",
        help="write at most this many tokens (default: 40)",
    )
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT; may be repeated")
    parser.add_argument("--ignore-eos", action="store_true", help="do not end at the end-of-text token")
    parser.add_argument("--slide", action="store_true", help="when the context is full, go on behind its last half")
    parser.add_argument("--echo", action="store_true", help="print the prompt before the continuation")
    parser.add_argument("--stats", action="store_true", help="say how fast it went")

    sampling = parser.add_argument_group("sampling (without any of these the most likely token is taken every time)")
    sampling.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text again")
    sampling.add_argument("--temperature", type=float, metavar="T", help="below 1 is safer, above 1 is wilder")
    sampling.add_argument("--top-k", "--top_k", dest="top_k", type=int, metavar="K", help="of the K likeliest tokens")
    sampling.add_argument(
        "--top-p", "--top_p", dest="top_p", type=float, metavar="P", help="of the likeliest that reach probability P"
    )
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # whatever the locale: exactly the model's text
    transforms = make_transforms(args)
    if args.n_tokens < 0:
        raise PicoGPTError(f"the number of tokens must be 0 or more, not {args.n_tokens}")
    interactive = args.prompt is None and sys.stdin is not None and sys.stdin.isatty()
    if not interactive:
        prompt = read_prompt(args.prompt)
    model = load_model(args)
    options = make_options(args, model, transforms)
    if interactive:
        converse(args, model, options)
    else:
        write_on(prompt, args, model, options)
    return 0


def make_transforms(args: argparse.Namespace) -> list[Transform]:
    """In the order in which Hugging Face's `generate` has them."""
    from picogpt import sampling

    chosen = [
        (sampling.temperature, args.temperature),
        (sampling.top_k, args.top_k),
        (sampling.top_p, args.top_p),
    ]
    return [make(value) for make, value in chosen if value is not None]


def make_options(args: argparse.Namespace, model: GPT2, transforms: list[Transform]) -> Options:
    import numpy as np

    from picogpt.stopping import stop_criterion

    sampled = args.seed is not None or bool(transforms)
    if args.seed is not None and args.seed < 0:
        raise PicoGPTError(f"the seed must be 0 or more, not {args.seed}")
    options: Options = {"transforms": transforms, "slide": args.slide}
    options["rng"] = np.random.default_rng(args.seed) if sampled else None
    options["eot_token"] = None if args.ignore_eos else model.encoder.eot_token
    if args.stop:
        options["stop"] = stop_criterion(model.encoder, args.stop)
    return options


def read_prompt(prompt: str | None) -> str:
    if prompt is not None:
        # what is not UTF-8 on the command line reaches us as lone surrogates
        return decode_utf8(prompt.encode(errors="surrogateescape"), "the prompt")
    return decode_utf8(sys.stdin.buffer.read() if sys.stdin is not None else b"", "standard input")


def encode_prompt(prompt: str, model: GPT2) -> list[int]:
    """The prompt's ids; without any text, the end-of-text token, behind which a new text begins."""
    if ids := model.encoder.encode(prompt):
        return ids
    if model.encoder.eot_token is None:
        raise PicoGPTError("the prompt is empty, and this model has no end-of-text token to start from; give it a word")
    return [model.encoder.eot_token]


def converse(args: argparse.Namespace, model: GPT2, options: Options) -> None:
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
            write_on(read_prompt(prompt), args, model, options)
        except PicoGPTError as error:
            print(f"picogpt: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            continue


def write_on(prompt: str, args: argparse.Namespace, model: GPT2, options: Options) -> None:
    """Stream one continuation to stdout, and what there is to say about it to stderr."""
    from picogpt.generation import decode
    from picogpt.stopping import until_stop
    from picogpt.tokenizers import stream_text

    ids = encode_prompt(prompt, model)
    tokens: list[Token] = []
    times = [time.perf_counter()]

    def chosen(stream: Iterable[Token]) -> Iterator[int]:
        for token in stream:
            tokens.append(token)
            times.append(time.perf_counter())
            if token.finish_reason != "eos":
                yield token.id

    stream = decode([ids], model.params, model.hparams["n_head"], args.n_tokens, **options)
    pieces = until_stop(stream_text(model.encoder, chosen(stream)), args.stop)
    last = "\n"
    try:
        for piece in itertools.chain([prompt] if args.echo else [], pieces):
            sys.stdout.write(piece)
            sys.stdout.flush()
            last = piece or last
    finally:
        if sys.stdout.isatty() and not last.endswith("\n"):
            print(file=sys.stderr)  # so that what comes next stands on a line of its own

    reason = tokens[-1].finish_reason if tokens else "length"
    if reason in (None, "length") and len(tokens) < args.n_tokens:
        print(
            f"picogpt: stopped after {len(tokens)} tokens: the context of {model.hparams['n_ctx']} is full "
            f"(--slide goes on)",
            file=sys.stderr,
        )
    if args.stats:
        print(statistics(len(ids), times, reason), file=sys.stderr)


def statistics(n_prompt: int, times: list[float], reason: str | None) -> str:
    """One line from the moments at which decoding began and each token was there."""
    n, total = len(times) - 1, times[-1] - times[0]
    if not n:
        return f"picogpt: {n_prompt} prompt tokens, nothing written"
    line = f"picogpt: {n_prompt} prompt tokens, the first token after {times[1] - times[0]:.3f} s; {n} in {total:.3f} s"
    if n > 1:
        line += f", then {(n - 1) / (times[-1] - times[1]):.1f} tokens a second"
    return f"{line} ({reason})"
