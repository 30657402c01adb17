"""`picogpt ladder`: climb from a table of pairs to GPT-2, each rung trained for a short while."""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from picogpt.cli.options import Parser
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from picogpt.tokenizers import CharTokenizer
    from picogpt.training.ladder import Rung
    from picogpt.training.plot import Curve
    from picogpt.training.trainer import Settings, State
    from picogpt.types import Ids, Params

DATA = Path("data/tinyshakespeare.txt")
N_WRITTEN = 40  # characters in a sample
N_POINTS = 100  # of each curve: a loss is the mean over so many of its steps
LR, LR_OF_TABLE = 3e-3, 3e-2  # a table's rows are each trained by few of the windows
INDENT = "    "
CLEARLY = 0.1  # nats
REDRAWN = 10.0  # seconds between pictures


def parser() -> Parser:
    parser = Parser(
        prog="picogpt ladder",
        description="Train every model from the bigram to GPT-2 on a text's characters, and compare them. Ctrl-C ends "
        "it with what there is.",
    )
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE", help=f"a text in UTF-8 ({DATA})")
    parser.add_argument("--only", metavar="RUNG,…", help="some of the rungs: bigram,embedding,… (all)")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="training steps for each (1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same figures (0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="save each rung's parameters, and GPT-2 as a model")
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
    if args.out and args.out.exists() and not args.out.is_dir():
        raise PicoGPTError(f"{args.out} is not a directory; choose another --out")
    from picogpt.files import read_text
    from picogpt.training.plot import can_draw

    if not can_draw():
        print("there will be no picture of the loss curves; for one: pip install matplotlib", file=sys.stderr)
    return climb(args, read_text(args.data))


def file_name(rung: str) -> str:
    """`+ averaged past` -> `averaged-past`: its name in --only, and that of its file in --out."""
    return rung.removeprefix("+ ").replace(" ", "-").lower()


def chosen(only: str | None, ladder: Mapping[str, Rung]) -> dict[str, Rung]:
    """The rungs that --only names, in the ladder's order."""
    names = {file_name(name): name for name in ladder}
    wanted = [name.strip() for name in only.split(",")] if only else list(names)
    for name in wanted:
        if name not in names:
            raise PicoGPTError(f"--only {name}: there is no such rung; there are {', '.join(names)}")
    return {name: ladder[name] for short, name in names.items() if short in wanted}


def climb(args: argparse.Namespace, text: str) -> int:
    """Print a row for every rung as it is done; returns the exit status."""
    from picogpt.cli.train import interrupts
    from picogpt.performance.threads import one_blas_thread
    from picogpt.tokenizers import CharTokenizer
    from picogpt.training.ladder import rungs

    encoder = CharTokenizer.from_text(text)
    ladder = chosen(args.only, rungs(encoder.n_vocab))
    lesson = Lesson.of(args, text, encoder)
    for name, rung in ladder.items():
        settings_for(name, args)  # one that is out of range is an error before the first line
        if min(len(lesson.train_ids), len(lesson.validation_ids)) <= rung.n_ctx:
            raise PicoGPTError(f"the text has {len(text)} characters; the ladder needs more than {10 * rung.n_ctx}")
    lesson.count()
    with one_blas_thread() as alone, interrupts() as interrupted:
        for name, rung in ladder.items():
            lesson.climb(name, rung, 2 if alone else 1, interrupted)
            if interrupted():
                break
    lesson.end()
    return 128 + interrupted() if interrupted() else 0


def settings_for(rung: str, args: argparse.Namespace) -> Settings:
    from picogpt.training.trainer import Settings

    lr = LR_OF_TABLE if rung == "bigram" else LR
    return Settings(args.steps, batch_size=32, parts=2, lr=lr, warmup=min(100, args.steps // 10), seed=args.seed)


@dataclass
class Lesson:
    """What the rungs have in common, and what they have come to."""

    args: argparse.Namespace
    encoder: CharTokenizer
    train_ids: Ids
    validation_ids: Ids
    levels: dict[str, float] = field(default_factory=dict)  # to hold the losses against
    curves: dict[str, Curve] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)  # losses

    @classmethod
    def of(cls, args: argparse.Namespace, text: str, encoder: CharTokenizer) -> Lesson:
        import numpy as np

        from picogpt.training.data import split_text

        train, validation = split_text(text)
        return cls(args, encoder, np.array(encoder.encode(train)), np.array(encoder.encode(validation)))

    def count(self) -> None:
        """The table's head, and its first row: what can be had without training."""
        import numpy as np

        from picogpt.training.data import validation_loss
        from picogpt.training.ideas import count_bigrams

        n_vocab = self.encoder.n_vocab
        logits = np.log(count_bigrams(self.train_ids, n_vocab, smoothing=0.1))
        train, validation = (
            validation_loss(logits.__getitem__, ids, len(ids)) for ids in (self.train_ids, self.validation_ids)
        )
        print(f"{'':17}{'params':>8}  {'train':>6}  {'validation':>10}  {'bits/char':>9}  {'seconds':>7}  a sample")
        print(row("counted pairs", logits.size, train, validation, 0, ""))
        print(
            INDENT + "How often each character follows each other: the floor for what sees one character.", flush=True
        )
        self.levels = {
            f"ln {n_vocab}, all alike: {math.log(n_vocab):.3f}": math.log(n_vocab),
            f"counted pairs: {train:.3f}": train,
        }

    def climb(self, name: str, rung: Rung, n_threads: int, interrupted: Callable[[], int]) -> None:
        """Train a rung, and print, draw and save what it has come to."""
        import numpy as np

        from picogpt.checkpoints import flatten
        from picogpt.training.data import validation_loss
        from picogpt.training.ladder import IDEAS, generate, start

        state, began = start(rung, settings_for(name, self.args)), time.perf_counter()
        losses = self.train(name, rung, state, n_threads, interrupted)
        seconds = time.perf_counter() - began
        last = float(np.mean(losses[-max(1, self.args.steps // 10) :]))
        validation = validation_loss(partial(rung.forward, state.params), self.validation_ids, rung.n_ctx)
        rng = np.random.default_rng(self.args.seed)
        written = generate(rung, state.params, self.validation_ids[:1].tolist(), N_WRITTEN, rng)
        n_params = sum(array.size for array in flatten(state.params).values())
        print(row(name, n_params, last, validation, seconds, self.encoder.decode(written)))
        print(INDENT + IDEAS[name], flush=True)
        self.validation[name] = validation
        self.draw(name, losses)
        if self.args.out:
            self.save(name, rung, state.params)
        if interrupted():
            print(f"stopped in {name}, after {state.step} of {self.args.steps} steps", file=sys.stderr)

    def train(self, name: str, rung: Rung, state: State, n_threads: int, interrupted: Callable[[], int]) -> list[float]:
        """The loss of every step, up to the last one or an interrupt; with a progress bar, and a picture that grows."""
        from tqdm import tqdm

        from picogpt.training.ladder import steps

        losses: list[float] = []
        drawn = time.perf_counter()
        with tqdm(total=self.args.steps, desc=name, unit="step", leave=False, disable=None) as bar:
            for step in steps(rung, state, self.train_ids, settings_for(name, self.args), n_threads):
                losses.append(step.loss)
                bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
                bar.update()
                if interrupted():
                    break
                if time.perf_counter() - drawn > REDRAWN:
                    self.draw(name, losses)
                    drawn = time.perf_counter()
        return losses

    def draw(self, name: str, losses: list[float]) -> None:
        from picogpt.training.plot import draw_losses

        self.curves[name] = smooth(losses, -(-self.args.steps // N_POINTS))
        draw_losses(self.args.plot, self.curves, f"From pairs to GPT-2, on {self.args.data.name}", levels=self.levels)

    def save(self, name: str, rung: Rung, params: Params) -> None:
        """GPT-2 as a model that every command takes, the others as arrays with their names."""
        from picogpt.checkpoints import write_huggingface
        from picogpt.training.ladder import GPT2, save

        path = self.args.out / file_name(name)
        if isinstance(rung, GPT2):
            write_huggingface(path, rung.hparams, params)
            self.encoder.save(path, "huggingface")
        else:
            save(path.with_suffix(".npz"), params)

    def end(self) -> None:
        from picogpt.training.plot import can_draw

        if lesson := why_the_mean_is_worse(self.validation):
            print(f"\n{lesson}")
        if self.curves and can_draw():
            print(f"the loss curves are in {self.args.plot}", file=sys.stderr)
        if self.args.out:
            print(f"what was trained is in {self.args.out}", file=sys.stderr)


def smooth(losses: list[float], n: int) -> Curve:
    """The mean of every `n` losses, at the step in their middle."""
    groups = [losses[i : i + n] for i in range(0, len(losses), n)]
    return [(i * n + len(group) / 2, sum(group) / len(group)) for i, group in enumerate(groups)]


def why_the_mean_is_worse(losses: Mapping[str, float]) -> str:
    """What the figures of the rungs around the averaged past show; nothing where they do not show it."""
    alone = losses.get("+ positions", losses.get("embedding", math.inf))
    mean, added, attention = (
        losses.get(f"+ {name}", math.inf) for name in ("averaged past", "residual", "self-attention")
    )
    if not alone + CLEARLY < mean < math.inf:
        return ""
    lines = [
        f"Why is the averaged past worse than none, {mean:.3f} against {alone:.3f}? Not because the past hurts:",
        "in the mean, the last character, which tells the most about the next, is one among many.",
    ]
    if added - alone < (mean - alone) / 2:
        lines += [f"Where the mean is added to it (+ residual) most of that is mended: {added:.3f}."]
    if attention < alone:
        lines += [f"Where the past is chosen from, not averaged (+ self-attention), it helps: {attention:.3f}."]
    return "\n".join(lines)


def row(name: str, n_params: int, train: float, validation: float, seconds: float, sample: str) -> str:
    """A row of the table; losses in nats a character, which is a token here."""
    figures = f"{n_params:8,}  {train:6.3f}  {validation:10.3f}  {validation / math.log(2):9.3f}  {seconds:7.1f}"
    return f"{name:17}{figures}  {' '.join(sample.split())}".rstrip()
