"""Minimal pairs: the four metrics, each worked out from tokens' log-probabilities."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from typing import Any

import pytest

from picogpt import pretrained
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError
from picogpt.scoring import score_text
from picogpt.scoring.pairs import PairsJob

MODEL = pretrained.load("shakespeare")
GOOD, BAD = "The king is dead.", "The king are all dead."


def score(**options: Any) -> dict[str, Any]:
    job = PairsJob(lambda: MODEL, **options)
    (result,) = job([Record("x", 1, {"sentence_good": GOOD, "sentence_bad": BAD})])
    assert result.bad is None
    return result.summary


@pytest.mark.parametrize("bos", [True, False])
def test_metrics(bos: bool) -> None:
    good, bad = score_text(MODEL, [GOOD, BAD], bos=bos)
    found = score(bos=bos)
    assert (found["score_good"], found["score_bad"]) == pytest.approx((good.logprob, bad.logprob), abs=1e-4)
    assert found["difference"] == found["score_good"] - found["score_bad"]
    assert found["correct"] == 1
    mean = score(bos=bos, metric="mean")
    assert mean["score_bad"] == pytest.approx(bad.logprob / bad.n_tokens, abs=1e-4)
    counted = Counter(MODEL.encoder.encode("The king is dead. The king!"))
    slor = score(bos=bos, metric="slor", counted=counted)
    total = counted.total() + MODEL.encoder.n_vocab
    unigrams = sum(math.log((counted[i] + 1) / total) for i in good.ids[-good.n_tokens :])
    assert slor["score_good"] == pytest.approx((good.logprob - unigrams) / good.n_tokens, abs=1e-4)


def test_aligned_tokens_are_those_that_both_share() -> None:
    good, bad = score_text(MODEL, [GOOD, BAD], bos=False)
    found = score(bos=False, metric="token-aligned")
    shared = {"The", " king", " dead", "."}
    for name, text in (("score_good", good), ("score_bad", bad)):
        logprobs = [row["logprob"] for row in text.tokens[1:] if row["token"] in shared]
        assert len(logprobs) == 3
        assert found[name] == pytest.approx(sum(logprobs), abs=1e-4)


def test_a_tie_is_not_correct() -> None:
    job = PairsJob(lambda: MODEL)
    (result,) = job([Record("x", 1, {"sentence_good": GOOD, "sentence_bad": GOOD})])
    assert result.summary == {
        "score_good": result.summary["score_good"],
        "score_bad": result.summary["score_good"],
        "difference": 0.0,
        "correct": 0,
    }


def test_slor_without_frequencies_is_refused() -> None:
    with pytest.raises(PicoGPTError, match="--unigrams"):
        PairsJob(lambda: MODEL, metric="slor")


def load() -> pretrained.GPT2:
    return MODEL


def test_a_job_is_sent_without_its_model() -> None:
    job = PairsJob(load).with_model(MODEL)
    data = pickle.dumps(job)
    assert len(data) < 1000
    records = [Record("x", 1, {"sentence_good": GOOD, "sentence_bad": BAD})]
    assert pickle.loads(data)(records) == job(records)
