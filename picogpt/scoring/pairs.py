"""Minimal pairs: which of two sentences does a model find the better one?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal, get_args

from picogpt.checkpoints.loaded import Model
from picogpt.corpus.jobs import Result
from picogpt.corpus.model import Check, no_check
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError
from picogpt.scoring.jobs import ScoringJob
from picogpt.scoring.report import TextScore

Metric = Literal["sum", "mean", "slor", "token-aligned"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Pair = tuple[tuple[str, list[int]], tuple[str, list[int]]]  # of texts with their ids


class PairsJob(ScoringJob[Pair]):
    """Scores the two sentences of each record; the figures are natural logarithms, and more is better.

    `metric` "sum" is a sentence's log-probability, as in BLiMP; "mean" is that divided by the number of its tokens;
    "slor" leaves out what the tokens' frequencies alone explain: (log p − Σ log p(token)) / n_tokens (Pauls & Klein
    2012), with frequencies counted in the ids `counted`, one added to each; "token-aligned" is the sum over the tokens
    that both sentences share, given all that stands before each of them (as CrowS-Pairs does for masked models).
    """

    columns = ("score_good", "score_bad", "difference", "correct")

    def __init__(
        self,
        load: Callable[[], Model],
        check: Check = no_check,
        *,
        good: str = "sentence_good",
        bad: str = "sentence_bad",
        metric: Metric = "sum",
        counted: Counter[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(load, check, details=False, **options)
        self.good, self.bad, self.metric, self.counted = good, bad, metric, counted
        if metric == "slor" and counted is None:
            raise PicoGPTError(
                "slor needs the frequencies of tokens: say in which text to count them (--unigrams FILE)"
            )

    def prepare(self, record: Record) -> Pair:
        good, bad = record.text(self.good), record.text(self.bad)
        return (good, self.encode(good)), (bad, self.encode(bad))

    def measure(self, prepared: Sequence[Pair]) -> Iterable[Result]:
        scores = self.reader.score_encoded([text for pair in prepared for text in pair])
        return [self.result(good, bad) for good, bad in zip(scores[::2], scores[1::2], strict=True)]

    def result(self, good: TextScore, bad: TextScore) -> Result:
        if self.metric == "token-aligned":
            a, b = aligned(good, bad)
        else:
            a, b = self.figure(good), self.figure(bad)
        return Result({"score_good": a, "score_bad": b, "difference": a - b, "correct": int(a > b)})

    def figure(self, score: TextScore) -> float:
        if self.metric == "sum":
            return score.logprob
        frequencies = 0.0
        if self.counted is not None:
            frequencies = log_frequencies(score.ids[-score.n_tokens :], self.counted, self.reader.encoder.n_vocab)
        return (score.logprob - frequencies) / score.n_tokens


def log_frequencies(ids: Sequence[int], counted: Counter[int], n_vocab: int) -> float:
    """The log-probability of tokens that come as often as they were counted, and one time more, whatever is before."""
    total = counted.total() + n_vocab
    return sum(math.log((counted[token] + 1) / total) for token in ids)


def aligned(a: TextScore, b: TextScore) -> tuple[float, float]:
    """The log-probability, in each of two texts, of the tokens that both have in the same order."""
    sums = [0.0, 0.0]
    for i, j, size in SequenceMatcher(None, a.ids, b.ids, autojunk=False).get_matching_blocks():
        for number, (score, start) in enumerate(((a, i), (b, j))):
            n_before = len(score.scores.logprob) - len(score.ids)  # −1 where the first token has no score
            sums[number] += float(score.scores.logprob[max(start + n_before, 0) : start + n_before + size].sum())
    return sums[0], sums[1]
