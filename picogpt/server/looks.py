"""What the page asks about a pass, and what it gets: rows for JSON, and arrays. Nothing of HTTP is in here.

What is wanted is named, each with its options: {"tokens": {}, "next": {"position": -1, "k": 20}}. Answers come in
steps, between which others have the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from picogpt import model as model_source
from picogpt.checkpoints import n_params
from picogpt.errors import PicoGPTError, shown
from picogpt.inspection import logit_lens, token_id, without_heads, without_mlps
from picogpt.inspection.lens import log_softmax
from picogpt.inspection.look import check_finite
from picogpt.inspection.names import IN_A_BLOCK, check_layers
from picogpt.inspection.patching import ActivationPatching, Kind, patching_steps
from picogpt.inspection.replay import Replay, in_small
from picogpt.inspection.report import change_rows, lens_rows, token_rows
from picogpt.inspection.sources import source_lines
from picogpt.inspection.targets import check_same_shape, position_in
from picogpt.inspection.trace import run_with
from picogpt.pretrained import GPT2
from picogpt.server.work import Steps
from picogpt.tokenizers import ByteLevelBPE, token_bytes
from picogpt.tokenizers.base import without_surrogates
from picogpt.tokenizers.merge_steps import Merges
from picogpt.types import Array

Options = dict[str, Any]
KEPT_BYTES = 256_000_000  # of passes that are kept for the next question
LENS_POSITIONS = 64  # the most at a time: each is a row of logits for every layer
LIKELY = 200  # the most tokens in an answer for one position
ANSWERS_OF_A_PROMPT = 5  # the likeliest tokens, of which one tells it from another prompt
SMALL = 64  # cells along a side of a head in small
LAST = slice(-1, None)
NAMES = ("embed", "pos_embed", *IN_A_BLOCK, "ln_final.normalized", "logits")


@dataclass(frozen=True)
class Pass:
    """A prompt, and what is switched off in the pass over it."""

    ids: tuple[int, ...]
    heads: tuple[tuple[int, int], ...] = ()  # (layer, head)
    mlps: tuple[int, ...] = ()  # layers

    @property
    def whole(self) -> Pass:
        return Pass(self.ids)


class Looks:
    """A model and the latest passes, so that another question about one of them needs no pass. For one thread."""

    def __init__(self, model: GPT2) -> None:
        self.model = model
        self.n_layer, self.n_head = model.hparams["n_layer"], model.hparams["n_head"]
        self.passes: dict[Pass, Replay] = {}  # the latest last

    def answer(self, of: Pass, asked: dict[str, Options]) -> Steps[dict[str, Any]]:
        """What is asked, by its name. Raises `PicoGPTError` for what the model or the prompt does not have."""
        if unknown := [name for name in asked if name not in ANSWERS]:
            raise PicoGPTError(f"nothing is called {shown(unknown[0])}; there are {', '.join(ANSWERS)}")
        answers = {}
        for name, options in asked.items():
            found = ANSWERS[name](self, of, options)
            answers[name] = (yield from found) if isinstance(found, Generator) else found
            yield
        return answers

    def array(self, of: Pass, options: Options) -> Steps[npt.NDArray[Any]]:
        """One array: a value of the pass, the logits at one position, all heads in small, or a head's c_proj."""
        name = text(options, "name")
        head = None if options.get("head") is None else number(options, "head", 0, 0, self.n_head - 1)
        if name.endswith(".attn.c_proj"):
            return self.c_proj(name, head)
        replay = self.replay(of)
        yield
        if name == "heads":
            return (yield from self.heads_in_small(replay))
        if name == "logits":
            return replay.logits(one(self.position(replay, options)))[0]
        return of_head(name, replay[name], head)

    def replay(self, of: Pass) -> Replay:
        if of in self.passes:
            self.passes[of] = self.passes.pop(of)
        else:
            params, n_head = self.model.params, self.n_head
            off = {**without_heads(params, n_head, of.heads), **without_mlps(params, n_head, of.mlps)}
            replay = Replay(of.ids, params, n_head, changes=off)
            check_finite(replay.kept, self.model)
            self.passes[of] = replay
            while len(self.passes) > 1 and sum(kept.nbytes for kept in self.passes.values()) > KEPT_BYTES:
                del self.passes[next(iter(self.passes))]
        return self.passes[of]

    def source(self, options: Options) -> Replay:
        """The pass over the other prompt."""
        return self.replay(Pass(tuple(self.model.prompt_ids(text(options, "source"), allowed_special="all"))))

    def position(self, replay: Replay, options: Options) -> int:
        return position_in(replay.kept.ids, number(options, "position", -1, -(2**31), 2**31))

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """The id of each token's bytes, of several the first."""
        found: dict[bytes, int] = {}
        for i in set(range(self.model.hparams["n_vocab"])) - set(self.model.encoder.unused):
            found.setdefault(self.model.encoder.decode_bytes([i]), i)
        return found

    @cached_property
    def merges(self) -> Merges:
        encoder = self.model.encoder
        if not isinstance(encoder, ByteLevelBPE):
            raise PicoGPTError(f"this model's tokenizer, {type(encoder).__name__}, makes its tokens without merges")
        return Merges(encoder)

    def heads_in_small(self, replay: Replay) -> Steps[npt.NDArray[np.uint8]]:  # [n_layer, n_head, m, m]
        """Every head's pattern in steps of 1/255, of a long prompt in fewer cells."""
        layers = []
        for i in range(self.n_layer):
            pattern = replay.block(i, {"attn.pattern"})["attn.pattern"]
            layers.append(np.rint(255 * in_small(pattern, SMALL)).astype(np.uint8))
            yield
        return np.stack(layers)

    def c_proj(self, name: str, head: int | None) -> Array:  # -> [n_embd or d_head, n_embd]
        """The rows of attention's c_proj that belong to a head: what is multiplied by one gives that row."""
        match = re.fullmatch(r"blocks\.(\d{1,9})\.attn\.c_proj", name, re.ASCII)
        if match is None:
            raise PicoGPTError(f"no weights are called {shown(name)}; write blocks.0.attn.c_proj")
        layer = int(match[1])
        check_layers([layer], self.n_layer)
        w = self.model.params["blocks"][layer]["attn"]["c_proj"]["w"]
        rows = np.eye(w.shape[0], dtype=np.float32)
        d_head = w.shape[0] // self.n_head
        return (rows if head is None else rows[head * d_head : (head + 1) * d_head]) @ w


def of_head(name: str, value: Array, head: int | None) -> Array:
    """A head's part of a value that has one for each, and of all heads what `merge_heads` makes of it."""
    if name.endswith((".scores", ".pattern")):
        return value if head is None else value[head]
    if value.ndim == 3:  # [n_seq, n_head, d_head]
        return value.reshape(len(value), -1) if head is None else value[:, head]
    return value


def one(position: int) -> slice:
    return slice(position, position + 1)


def number(options: Options, name: str, default: int, low: int, high: int) -> int:
    """A whole number from the request; raises `PicoGPTError` for anything else."""
    value = options.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise PicoGPTError(f"{name} must be a whole number from {low} to {high}, not {shown(value)}")
    return value


def text(options: Options, name: str) -> str:
    value = options.get(name)
    if not isinstance(value, str):
        raise PicoGPTError(f"{name} must be a text")
    return value


def model_of(looks: Looks, of: Pass, options: Options) -> Options:
    encoder = looks.model.encoder
    return {
        **looks.model.hparams,
        "n_params": n_params(looks.model.hparams),
        "tokenizer": type(encoder).__name__,
        "has_merges": isinstance(encoder, ByteLevelBPE),
    }


def source_of(looks: Looks, of: Pass, options: Options) -> Options:
    """model.py, and the line that makes each value."""
    lines = source_lines()
    return {
        "text": Path(model_source.__file__).read_text(encoding="utf-8"),
        "lines": {name: lines(name)["line"] for name in NAMES},
    }


def tokens_of(looks: Looks, of: Pass, options: Options) -> list[Options]:
    encoder = looks.model.encoder
    rows = token_rows(encoder, np.array(of.ids))
    return [{**row, "bytes": piece.hex(" ")} for row, piece in zip(rows, token_bytes(encoder, of.ids), strict=True)]


def next_of(looks: Looks, of: Pass, options: Options) -> list[Options]:
    """The likeliest tokens after a position."""
    replay = looks.replay(of)
    at = looks.position(replay, options)
    logits = replay.logits(one(at))[0]
    k = min(number(options, "k", 20, 1, LIKELY), len(logits))
    best = np.argsort(-logits, kind="stable")[:k]
    rows = token_rows(looks.model.encoder, best)
    shares = np.exp(log_softmax(logits))
    return [
        {**row, "logit": float(logits[i]), "probability": float(shares[i])} for row, i in zip(rows, best, strict=True)
    ]


def lens_of(looks: Looks, of: Pass, options: Options) -> Options:
    """What each layer would predict, for some of the positions, and how long the residual stream is there."""
    replay = looks.replay(of)
    n_seq = len(replay.kept.ids)
    first = number(options, "first", 0, 0, max(0, n_seq - 1))
    n = number(options, "n", LENS_POSITIONS, 1, LENS_POSITIONS)
    part = replay.part(slice(first, first + n))
    k = min(number(options, "k", 3, 1, LIKELY), looks.model.hparams["n_vocab"])
    lens = logit_lens(part, looks.model.params, looks.n_head, k=k)
    states = [part["blocks.0.resid_pre"], *(part[f"blocks.{i}.resid_post"] for i in range(looks.n_layer))]
    return {
        "first": first,
        "rows": lens_rows(looks.model.encoder, lens),
        "kl": lens.kl.tolist(),
        "norms": [np.linalg.norm(state, axis=-1).tolist() for state in states],
    }


def merges_of(looks: Looks, of: Pass, options: Options) -> Options:
    """How the word of a token was merged; there is none where no merges made the token."""
    position = position_in(np.array(of.ids), number(options, "position", -1, -(2**31), 2**31))
    word = looks.merges.word_at(of.ids, position)
    steps = [] if word is None else looks.merges.steps(word)
    return {
        "word": word,
        "steps": [
            {"pieces": list(map(shown_bytes, pieces)), "merged": merged and shown_bytes(merged), "rank": rank}
            for pieces, merged, rank in steps
        ],
    }


def shown_bytes(piece: bytes) -> str:
    r"""Its text; a byte that is a part of a character is written \xe2."""
    return piece.decode("utf-8", "backslashreplace")


def change_of(looks: Looks, of: Pass, options: Options) -> list[Options]:
    """The prediction before and after what is switched off, and the tokens that moved the most."""
    whole, changed = looks.replay(of.whole), looks.replay(of)
    place = one(looks.position(whole, options))
    k = number(options, "k", 10, 1, LIKELY)
    return change_rows(looks.model.encoder, whole.logits(place)[0], changed.logits(place)[0], k)


def patch_of(looks: Looks, of: Pass, options: Options) -> list[Options]:
    """The prediction before and after one value of another prompt, `source`, is put in, at one position or head."""
    prompt, source = looks.replay(of.whole), looks.source(options)
    check_same_shape(prompt.kept.ids, source.kept.ids)
    name = text(options, "name")
    value = source[name]
    if options.get("head") is None:
        place: tuple[Any, ...] = (looks.position(prompt, options),)
    else:
        place = (slice(None), number(options, "head", 0, 0, looks.n_head - 1))

    def put_in(array: Array) -> Array:
        array[place] = value[place]
        return array

    after = run_with(prompt.kept.ids, looks.model.params, looks.n_head, {name: put_in})[-1]
    return change_rows(looks.model.encoder, prompt.logits(LAST)[0], after, number(options, "k", 10, 1, LIKELY))


def patching_of(looks: Looks, of: Pass, options: Options) -> Steps[Options]:
    """How far each patch from `source` brings its answer, the token `target` and not `foil`, into the prompt's pass.

    Without them each is the token that tells its prompt from the other.
    """
    kind = options.get("kind", "resid_pre")
    if kind not in get_args(Kind):
        raise PicoGPTError(f"kind must be one of {', '.join(get_args(Kind))}, not {shown(kind)}")
    prompt, source = looks.replay(of.whole), looks.source(options)
    encoder = looks.model.encoder
    logits, others = source.logits(LAST)[0], prompt.logits(LAST)[0]
    target, foil = (
        token_id(encoder, text(options, name)) if options.get(name) else favoured(*pair)
        for name, pair in (("target", (logits, others)), ("foil", (others, logits)))
    )
    steps = patching_steps(source.kept.ids, prompt.kept.ids, looks.model.params, looks.n_head, target, foil, [kind])
    patched: ActivationPatching = yield from steps
    rows = token_rows(encoder, np.array([target, foil]))
    return {
        "target": rows[0],
        "foil": rows[1],
        "clean": patched.clean,
        "corrupted": patched.corrupted,
        "restored": patched.restored[kind].tolist(),
    }


def favoured(logits: Array, others: Array) -> int:  # [n_vocab] both
    """Of the likeliest tokens the one that is so much likelier here than there."""
    best = np.argsort(-logits, kind="stable")[:ANSWERS_OF_A_PROMPT]
    return int(best[(log_softmax(logits) - log_softmax(others))[best].argmax()])


def ids_of(looks: Looks, of: Pass, options: Options) -> list[int]:
    """The prompt's ids and those of tokens that were written after it, under the names that the API gives them."""
    names = options.get("tokens", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PicoGPTError("tokens must be a list of tokens' names")
    found = [looks.ids.get(bytes_of(name)) for name in names]
    if None in found:
        raise PicoGPTError(f"the vocabulary has no token {shown(names[found.index(None)])}")
    return [*of.ids, *(i for i in found if i is not None)]


def bytes_of(name: str) -> bytes:
    r"""A token's bytes; a part of a character is written `bytes:\xe2\x80`."""
    if re.fullmatch(r"bytes:(\\x[0-9a-f]{2})+", name):
        return bytes.fromhex(name.removeprefix("bytes:").replace("\\x", ""))
    return without_surrogates(name).encode()


ANSWERS: dict[str, Callable[[Looks, Pass, Options], Any]] = {
    "model": model_of,
    "source": source_of,
    "tokens": tokens_of,
    "ids": ids_of,
    "next": next_of,
    "lens": lens_of,
    "merges": merges_of,
    "change": change_of,
    "patch": patch_of,
    "patching": patching_of,
}
