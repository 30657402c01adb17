"""`picogpt serve`: a model for clients of OpenAI's API, and for a page in the browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.cli.options import Parser, add_model_options, load_model
from picogpt.errors import PicoGPTError
from picogpt.ranges import Range, at_least, between

if TYPE_CHECKING:
    from picogpt.pretrained import GPT2
    from picogpt.server.served import Served

DESCRIPTION = """\
Serve a model to clients of OpenAI's API (openai, llm, lm-evaluation-harness, editors, curl), to several of them at the
same time. Ctrl-C or SIGTERM ends it when what is running has finished.

docs/serving.md says what there is at which address. Needs starlette and uvicorn: pip install starlette uvicorn
"""
MISSING = "picogpt serve needs two more packages: pip install starlette uvicorn"
KEY = "PICOGPT_API_KEY"
LEVELS = ("debug", "info", "warning", "error")
RANGES = {
    "--port": between(0, 65535),
    "--slots": between(1, 1000),
    "--queue": at_least(1),
    "--chunk": at_least(1),
    "--cache-mb": at_least(0),
    "--grace": Range("0 or more", lambda x: 0 <= x < 1e6),
    "--max-body": at_least(1),
    "--max-logprobs": at_least(0),
}


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="picogpt serve", description=DESCRIPTION)
    add = parser.add_argument
    add_model_options(parser)
    add("--served-model-name", metavar="NAME", help="what requests call the model (default: its name)")
    add("--chat-template", metavar="plain|FILE", help="how a conversation becomes a text (docs/serving.md)")
    add("--log-level", choices=LEVELS, default="info", help="what is written to stderr (default: info)")

    add = parser.add_argument_group("who may use it").add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1, this machine)")
    add("--port", type=int, default=8000, metavar="N", help="(default: 8000; 0 is any that is free)")
    add("--api-key", metavar="KEY", help=f"what clients must know (default: ${KEY})")
    add("--no-auth", action="store_true", help="serve other machines without a key")
    add("--cors", action="append", default=[], metavar="ORIGIN", help="pages that may use it; * is all of them")
    add("--allow-host", action="append", default=[], metavar="NAME", help="another name by which it may be called")

    add = parser.add_argument_group("how much at once").add_argument
    add("--slots", type=int, default=16, metavar="N", help="continuations written side by side (default: 16)")
    add("--queue", type=int, default=256, metavar="N", help="continuations that may wait (default: 256)")
    add("--chunk", type=int, metavar="N", help="tokens of a prompt that are read while others wait")
    add("--cache-mb", type=int, metavar="N", help="memory for the beginnings of earlier prompts (default: 512)")
    add("--max-body", type=int, default=1 << 20, metavar="N", help="bytes of a request (default: 1048576)")
    add("--max-logprobs", type=int, default=5, metavar="N", help="alternatives of a token (default: 5)")
    add("--grace", type=float, default=10.0, metavar="SECONDS", help="to finish what is running (default: 10)")
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise PicoGPTError(MISSING) from None
    check(args)
    from picogpt.server.app import create_app
    from picogpt.server.log import set_up
    from picogpt.server.protocol import Server, listen

    key = args.api_key or os.environ.get(KEY)
    set_up(args.log_level)
    with listen(args.host, args.port) as listener:
        served = serve(args, load_model(args))
        app = create_app(served, key=key, origins=args.cors, hosts=[args.host, *args.allow_host])
        print(greeting(served, args.host, listener.getsockname()[1], key is not None), file=sys.stderr)
        Server(app, served, args.grace).run_on(listener)
    return 0


def check(args: argparse.Namespace) -> None:
    """Raises `PicoGPTError` for numbers that are out of range, and for a server that anybody could use."""
    from picogpt.server.security import is_loopback

    for flag, range in RANGES.items():
        value = getattr(args, flag.removeprefix("--").replace("-", "_"))
        if value is not None:
            range.check(flag, value)
    has_key = bool(args.api_key or os.environ.get(KEY))
    if not is_loopback(args.host) and not has_key and not args.no_auth:
        raise PicoGPTError(
            f"at {args.host} other machines can reach the server: give it an --api-key (or ${KEY}), or say --no-auth"
        )
    if has_key and args.no_auth:
        raise PicoGPTError(f"there is a key (--api-key or ${KEY}) and --no-auth; leave one of them out")


def serve(args: argparse.Namespace, model: GPT2) -> Served:
    """The model with its engine."""
    from picogpt import pretrained
    from picogpt.server.chat_template import read_template
    from picogpt.server.scheduler import Scheduler
    from picogpt.server.served import Limits, Served

    chosen = {"chunk": args.chunk, "cache_bytes": None if args.cache_mb is None else args.cache_mb << 20}
    options = {name: value for name, value in chosen.items() if value is not None}
    return Served(
        model,
        Scheduler(model.params, model.hparams["n_head"], slots=args.slots, queue=args.queue, **options),
        args.served_model_name or name_of(args.model or pretrained.default_model(args.models_dir)),
        Limits(n_bytes=args.max_body, n_logprobs=args.max_logprobs, n_rows=args.queue),
        None if args.chat_template is None else read_template(args.chat_template),
    )


def name_of(model: str) -> str:
    """A model's name; of a path its last part, since nobody else needs to know where our files are."""
    return Path(model).resolve().name if Path(model).exists() or model.startswith((".", "/", "~")) else model


def greeting(served: Served, host: str, port: int, has_key: bool) -> str:
    """What is served and where, and a line to try it with."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}"
    header = f' -H "Authorization: Bearer ${KEY}"' if has_key else ""
    body = '{"prompt": "Once upon a time", "max_tokens": 40}'
    sizes = f"{served.model!r}".removeprefix("<GPT2 ").partition(": ")[2].removesuffix(">")
    return (
        f"picogpt: {served.name} ({sizes}, {served.n_ctx} tokens) is served at {address}; Ctrl-C ends it. Try:\n"
        f"  curl {address}/v1/completions{header} -d '{body}'"
    )
