"""`picogpt train DATA --out DIR`: train a GPT-2 on text, or continue training one."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picogpt.cli.options import Parser
from picogpt.errors import PicoGPTError, reason

if TYPE_CHECKING:
    from picogpt.tokenizers import Tokenizer
    from picogpt.training.run import Run

# The defaults are not argparse's own, so that it is known which options were given.
MODEL = {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_ctx": 128}
N_VOCAB, EVAL_EVERY, SAVE_EVERY = 512, 250, 250
SETTINGS = {  # their defaults are those of training.trainer.Settings
    "steps": "steps to make",
    "batch_size": "windows of n_ctx tokens a step",
    "lr": "the highest learning rate",
    "warmup": "steps in which it rises",
    "hold": "steps in which it stays, before it falls to 0 along half a cosine",
    "beta2": "how long AdamW remembers squared gradients",
    "weight_decay": "how fast AdamW shrinks the matrices",
    "dropout": "share of the embeddings and of each branch's output that is dropped",
    "average": "keep a running average of the weights with this decay, and save that; 0 for none",
    "seed": "the same seed gives the same weights",
}


def parser() -> Parser:
    from picogpt.training.run import FORMATS
    from picogpt.training.trainer import RANGES, Settings

    parser = Parser(
        prog="picogpt train",
        description="Train a GPT-2 on text. Without options it takes about ten minutes on a laptop.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("data", nargs="*", type=Path, metavar="DATA", help="text files, UTF-8; read one after another")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new directory for the model (default: runs/NAME)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="resume the run in DIR, exactly as it was")
    parser.add_argument("--init", metavar="MODEL", help="start from a model (a name or directory) and its vocabulary")
    parser.add_argument(
        "--tokenizer", metavar="KIND", help="bpe (trained on DATA, the default), char, word, or a model's name"
    )
    parser.add_argument("--n-vocab", type=int, metavar="N", help=f"tokens of a new bpe vocabulary ({N_VOCAB})")
    for name, number in MODEL.items():
        parser.add_argument(flag(name), type=int, metavar="N", help=f"the model's size ({number})")
    for name, meaning in SETTINGS.items():
        default = getattr(Settings, name)
        words = f"{meaning}; {RANGES[name].words} ({default})"
        parser.add_argument(flag(name), type=type(default), metavar="N", help=words)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="how the model is stored: in Hugging Face's layout as float32 (the default), float16 or bfloat16; or as "
        "tf, OpenAI's layout",
    )
    parser.add_argument(
        "--parts", type=int, metavar="N", help="compute a batch in so many parts, to save memory (as many as threads)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads (one for each processor)")
    parser.add_argument("--eval-every", type=int, metavar="N", help=f"steps between validation losses ({EVAL_EVERY})")
    parser.add_argument("--save-every", type=int, metavar="N", help=f"steps between checkpoints ({SAVE_EVERY})")
    return parser


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def main(argv: list[str]) -> int:
    options = vars(parser().parse_args(argv))
    for name in (*MODEL, "threads", "eval_every", "save_every"):
        if options.get(name, 1) < 1:
            raise PicoGPTError(f"{flag(name)} must be at least 1, not {options[name]}")
    n_threads = options.pop("threads", os.cpu_count() or 1)
    eval_every, save_every = options.pop("eval_every", EVAL_EVERY), options.pop("save_every", SAVE_EVERY)
    from picogpt.training.run import only_one

    out, begin = resume(**options) if "resume" in options else start(options, n_threads)
    with only_one(out):
        return train(begin(), n_threads, eval_every, save_every)


def resume(resume: Path, data: tuple[Path, ...] = (), **others: Any) -> tuple[Path, Callable[[], Run]]:
    """Where the run is, and how it goes on."""
    from picogpt.training.run import Run

    if data or others:
        given = ", ".join([*map(str, data), *(flag(name) for name in others)])
        raise PicoGPTError(f"a resumed run keeps its data and settings; leave out {given}")
    if not resume.is_dir():
        raise PicoGPTError(f"there is no directory {resume} to resume; start a run with --out {resume}")
    return resume, partial(Run.resume, resume)


def start(options: dict[str, Any], n_threads: int) -> tuple[Path, Callable[[], Run]]:
    """Where the run will be, and how it begins."""
    import numpy as np

    from picogpt.files import read_text
    from picogpt.training.run import Run
    from picogpt.training.trainer import Settings, init_params

    if not options.get("data"):
        raise PicoGPTError("which text? give one or more files: picogpt train FILE --out DIR")
    text = "".join(map(read_text, options["data"]))
    out = options.get("out") or Path("runs") / options["data"][0].stem
    if out.exists() and not out.is_dir():
        raise PicoGPTError(f"{out} is not a directory; choose another --out")
    settings = Settings(parts=options.pop("parts", n_threads), **{k: v for k, v in options.items() if k in SETTINGS})
    if "init" in options:
        from picogpt.pretrained import load

        if given := [name for name in ("tokenizer", "n_vocab", *MODEL) if name in options]:
            raise PicoGPTError(f"--init brings its own size and vocabulary; leave out {flag(given[0])}")
        tokenizer, hparams, params = load(options["init"])
    else:
        tokenizer = make_tokenizer(options.get("tokenizer", "bpe"), text, options.get("n_vocab", N_VOCAB))
        hparams = {"n_vocab": tokenizer.n_vocab} | {name: options.get(name, default) for name, default in MODEL.items()}
        if hparams["n_embd"] % hparams["n_head"]:
            raise PicoGPTError(f"--n-embd {hparams['n_embd']} cannot be divided by --n-head {hparams['n_head']}")
        params = init_params(hparams, np.random.default_rng(settings.seed))
    format = options.get("format", "float32")
    return out, partial(Run.start, out, text, tokenizer, hparams, params, settings, format)


def make_tokenizer(kind: str, text: str, n_vocab: int) -> Tokenizer:
    """A new tokenizer for the text, learned from its training part alone, or that of a model.

    But characters are taken from all of the text: a rare one in the validation part would have no id.
    """
    from picogpt import tokenizers
    from picogpt.training.data import split_text

    train_text, _ = split_text(text)
    if kind == "bpe":
        return tokenizers.train_bpe([train_text], n_vocab, ["<|endoftext|>"])
    if kind == "char":
        return tokenizers.CharTokenizer.from_text(text)
    if kind == "word":
        return tokenizers.WordTokenizer.from_text(train_text, ["<|endoftext|>", "<|unk|>"])
    from picogpt import checkpoints, pretrained

    return checkpoints.read_encoder(pretrained.find_model(kind))


def train(run: Run, n_threads: int, eval_every: int, save_every: int) -> int:
    """Train to the end, or until Ctrl-C; in both cases the last step is saved."""
    from tqdm import tqdm

    from picogpt.checkpoints import n_params
    from picogpt.performance import gpt2
    from picogpt.performance.threads import one_blas_thread
    from picogpt.training.data import bits_per_character, validation_loss
    from picogpt.training.trainer import check_can_continue, gpt2_loss_and_grads, training_steps

    ids, validation_ids = run.ids("train"), run.ids("validation")
    n_head, settings = run.hparams["n_head"], run.settings
    n_ctx = run.hparams["n_ctx"]
    n_tokens = settings.batch_size * n_ctx
    model = gpt2_loss_and_grads(n_head, settings.dropout)
    print(
        f"{n_params(run.hparams):,} parameters, {len(ids):,} tokens to train on, "
        f"{settings.steps - run.state.step} steps of {n_tokens} to go",
        file=sys.stderr,
    )

    def validate() -> float:
        loss = validation_loss(partial(gpt2, **run.params, n_head=n_head), validation_ids, n_ctx)
        bits = bits_per_character(loss, len(validation_ids), run.n_characters)
        if not math.isfinite(loss):
            raise PicoGPTError(f"step {run.state.step}: the validation loss is {loss}; try a smaller lr")
        tqdm.write(
            f"step {run.state.step}: validation {loss:.4f} nats a token, {bits:.4f} bits a character", sys.stderr
        )
        return loss

    saved = run.state.step
    with (
        one_blas_thread() as alone,
        interrupts() as interrupted,
        tqdm(total=settings.steps * n_tokens, initial=saved * n_tokens, unit="token", unit_scale=True) as bar,
    ):
        try:
            for step in training_steps(run.state, ids, n_ctx, model, settings, n_threads if alone else 1):
                last = run.state.step == settings.steps
                validation = validate() if last or run.state.step % eval_every == 0 else ""
                run.log.append((step.step, step.loss, validation, step.lr, step.grad_norm))
                bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
                bar.update(n_tokens)
                if last or interrupted() or run.state.step % save_every == 0:
                    check_can_continue(run.state, ids, n_ctx, model)
                    run.save()
                    saved = run.state.step
                if interrupted():
                    break
        except (PicoGPTError, OSError) as error:
            what = reason(error) if isinstance(error, OSError) else error
            raise PicoGPTError(f"{what}. The checkpoint of step {saved} in {run.out} is whole") from error
    if run.state.step < settings.steps:
        print(f"stopped and saved at step {saved}; resume with: picogpt train --resume {run.out}", file=sys.stderr)
        return 128 + interrupted()
    finish(run)
    return 0


@contextmanager
def interrupts() -> Iterator[Callable[[], int]]:
    """Ctrl-C and SIGTERM let the step that is being made come to its end; a second one does not.

    Gives a function that says which of them came, or 0.
    """
    came: list[int] = []

    def note(signum: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(signum)

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def finish(run: Run) -> None:
    """The loss curves, and a sample of what the model writes, on stdout."""
    from picogpt.decoding.loop import generate_stream
    from picogpt.decoding.sampling import temperature, top_k
    from picogpt.tokenizers import stream_text
    from picogpt.training.plot import draw_losses
    from picogpt.training.run import loss_curves

    if not draw_losses(run.out / "loss.png", loss_curves(run.log), f"Training {run.out.name}", run.state.step):
        print("for a picture of the losses: pip install matplotlib", file=sys.stderr)
    prompt = run.ids("validation")[: run.hparams["n_ctx"] // 4].tolist()
    sample = generate_stream(
        prompt,
        run.params,
        run.hparams["n_head"],
        run.hparams["n_ctx"] - len(prompt),
        transforms=[temperature(0.8), top_k(50)],
        rng=run.settings.seed,
        eot_token=run.tokenizer.eos_tokens,
    )
    for piece in stream_text(run.tokenizer, sample, prompt):
        print(piece, end="", flush=True)
    print()
    print(f"saved in {run.out}", file=sys.stderr)
