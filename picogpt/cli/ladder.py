"""`picogpt ladder`: climb from a table of pairs to GPT-2, each rung trained for a short while."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.cli.options import Parser
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.training.plot import Curve

DATA = Path("data/tinyshakespeare.txt")
N_WRITTEN = 40  # characters in a sample


def parser() -> Parser:
    parser = Parser(
        prog="picogpt ladder",
        description="Train every model from the bigram to GPT-2 on a text's characters, and compare them.",
    )
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE", help=f"a text in UTF-8 ({DATA})")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="training steps for each (1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same figures (0)")
    parser.add_argument(
        "--plot", type=Path, default=Path("ladder.png"), metavar="FILE", help="loss curves (ladder.png)"
    )
    return parser


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if not args.data.is_file():
        raise PicoGPTError(
            f"{args.data} is not there; name a text with --data FILE, or get one: picogpt download tinyshakespeare"
        )
    from picogpt.files import read_text
    from picogpt.training.plot import draw_losses

    curves = climb(read_text(args.data), args.steps, args.seed)
    if draw_losses(args.plot, curves, f"From pairs to GPT-2, on {args.data.name}"):
        print(f"the loss curves are in {args.plot}", file=sys.stderr)
    else:
        print("for a picture of the loss curves: pip install matplotlib", file=sys.stderr)
    return 0


def climb(text: str, n_steps: int, seed: int) -> dict[str, Curve]:
    """Print a line for every rung as it is done; returns the loss curves."""
    import time
    from functools import partial

    import numpy as np

    from picogpt.checkpoints import flatten
    from picogpt.tokenizers import CharTokenizer
    from picogpt.training.data import split_text, validation_loss
    from picogpt.training.ladder import count_bigrams, generate, rungs, train
    from picogpt.training.trainer import Settings

    encoder = CharTokenizer.from_text(text)
    train_ids, validation_ids = (np.array(encoder.encode(part)) for part in split_text(text))
    settings = Settings(steps=n_steps, batch_size=32, parts=1, lr=3e-3, warmup=min(100, n_steps // 10), seed=seed)
    ladder = rungs(encoder.n_vocab)
    for rung in ladder.values():
        if min(len(train_ids), len(validation_ids)) <= rung.n_ctx:
            raise PicoGPTError(f"the text has {len(text)} characters; the ladder needs more than {10 * rung.n_ctx}")

    print(f"{'':17}{'params':>8}  {'train':>6}  {'validation':>10}  {'bits/char':>9}  {'seconds':>7}  a sample")
    counted = np.log(count_bigrams(train_ids, encoder.n_vocab, smoothing=0.1))
    on_train, on_validation = (
        validation_loss(counted.__getitem__, ids, len(ids)) for ids in (train_ids, validation_ids)
    )
    print(line("counted pairs", counted.size, on_train, on_validation, 0, ""))
    curves: dict[str, Curve] = {}
    for name, rung in ladder.items():
        started = time.perf_counter()
        params, losses = train(rung, train_ids, settings)
        seconds = time.perf_counter() - started
        validation = validation_loss(partial(rung.forward, params), validation_ids, rung.n_ctx)
        written = generate(rung, params, encoder.encode(text[:1]), N_WRITTEN, np.random.default_rng(seed))
        n_params = sum(array.size for array in flatten(params).values())
        last = float(np.mean(losses[-max(1, n_steps // 10) :]))
        print(line(name, n_params, last, validation, seconds, encoder.decode(written)), flush=True)
        curves[name] = list(enumerate(losses))
    return curves


def line(name: str, n_params: int, train: float, validation: float, seconds: float, sample: str) -> str:
    """A row of the table; losses in nats a character, which is a token here."""
    figures = f"{n_params:8,}  {train:6.3f}  {validation:10.3f}  {validation / math.log(2):9.3f}  {seconds:7.1f}"
    return f"{name:17}{figures}  {' '.join(sample.split())}".rstrip()
