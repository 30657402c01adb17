"""Scores of texts as people read them: rows of tokens, words and choices, and the figures of a whole text.

score = score_text(model, "My kingdom for a horse!")  # any model that picogpt.load gives
score.perplexity, score.tokens[0]["logprob"], score.words[0]["surprisal"]
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypedDict, Unpack, overload

from picogpt.checkpoints.loaded import Model
from picogpt.errors import PicoGPTError
from picogpt.scoring.regions import Span, region_tokens
from picogpt.scoring.tokens import TokenScores, check_stride, choice_logprobs, perplexity, score_tokens, scoring_steps
from picogpt.scoring.words import beginnings, word_surprisals
from picogpt.tokenizers import SpecialTokens, Tokenizer, token_bytes
from picogpt.tokenizers.base import without_surrogates

Row = dict[str, Any]  # column -> value
FIGURES = ("n_tokens", "logprob", "surprisal", "mean_surprisal", "perplexity", "bits_per_character", "bits_per_byte")
SHOWN = 40  # characters of a text in the repr of its score


class ScoreOptions(TypedDict, total=False):
    """How to score a text."""

    bos: bool | None  # unless it is False, put the token that begins a text before it: so its first one has a score
    bow: bool  # correct words for where they begin (Pimentel & Meister 2024)
    nats: bool  # surprisal and entropy in nats instead of bits
    stride: int | None  # tokens from one window to the next, where a text is longer than the context
    allowed_special: SpecialTokens  # special tokens that the text may contain
    disallowed_special: SpecialTokens  # those that are an error in it


@dataclass(frozen=True, eq=False, repr=False)
class TextScore:
    """How likely a model finds a text. Log-probabilities are natural, surprisal and entropy in `unit`.

    Without a token that begins the text its first token has no score. Its figures are not numbers, its rank is
    None, and the figures of the whole text are those of the other tokens.
    """

    text: str
    ids: list[int]
    scores: TokenScores  # of the ids, or of the token that begins a text and the ids
    encoder: Tokenizer
    unit: Literal["bits", "nats"] = "bits"
    corrected: bool = False  # whether words are corrected for where they begin

    @cached_property
    def tokens(self) -> list[Row]:
        """A row for each token: id, token, logprob, surprisal, rank, entropy. Joined, the tokens are the text."""
        logprobs, ranks, entropies = self.scores.logprob.tolist(), self.scores.rank.tolist(), self.scores.entropy
        unscored = [(math.nan, 0, math.nan)] * (len(self.ids) - len(logprobs))
        figures = [*unscored, *zip(logprobs, ranks, entropies.tolist(), strict=True)]
        return [
            {
                "id": token,
                "token": piece.decode("utf-8", "replace"),
                "logprob": logprob,
                "surprisal": -logprob * self._nat,
                "rank": rank or None,
                "entropy": entropy * self._nat,
            }
            for token, piece, (logprob, rank, entropy) in zip(
                self.ids, token_bytes(self.encoder, self.ids), figures, strict=True
            )
        ]

    @cached_property
    def words(self) -> list[Row]:
        """A row for each word: word, n_tokens, surprisal, and the entropy of the prediction of its first token."""
        surprisals = word_surprisals(self.encoder, self.ids, self.scores, corrected=self.corrected)
        return [
            {"word": word.text, **self.figures(word.first, word.end), "surprisal": surprisal * self._nat}
            for word, surprisal in surprisals
        ]

    def regions(self, spans: Sequence[Span]) -> list[Row]:
        """The same of spans of characters of the text. Raises `PicoGPTError` for those that cut a token in two."""
        tokens = region_tokens(self.encoder, self.ids, self.text, spans)
        return [
            {"region": self.text[start:end], **self.figures(*part)}
            for (start, end), part in zip(spans, tokens, strict=True)
        ]

    def figures(self, first: int, end: int) -> Row:
        """Of the tokens from number `first` to `end`: n_tokens, surprisal, entropy of the prediction of the first."""
        n_before = len(self.scores.logprob) - len(self.ids)  # −1 where the first token has no score
        if first + n_before < 0:
            surprisal = entropy = math.nan
        else:
            surprisal = -float(self.scores.logprob[first + n_before : end + n_before].sum())
            entropy = float(self.scores.entropy[first + n_before])
        return {"n_tokens": end - first, "surprisal": surprisal * self._nat, "entropy": entropy * self._nat}

    def after(self, n_tokens: int, text: str) -> TextScore:
        """The score of `text`, which is all that comes after the first tokens, given these."""
        if n_tokens == 0:
            return replace(self, text=text)
        n_left = len(self.ids) - n_tokens
        logprob, rank, entropy, log_mass = self.scores
        left = slice(len(logprob) - n_left, None)
        scores = TokenScores(logprob[left], rank[left], entropy[left], log_mass[len(log_mass) - n_left - 1 :])
        return replace(self, text=text, ids=self.ids[n_tokens:], scores=scores)

    @property
    def surprisals(self) -> list[float]:
        """The surprisal of each token."""
        return [row["surprisal"] for row in self.tokens]

    @property
    def n_tokens(self) -> int:
        """How many tokens have a score."""
        return len(self.scores.logprob)

    @property
    def logprob(self) -> float:
        """The natural logarithm of the text's probability."""
        return float(self.scores.logprob.sum())

    @property
    def surprisal(self) -> float:
        return -self.logprob * self._nat

    @property
    def mean_surprisal(self) -> float:
        """Surprisal per token."""
        return -self.logprob / self.n_tokens * self._nat

    @property
    def perplexity(self) -> float:
        return perplexity(self.scores.logprob)

    @property
    def bits_per_character(self) -> float:
        return -self.logprob / math.log(2) / len(self.text)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the text in UTF-8."""
        return -self.logprob / math.log(2) / n_bytes(self.text)

    @property
    def summary(self) -> Row:
        """The figures of the whole text, those of `FIGURES`, as a row."""
        return {name: getattr(self, name) for name in FIGURES}

    @property
    def _nat(self) -> float:
        """How many of `unit` a nat is."""
        return 1.0 if self.unit == "nats" else 1 / math.log(2)

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= SHOWN else f"{self.text[: SHOWN - 1]}…"
        tokens = f"{self.n_tokens} token{'s' if self.n_tokens > 1 else ''}"
        return f"<TextScore {shown!r}: {tokens}, {self.surprisal:.4g} {self.unit}, perplexity {self.perplexity:.4g}>"


class Scorer:
    """A model and how it scores texts, for many of them: what can be prepared is prepared once.

    The options are those of `ScoreOptions`; without `details` tokens have neither rank nor entropy, which saves time.
    Raises `PicoGPTError` for options that the model cannot fulfil.
    """

    def __init__(
        self,
        model: Model,
        *,
        bos: bool | None = None,
        bow: bool = False,
        nats: bool = False,
        stride: int | None = None,
        allowed_special: SpecialTokens = (),
        disallowed_special: SpecialTokens = "all",
        details: bool = True,
    ) -> None:
        self.encoder, self.params, self.n_head = model.encoder, model.params, model.hparams["n_head"]
        self.stride = check_stride(stride, model.hparams["n_ctx"])
        self.unit: Literal["bits", "nats"] = "nats" if nats else "bits"
        self.allowed_special, self.disallowed_special, self.details = allowed_special, disallowed_special, details
        self.bos = bos_ids(self.encoder, bos)
        self.sets = beginnings(self.encoder, model.hparams["n_vocab"]) if bow else None

    def encode(self, text: str) -> list[int]:
        """A text's ids; raises `PicoGPTError` when they cannot be had or there is nothing to score in them."""
        if not isinstance(text, str):
            raise PicoGPTError(
                f"expected a text or a list of texts, not {type(text).__name__}; picogpt.scoring.score_tokens takes ids"
            )
        ids = self.encoder.encode(text, self.allowed_special, self.disallowed_special)
        if len(self.bos) + len(ids) < 2:
            raise PicoGPTError(f"nothing to score: the text has {'one token' if ids else 'no tokens'}")
        return ids

    def n_decoded(self, prefix: str) -> int:
        """The bytes of a text as its tokens spell it: a vocabulary may normalize it."""
        try:
            ids = self.encoder.encode(prefix, self.allowed_special, self.disallowed_special)
        except PicoGPTError:  # it ends within a word, and words are tokens
            return n_bytes(prefix)
        return len(self.encoder.decode_bytes(ids))

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """The scores of texts, in their order; raises `PicoGPTError` with the number of a text that has none."""
        encoded = []
        for number, text in enumerate(texts, 1):
            try:
                encoded.append((text, self.encode(text)))
            except PicoGPTError as error:
                raise PicoGPTError(f"text {number} of {len(texts)}: {error}") from None
        return self.score_encoded(encoded)

    def score_encoded(self, texts: Sequence[tuple[str, list[int]]]) -> list[TextScore]:
        """The scores of texts that come with their ids. They are read side by side."""
        inputs = [[*self.bos, *ids] for _, ids in texts]
        results = score_tokens(
            inputs, self.params, self.n_head, stride=self.stride, details=self.details, sets=self.sets
        )
        return [
            TextScore(text, ids, scores, self.encoder, self.unit, corrected=self.sets is not None)
            for (text, ids), scores in zip(texts, results, strict=True)
        ]

    def steps(self, text: str, ids: list[int]) -> Generator[None, None, TextScore]:
        """The score of a text that comes with its ids, in steps between which others may use the model."""
        scores = yield from scoring_steps(
            [*self.bos, *ids],
            self.params,
            self.n_head,
            stride=self.stride,
            details=self.details,
            sets=self.sets,
        )
        return TextScore(text, ids, scores, self.encoder, self.unit, corrected=self.sets is not None)

    def choices(self, prefix: str, choices: Sequence[str], separator: str = "", suffix: str = "") -> list[Row]:
        """`continuations`, the likeliest first."""
        return sorted(self.continuations(prefix, choices, separator, suffix), key=lambda row: -row["logprob"])

    def continuations(self, prefix: str, choices: Sequence[str], separator: str = "", suffix: str = "") -> list[Row]:
        """A row for each choice: choice, n_tokens, logprob, per_token, per_character, per_byte.

        The text is prefix, separator, choice and suffix, encoded together, so that the tokens are those of the whole
        text; what all of them share within the prefix is the context, and the rest is scored. The last two figures
        are divided by the length of the choice alone, as in lm-evaluation-harness. Raises `PicoGPTError` for an empty
        choice, and where a text does not fit into the model's context.
        """
        if not all(choices):
            raise PicoGPTError("a choice must not be empty")
        texts = [self.encode(prefix + separator + choice + suffix) for choice in choices]
        if not texts:
            return []
        n_shared = n_within(self.encoder, texts, self.n_decoded(prefix))
        context = [*self.bos, *texts[0][:n_shared]]
        logprobs = choice_logprobs(context, [ids[n_shared:] for ids in texts], self.params, self.n_head)
        return [
            {
                "choice": choice,
                "n_tokens": len(part),
                "logprob": float(part.sum()),
                "per_token": float(part.mean()),
                "per_character": float(part.sum()) / len(choice),
                "per_byte": float(part.sum()) / n_bytes(choice),
            }
            for choice, part in zip(choices, logprobs, strict=True)
        ]


def n_within(encoder: Tokenizer, texts: Sequence[Sequence[int]], n_prefix: int) -> int:
    """How many tokens all texts share within their first `n_prefix` bytes, which are the same."""
    n_shared, n_read = 0, 0
    for tokens, piece in zip(zip(*texts, strict=False), token_bytes(encoder, texts[0]), strict=False):
        n_read += len(piece)
        if len(set(tokens)) > 1 or n_read > n_prefix:
            break
        n_shared += 1
    return n_shared


@overload
def score_text(model: Model, text: str, **options: Unpack[ScoreOptions]) -> TextScore: ...


@overload
def score_text(model: Model, text: list[str] | tuple[str, ...], **options: Unpack[ScoreOptions]) -> list[TextScore]: ...


def score_text(
    model: Model, text: str | list[str] | tuple[str, ...], **options: Unpack[ScoreOptions]
) -> TextScore | list[TextScore]:
    """How likely `model` finds a text: `TextScore` has rows of its tokens and words, and figures of the whole.

    A list of texts, which are read side by side, gives a list. `ScoreOptions` says what can be chosen. Raises
    `PicoGPTError` for a text without tokens to score, for one with special tokens that are not allowed, and for
    options that the model cannot fulfil.
    """
    scorer = Scorer(model, **options)
    if isinstance(text, list | tuple):
        return scorer.score(text)
    (score,) = scorer.score_encoded([(text, scorer.encode(text))])
    return score


def rows_of(score: TextScore, by: Literal["text", "word", "token"]) -> list[Row]:
    """A text's tokens or words, or the one row of its figures."""
    return [score.summary] if by == "text" else score.words if by == "word" else score.tokens


def bos_ids(encoder: Tokenizer, bos: bool | None) -> list[int]:
    """The token that begins a text, or none where `bos` is False; raises `PicoGPTError` for a model without one."""
    if bos is False:
        return []
    if encoder.bos_token is None:
        raise PicoGPTError(
            "this model has no token that begins a text, so nothing comes before the first token of a text: "
            "leave it out (--no-bos, bos=False)"
        )
    return [encoder.bos_token]


def n_bytes(text: str) -> int:
    """Its length in UTF-8, as the tokenizers read it."""
    return len(without_surrogates(text).encode())
