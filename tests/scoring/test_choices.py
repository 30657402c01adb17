"""Choices of questions: what they are, which is right, and lm-evaluation-harness's three accuracies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from picogpt import pretrained
from picogpt.corpus.records import Record
from picogpt.errors import PicoGPTError
from picogpt.scoring import token_logprobs
from picogpt.scoring.choices import ChoicesJob, find_answer, read_choices

MODEL = pretrained.load("shakespeare")


def job(**options: Any) -> ChoicesJob:
    return ChoicesJob(lambda: MODEL, **options)


def test_accuracies_go_by_sum_characters_and_bytes() -> None:
    """Worked out from the tokens' log-probabilities, on choices of which each accuracy prefers another."""
    context, choices = "My lord, I", ["am", "cannot tell you what it is", "hää"]
    (result,) = job(answer="label")([Record("x", 1, {"text": context, "choices": choices, "label": 1})])
    encoder, hparams, params = MODEL
    assert encoder.eot_token is not None
    expected = []
    for choice in choices:
        ids = encoder.encode(f"{context} {choice}")
        n_context = len(encoder.encode(context))
        expected.append(float(token_logprobs([encoder.eot_token, *ids], params, hparams["n_head"])[n_context:].sum()))
    assert [part["logprob"] for part in result.parts] == pytest.approx(expected, abs=1e-4)
    lengths: dict[str, list[int]] = {"": [1, 1, 1], "_norm": [2, 26, 3], "_bytes": [2, 26, 5]}
    for name, lengths_of in lengths.items():
        scores = [total / n for total, n in zip(expected, lengths_of, strict=True)]
        best = max(range(3), key=scores.__getitem__)
        assert result.summary[f"best{name}"] == choices[best]
        assert result.summary[f"acc{name}"] == int(best == 1)
        ranks = [part[f"rank{name}"] for part in result.parts]
        assert ranks == [1 + sum(other > score for other in scores) for score in scores]
    assert result.summary["best"] != result.summary["best_norm"]


def test_lists_cells_and_arcs_layout() -> None:
    values: list[Any] = [["a", "b"], '["a", "b"]', "a | b"]
    for value in values:
        assert read_choices(value, "c") == (["a", "b"], [])
    arc = {"text": ["a", "b"], "label": ["A", "B"]}
    assert read_choices(arc, "c") == read_choices(json.dumps(arc), "c") == (["a", "b"], ["A", "B"])
    values = [None, [], "", "a||b", [1], '["a"', {"label": ["A"]}, {"text": ["a"], "label": "A"}]
    for value in values:
        with pytest.raises(PicoGPTError, match="choices"):
            read_choices(value, "c")


def test_the_right_choice_is_a_number_a_label_a_text_or_a_letter() -> None:
    """A number that is a number counts from 0, even where the choices are figures; as text it may be one of them."""
    assert find_answer(1, ["1", "0"], []) == 1
    assert find_answer("1", ["1", "0"], []) == 0
    assert find_answer("1", ["a", "b"], ["1", "2"]) == 0
    assert (
        find_answer("B ", ["a", "b"], []) == find_answer("b", ["a", "b"], []) == find_answer("1", ["a", "b"], []) == 1
    )
    for value in (2, -1, "c", None, True, 1.0):
        with pytest.raises(PicoGPTError, match="none of the 2 choices"):
            find_answer(value, ["a", "b"], [])


def test_a_question_that_does_not_fit_is_a_bad_row_and_the_others_are_scored() -> None:
    records = [Record("x", i, {"text": text, "choices": "b|c"}) for i, text in enumerate(("a " * 300, "a"), 1)]
    long, short = job()(records)
    assert long.bad is not None
    assert "context of 256" in long.bad
    assert short.bad is None
    assert "acc" not in short.summary
