"""Hidden states and attention statistics of tokens, and their means over words and texts.

Tokens, words and windows are those of `picogpt.scoring`: row by row the features belong to its scores. A token's values
come from the window in which scoring reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypedDict, Unpack

import numpy as np

from picogpt.checkpoints.loaded import Model
from picogpt.checkpoints.names import explain_non_finite
from picogpt.errors import PicoGPTError, shown
from picogpt.features.values import attention_statistics, layer_states
from picogpt.inspection.targets import token_texts
from picogpt.scoring.report import bos_ids
from picogpt.scoring.tokens import BATCH_TOKENS, Window, batches, check_stride, windows
from picogpt.scoring.words import split_words
from picogpt.tokenizers import SpecialTokens
from picogpt.types import Array, Ids

ATTENTION_TOKENS = 1024  # read in one pass for attention, whose patterns take n_head × n_seq numbers a token

Layers = int | Literal["all"] | Sequence[int]
Pool = Literal["mean", "last", "none"]
Row = dict[str, Any]  # column -> value


class FeatureOptions(TypedDict, total=False):
    """Which features."""

    layer: Layers | None  # hidden states: 0 is the embedding, n_layer (default) is after ln_f. Attention: default "all"
    pool: Pool  # over a text's tokens, or with `words` a word's: their mean (default) or the last; "none": each token
    words: bool  # a row for each word
    attention: bool  # each head's entropy and attention to the previous token, instead of hidden states
    bos: bool | None  # unless it is False, read a text after the token that begins one
    stride: int | None  # tokens from one window to the next, where a text is longer than the context
    allowed_special: SpecialTokens  # special tokens that the text may contain
    disallowed_special: SpecialTokens  # those that are an error in it


class Units(NamedTuple):
    """The rows of a text: each is a mean over its tokens number `first` to `end`."""

    pieces: list[str] | None  # the tokens or words that they are; none where the row is the text
    first: Ids  # [n_rows]
    end: Ids  # [n_rows]


class Part(NamedTuple):
    """What one window of a text adds to its rows."""

    rows: slice  # of all of the texts' rows
    length: int  # of the window
    edges: Ids  # in the window, the beginning and the end of each row's tokens
    sizes: Array  # [n_names, n_rows, 1]: how many tokens of the whole text each row is a mean of


class Extractor:
    """A model and what is wanted of its texts. The options are those of `FeatureOptions`.

    A row of features is an array of shape `shape`, `[n_names, n_layers, width]`: `names` are "hidden", or "entropy" and
    "previous"; `layers` are the chosen ones; the width is n_embd, or n_head. Raises `PicoGPTError` for options that
    the model cannot fulfil.
    """

    def __init__(
        self,
        model: Model,
        *,
        layer: Layers | None = None,
        pool: Pool = "mean",
        words: bool = False,
        attention: bool = False,
        bos: bool | None = None,
        stride: int | None = None,
        allowed_special: SpecialTokens = (),
        disallowed_special: SpecialTokens = "all",
    ) -> None:
        if pool not in ("mean", "last", "none"):
            raise PicoGPTError(f"pool must be mean, last or none, not {shown(pool)}")
        if words and pool == "none":
            raise PicoGPTError("a row is a word or a token: pool the tokens of words (mean, last), or leave out words")
        self.encoder, self.params, self.n_head = model.encoder, model.params, model.hparams["n_head"]
        self.n_ctx, n_layer = model.hparams["n_ctx"], model.hparams["n_layer"]
        self.stride = check_stride(stride, self.n_ctx)
        self.allowed_special, self.disallowed_special = allowed_special, disallowed_special
        self.bos = bos_ids(self.encoder, bos)
        self.pool, self.attention = pool, attention
        self.unit: Literal["text", "token", "word"] = "word" if words else "token" if pool == "none" else "text"
        self.names: tuple[str, ...] = ("entropy", "previous") if attention else ("hidden",)
        self.has_one_layer = isinstance(layer, int) or (layer is None and not attention)
        self.layers = chosen_layers(layer, n_layer, attention)
        self.shape = len(self.names), len(self.layers), self.n_head if attention else model.hparams["n_embd"]

    def encode(self, text: str) -> list[int]:
        """A text's ids; raises `PicoGPTError` when they cannot be had or there are none."""
        if not isinstance(text, str):
            raise PicoGPTError(f"expected a text or a list of texts, not {type(text).__name__}")
        ids = self.encoder.encode(text, self.allowed_special, self.disallowed_special)
        if not ids:
            raise PicoGPTError("the text has no tokens")
        return ids

    def units(self, ids: Sequence[int]) -> Units:
        """The rows of the text that has these ids."""
        if self.unit == "word":
            words = split_words(self.encoder, ids)
            pieces, spans = [word.text for word in words], [(word.first, word.end) for word in words]
        elif self.unit == "token":
            pieces, spans = token_texts(self.encoder, list(ids)), [(i, i + 1) for i in range(len(ids))]
        else:
            pieces, spans = None, [(0, len(ids))]
        first, end = np.array(spans, np.int64).reshape(-1, 2).T
        return Units(pieces, end - 1 if self.pool == "last" else first, end)

    def fill(self, texts: Sequence[tuple[list[int], Units]], out: Array) -> None:
        """Add the features of texts, which are read side by side, to `out [n_rows, *shape]`, where all is zero."""
        inputs = [np.array([*self.bos, *ids], np.int64) for ids, _ in texts]
        ends = np.cumsum([len(units.end) for _, units in texts])
        starts = [end - len(units.end) for end, (_, units) in zip(ends.tolist(), texts, strict=True)]
        plan = [(i, window) for i, row in enumerate(inputs) for window in windows(len(row), self.n_ctx, self.stride)]
        for batch, rows in batches(inputs, plan, ATTENTION_TOKENS if self.attention else BATCH_TOKENS):
            parts = [self.part(texts[i][1], window, starts[i]) for i, window in batch]
            for layer, values in enumerate(self.values(rows)):
                if not np.isfinite(values).all():
                    raise explain_non_finite(self.params)
                for k, part in enumerate(parts):
                    if len(part.edges):
                        out[part.rows, :, layer] += means(values[:, k], part).swapaxes(0, 1)

    def part(self, units: Units, window: Window, start: int) -> Part:
        """What the window adds to the rows of its text, of which the first is number `start`."""
        n_before = len(self.bos)
        first = np.maximum(units.first, window.first - n_before if window.begin else 0)
        end = np.minimum(units.end, window.end - n_before)
        (some,) = np.nonzero(first < end)  # neighbours, since rows are in the order of the text
        edges = np.stack((first[some], end[some]), axis=-1).reshape(-1) + n_before - window.begin
        sizes = np.stack(
            [units.end[some] - np.maximum(units.first[some], self.first_with(name)) for name in self.names]
        )
        rows = slice(start + int(some[0]), start + int(some[-1]) + 1) if len(some) else slice(0)
        return Part(rows, window.end - window.begin, edges, sizes[..., None].astype(self.params["wpe"].dtype))

    def first_with(self, name: str) -> int:
        """The first token of a text that has this value: without a token before it the first one has no previous."""
        return 1 if name == "previous" and not self.bos else 0

    def values(self, ids: Ids) -> Iterable[Array]:  # [batch, n_seq] -> [n_names, batch, n_seq, width] of each layer
        if self.attention:
            return attention_statistics(ids, self.params, self.n_head, self.layers)
        return (x[None] for x in layer_states(ids, self.params, self.n_head, self.layers))

    def arrays(self, out: Array) -> dict[str, Array]:
        """Features by their names: `[n_rows, n_layers, width]`, or `[n_rows, width]` of a single layer."""
        return {name: out[:, i, 0] if self.has_one_layer else out[:, i] for i, name in enumerate(self.names)}


def chosen_layers(layer: Layers | None, n_layer: int, attention: bool) -> tuple[int, ...]:
    """The layers in ascending order; raises `PicoGPTError` for one that does not exist."""
    if layer is None:
        layer = "all" if attention else n_layer
    every = range(n_layer if attention else n_layer + 1)
    chosen = every if layer == "all" else (layer,) if isinstance(layer, int) else layer
    for number in chosen:
        if number not in every:
            have = f"attention has layers 0 to {n_layer - 1}"
            have = have if attention else f"hidden states have layers 0, the embedding, to {n_layer}, after ln_f"
            raise PicoGPTError(f"there is no layer {shown(number)}: {have}")
    if not chosen:
        raise PicoGPTError("no layer is chosen; name one, or all")
    return tuple(sorted(set(chosen)))


def means(values: Array, part: Part) -> Array:  # [n_names, n_seq, width] -> [n_names, n_rows, width]
    """The part of the rows' means that comes from one window."""
    edges = part.edges[:-1] if part.edges[-1] == part.length else part.edges  # the last sum goes on to the end
    sums = np.add.reduceat(values[:, : part.length], edges, axis=1)[:, ::2]  # what lies between two rows is in none
    with np.errstate(invalid="ignore"):  # of nothing the mean is not a number
        return sums / part.sizes


class Features(dict[str, Array]):
    """Features by name, and what each row is of: the text's number, and the index and text of a token or word."""

    def __init__(self, arrays: dict[str, Array], rows: list[Row]) -> None:
        super().__init__(arrays)
        self.rows = rows

    def __repr__(self) -> str:
        return f"<Features of {len(self.rows)} rows: {', '.join(f'{name} {a.shape}' for name, a in self.items())}>"


def features(model: Model, texts: str | Sequence[str], **options: Unpack[FeatureOptions]) -> Features:
    """Features of a text or of several, which are read side by side; `FeatureOptions` says what can be chosen.

    "hidden" is `[n_rows, n_embd]` of one layer, `[n_rows, n_layers, n_embd]` of several; "entropy" (in nats) and
    "previous" have n_head for n_embd. Raises `PicoGPTError` with the number of a text that has no tokens, and for
    options that the model cannot fulfil.
    """
    extractor = Extractor(model, **options)
    texts = [texts] if isinstance(texts, str) else list(texts)
    encoded = []
    for number, text in enumerate(texts):
        try:
            ids = extractor.encode(text)
        except PicoGPTError as error:
            raise PicoGPTError(f"text {number + 1} of {len(texts)}: {error}") from None
        encoded.append((ids, extractor.units(ids)))
    rows: list[Row] = []
    for number, (_, units) in enumerate(encoded):
        named = [{}] if units.pieces is None else numbered(units.pieces, extractor.unit)
        rows += [{"text": number, **row} for row in named]
    out = np.zeros((len(rows), *extractor.shape), model.params["wpe"].dtype)
    extractor.fill(encoded, out)
    return Features(extractor.arrays(out), rows)


def numbered(pieces: Sequence[str], unit: str) -> list[Row]:
    """A text's tokens or words with their index."""
    return [{"index": i, unit: piece} for i, piece in enumerate(pieces)]
