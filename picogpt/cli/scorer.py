"""From records to rows of figures: what `picogpt score` and `picogpt compare` print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from picogpt.cli.records import Record
from picogpt.cli.text import encode
from picogpt.errors import PicoGPTError

if TYPE_CHECKING:
    from picogpt.pretrained import GPT2
    from picogpt.scoring.tokens import TokenScores

Row = dict[str, Any]  # column -> value


class Scored(NamedTuple):
    record: Record
    summary: Row  # of the text
    parts: list[Row]  # of its tokens or words


class Scorer:
    """A model and how texts are scored with it: `by` "token", "word" or "text", in bits or in nats.

    `bos` is whether the end-of-text token stands before a text; None: where the model has one. `bow` corrects words.
    """

    def __init__(
        self,
        model: GPT2,
        by: str,
        *,
        bos: bool | None = None,
        bow: bool = False,
        nats: bool = False,
        stride: int | None = None,
        special: str | None = None,
        hf_perplexity: bool = False,
    ) -> None:
        from picogpt.scoring.tokens import check_stride
        from picogpt.scoring.words import beginnings

        self.encoder, self.params, self.n_head = model.encoder, model.params, model.hparams["n_head"]
        self.by, self.bow, self.special, self.hf_perplexity = by, bow, special, hf_perplexity
        self.stride = check_stride(stride, model.hparams["n_ctx"])
        self.unit = 1.0 if nats else 1 / math.log(2)  # of surprisal and entropy, for a nat
        eot_token = self.encoder.eot_token
        if bos and eot_token is None:
            raise PicoGPTError("this model has no end-of-text token: leave out --bos")
        self.bos = [] if bos is False or hf_perplexity or eot_token is None else [eot_token]
        self.sets = beginnings(self.encoder, model.hparams["n_vocab"]) if bow else None

    def encode(self, record: Record) -> list[int]:
        """A record's ids; raises `PicoGPTError` when there is nothing to score in it."""
        if record.is_bad:
            raise PicoGPTError(record.text)
        ids = encode(self.encoder, record.text, self.special)
        if len(self.bos) + len(ids) < 2:
            raise PicoGPTError(f"nothing to score: the text has {'one token' if ids else 'no tokens'}")
        return ids

    def score(self, records: Sequence[tuple[Record, list[int]]]) -> Iterator[Scored]:
        """Records with their ids, scored side by side."""
        from picogpt.scoring.tokens import huggingface_perplexity, score_tokens

        if self.hf_perplexity:
            for record, ids in records:
                figure = huggingface_perplexity(ids, self.params, self.n_head, self.stride)
                yield Scored(record, {"n_tokens": len(ids), "hf_perplexity": figure}, [])
            return
        inputs = [[*self.bos, *ids] for _, ids in records]
        details = self.by == "token"
        results = score_tokens(inputs, self.params, self.n_head, stride=self.stride, details=details, sets=self.sets)
        for (record, ids), scores in zip(records, results, strict=True):
            parts = {"token": self.tokens, "word": self.words}.get(self.by)
            yield Scored(record, self.summary(record.text, scores), parts(ids, scores) if parts else [])

    def summary(self, text: str, scores: TokenScores) -> Row:
        """Figures of a whole text; where its first token has no score, of the others."""
        from picogpt.scoring.tokens import perplexity

        n, logprob = len(scores.logprob), float(scores.logprob.sum())
        bits = -logprob / math.log(2)
        return {
            "n_tokens": n,
            "logprob": logprob,
            "surprisal": -logprob * self.unit,
            "mean_surprisal": -logprob / n * self.unit,
            "perplexity": perplexity(scores.logprob),
            "bits_per_character": bits / len(text),
            "bits_per_byte": bits / len(text.encode()),
        }

    def tokens(self, ids: list[int], scores: TokenScores) -> list[Row]:
        from picogpt.tokenizers import token_bytes

        n_unscored = len(ids) - len(scores.logprob)  # 1 without an end-of-text token in front
        rows = []
        for i, (token, piece) in enumerate(zip(ids, token_bytes(self.encoder, ids), strict=True)):
            row: Row = {"id": token, "logprob": math.nan, "surprisal": math.nan, "rank": None, "entropy": math.nan}
            if i >= n_unscored:
                logprob = float(scores.logprob[i - n_unscored])
                row["logprob"], row["surprisal"] = logprob, -logprob * self.unit
                row["rank"] = int(scores.rank[i - n_unscored])
                row["entropy"] = float(scores.entropy[i - n_unscored]) * self.unit
            rows.append({**row, "token": piece.decode("utf-8", "replace")})
        return rows

    def words(self, ids: list[int], scores: TokenScores) -> list[Row]:
        from picogpt.scoring.words import word_surprisals

        return [
            {"n_tokens": word.end - word.first, "surprisal": surprisal * self.unit, "word": word.text}
            for word, surprisal in word_surprisals(self.encoder, ids, scores, corrected=self.bow)
        ]

    def choices(self, prefix: str, choices: Sequence[str]) -> list[Row]:
        """Continuations of a prefix, the likeliest first: their log-probabilities, raw and by length.

        Prefix and continuation are encoded together, so that the tokens are those of the whole text; what all of
        them share within the prefix is the context.
        """
        from picogpt.scoring.tokens import choice_logprobs
        from picogpt.tokenizers import token_bytes

        texts = [encode(self.encoder, prefix + choice, self.special) for choice in choices]
        n_shared, n_bytes = 0, 0
        for tokens, piece in zip(zip(*texts, strict=False), token_bytes(self.encoder, texts[0]), strict=False):
            n_bytes += len(piece)
            if len(set(tokens)) > 1 or n_bytes > len(prefix.encode()):
                break
            n_shared += 1
        behind = [ids[n_shared:] for ids in texts]
        logprobs = choice_logprobs([*self.bos, *texts[0][:n_shared]], behind, self.params, self.n_head)
        rows = [
            {
                "logprob": float(part.sum()),
                "per_token": float(part.mean()),
                "per_byte": float(part.sum()) / len(choice.encode()),
                "n_tokens": len(part),
                "choice": choice,
            }
            for part, choice in zip(logprobs, choices, strict=True)
        ]
        return sorted(rows, key=lambda row: -row["logprob"])
