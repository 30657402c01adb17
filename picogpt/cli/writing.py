"""Continuations on their way to stdout: one as it is written, or several when they are whole."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from picogpt.cli.text import encode

if TYPE_CHECKING:
    from picogpt.decoding.loop import Options, Token
    from picogpt.pretrained import GPT2

BATCH_SIZE = 32  # rows decoded side by side


def prompt_ids(prompt: str, args: argparse.Namespace, model: GPT2) -> list[int]:
    """The prompt's ids, after those with which every text begins; without any text, the token that begins one."""
    from picogpt.tokenizers import begun

    if ids := encode(model.encoder, prompt, args.special):
        return begun(model.encoder, ids)
    return model.prompt_ids("")


def write_on(prompt: str, args: argparse.Namespace, model: GPT2, options: Options) -> None:
    """Stream one continuation to stdout, and what there is to say about it to stderr."""
    stream = Stream(prompt_ids(prompt, args, model), args, model, options)
    show(itertools.chain([prompt] if args.echo else [], stream))
    if stream.finish_reason in (None, "length") and stream.n_tokens < args.n_tokens:
        print(
            f"picogpt: stopped after {stream.n_tokens} tokens: the context of {model.hparams['n_ctx']} is full "
            f"(--slide continues)",
            file=sys.stderr,
        )
    if args.stats:
        print(stream.statistics(), file=sys.stderr)


def show(pieces: Iterable[str]) -> None:
    """Write pieces of a text to stdout as they come; on a terminal what comes next stands on a line of its own."""
    last = "\n"
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
            last = piece or last
    finally:
        if sys.stdout.isatty() and not last.endswith("\n"):
            print(file=sys.stderr)


class Stream:
    """The pieces of one continuation, as they are decoded; afterwards, how it went."""

    def __init__(self, ids: Sequence[int], args: argparse.Namespace, model: GPT2, options: Options) -> None:
        self.ids, self.args, self.model, self.options = ids, args, model, options
        self.finish_reason: str | None = "length"  # where nothing is asked for
        self.times = [time.perf_counter()]  # at the beginning, and when each token was there

    def __iter__(self) -> Iterator[str]:
        from picogpt.decoding.stopping import until_stop
        from picogpt.tokenizers import stream_text

        return until_stop(stream_text(self.model.encoder, self.chosen(), self.ids), self.args.stop)

    def chosen(self) -> Iterator[int]:
        from picogpt.decoding.loop import decode

        n_head = self.model.hparams["n_head"]
        for token in decode([self.ids], self.model.params, n_head, self.args.n_tokens, **self.options):
            self.times.append(time.perf_counter())
            self.finish_reason = token.finish_reason
            if token.finish_reason != "eos":
                yield token.id

    @property
    def n_tokens(self) -> int:
        return len(self.times) - 1

    def statistics(self) -> str:
        return statistics(len(self.ids), self.times, self.finish_reason)


def statistics(n_prompt: int, times: list[float], reason: str | None) -> str:
    """One line from the moments at which decoding began and each token was there."""
    n, total = len(times) - 1, times[-1] - times[0]
    if not n:
        return f"picogpt: {n_prompt} prompt tokens, nothing written"
    line = f"picogpt: {n_prompt} prompt tokens, the first token after {times[1] - times[0]:.3f} s; {n} in {total:.3f} s"
    if n > 1:
        line += f", then {(n - 1) / (times[-1] - times[1]):.1f} tokens a second"
    return f"{line} ({reason})"


def write_several(prompt: str, args: argparse.Namespace, model: GPT2, options: Options) -> None:
    """Continuations that are printed when they are whole: with a line between them, or as one JSON object a line."""
    prompts = lines(prompt) if args.lines else [prompt]
    n_at_once = max(BATCH_SIZE // args.n_samples, 1)
    started, n_tokens, is_first = time.perf_counter(), 0, True
    write = beams if args.beams else rows
    for start in range(0, len(prompts), n_at_once):
        for record in write(prompts[start : start + n_at_once], args, model, options):
            n_tokens += len(record["tokens"])
            if args.json:
                line = json.dumps(record, ensure_ascii=False, allow_nan=False)
            else:
                line = (record["prompt"] if args.echo else "") + record["text"]
                line = line if is_first else f"---\n{line}"
            print(line, flush=True)
            is_first = False
    if args.stats:
        seconds = time.perf_counter() - started
        print(f"picogpt: {n_tokens} tokens in {seconds:.3f} s, {n_tokens / seconds:.1f} a second", file=sys.stderr)


def lines(text: str) -> list[str]:
    """The lines of a text without their ends, "\\n" or "\\r\\n"; what else Unicode calls a line end stays in them."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def rows(prompts: list[str], args: argparse.Namespace, model: GPT2, options: Options) -> Iterator[dict[str, Any]]:
    """A record for each continuation; after Ctrl-C for what there is of each."""
    from picogpt.decoding.loop import decode
    from picogpt.decoding.stopping import until_stop
    from picogpt.tokenizers import inner_bytes, stream_text

    encoder = model.encoder
    ids = [prompt_ids(prompt, args, model) for prompt in prompts]
    tokens: list[list[Token]] = [[] for _ in range(len(ids) * args.n_samples)]
    interrupted = None

    def text_of(token: int) -> str:
        return inner_bytes(encoder, token).decode("utf-8", "replace")

    try:
        options = {**options, "n_samples": args.n_samples, "n_top": (args.logprobs or 0) if args.json else None}
        for token in decode(ids, model.params, model.hparams["n_head"], args.n_tokens, **options):
            tokens[token.row].append(token)
    except KeyboardInterrupt as error:
        interrupted = error
    for name, row in enumerate(tokens):
        number = name // args.n_samples
        text = stream_text(encoder, [token.id for token in row if token.finish_reason != "eos"], ids[number])
        yield {
            "prompt": prompts[number],
            "text": "".join(until_stop(text, args.stop)),
            "finish_reason": row[-1].finish_reason if row else (None if interrupted else "length"),
            "tokens": [
                {
                    "id": token.id,
                    "text": text_of(token.id),
                    "logprob": token.logprob,
                    "top": [{"id": i, "text": text_of(i), "logprob": logprob} for i, logprob in token.top],
                }
                for token in row
            ],
        }
    if interrupted is not None:
        raise interrupted


def beams(prompts: list[str], args: argparse.Namespace, model: GPT2, options: Options) -> Iterator[dict[str, Any]]:
    """A record for each of the best continuations."""
    from picogpt.decoding.beam import beam_search
    from picogpt.tokenizers import inner_bytes, stream_text

    for prompt in prompts:
        ids = prompt_ids(prompt, args, model)
        for beam in beam_search(
            ids,
            model.params,
            model.hparams["n_head"],
            args.n_tokens,
            args.beams,
            transforms=options["transforms"],
            eot_token=options["eot_token"],
            length_penalty=1.0 if args.length_penalty is None else args.length_penalty,
            early_stopping=args.early_stopping,
            n_best=args.n_samples,
        ):
            yield {
                "prompt": prompt,
                "text": "".join(stream_text(model.encoder, beam.ids, ids)),
                "finish_reason": beam.finish_reason,
                "score": beam.score,
                "tokens": [
                    {"id": i, "text": inner_bytes(model.encoder, i).decode("utf-8", "replace")} for i in beam.ids
                ],
            }
