"""Prompt-lookup decoding: the text is that of plain decoding, whatever is guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt import pretrained
from picogpt.decoding import lookup, sampling
from picogpt.decoding.lookup import Budget, LookupRows, Predictor
from picogpt.decoding.loop import decode, generate, generate_batch
from picogpt.errors import PicoGPTError
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(11))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guess as often as there is anything to guess, whatever it costs."""
    monkeypatch.setattr(lookup, "MIN_RIGHT", 0)
    monkeypatch.setattr(Budget, "allows_a_check", lambda self, n_right: True)
    monkeypatch.setattr(Predictor, "n_right", property(lambda self: 5, lambda self, n: None), raising=False)


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=N_CTX),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 9)),
    st.integers(0, N_VOCAB - 1),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_ids_are_those_of_plain_decoding(prompt: list[int], slide: bool, rng: int | None, eot_token: int) -> None:
    """With prompts of few words that repeat, and a model that loops: many guesses, right and wrong ones."""
    options: Any = {"slide": slide, "rng": rng, "eot_token": eot_token, "n_top": 2}
    plain = generate_batch([prompt], PARAMS, N_HEAD, 3 * N_CTX, **options)
    ahead = generate_batch([prompt], PARAMS, N_HEAD, 3 * N_CTX, lookup=True, **options)
    assert ahead[0].ids == plain[0].ids
    assert ahead[0].finish_reason == plain[0].finish_reason
    for a, b in zip(ahead[0].tokens, plain[0].tokens, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-10)


@pytest.mark.parametrize("seed", [None, 0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
@pytest.mark.parametrize("transforms", [[], [sampling.temperature(0.6), sampling.top_k(20), sampling.top_p(0.9)]])
def test_the_committed_model_writes_the_same_text(seed: int | None, transforms: list[sampling.Transform]) -> None:
    """In float32, where a pass over several tokens rounds differently from passes over one."""
    model = pretrained.load("shakespeare")
    prompt = model.encoder.encode("ROMEO:\nI am not I, if there be such an I.\n\nROMEO:\nI am not")
    arguments: Any = (prompt, model.params, model.hparams["n_head"], 80)
    options: Any = {"rng": seed, "transforms": transforms}
    assert generate(*arguments, lookup=True, **options) == generate(*arguments, **options)


@pytest.mark.parametrize(("slide", "n_tokens"), [(False, N_CTX - 9), (True, 3 * N_CTX)])
def test_near_ties_are_decided_as_plain_decoding_decides_them(
    slide: bool, n_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits must then be bit for bit those of plain decoding, for which earlier tokens are read again.

    After a slide the cache is empty, and nothing in it is exact any more.
    """
    n_near = 0

    def sometimes_near(logits: Any, uniforms: Any) -> bool:
        nonlocal n_near
        n_near += 1
        return n_near % 3 == 0

    prompt, params = [2, 3, 5] * 3, random_params(np.random.default_rng(5), np.float32)
    exact = []
    exact_logits = LookupRows.exact_logits

    def kept(self: LookupRows) -> Any:
        exact.append((self.end, exact_logits(self)))
        return exact[-1][1]

    plain = generate(prompt, params, N_HEAD, n_tokens, slide=slide)
    monkeypatch.setattr("picogpt.decoding.loop.near_tie", sometimes_near)
    monkeypatch.setattr(LookupRows, "exact_logits", kept)
    assert generate(prompt, params, N_HEAD, n_tokens, slide=slide, lookup=True) == plain
    assert exact
    assert slide == (exact[-1][0] > N_CTX), "the last near tie is on the wrong side of the slide"

    rows = LookupRows([prompt], params, N_HEAD, n_tokens)
    monkeypatch.setattr(rows.predictor, "draft", lambda n: [])
    for token in plain:
        logits = rows.next_logits()
        for end, other in exact:
            if end == rows.end:
                np.testing.assert_array_equal(other, logits)
        rows.append(np.array([token]))


def test_near_tie_sees_what_rounding_could_change() -> None:
    logits = np.array([[1.0, 3.0, 3.0 + 1e-6]], np.float32)
    assert sampling.near_tie(logits, None)
    assert not sampling.near_tie(logits[:, :2], None)
    even = np.zeros((1, 2), np.float32) + 7
    assert sampling.near_tie(even, np.array([0.5 + 1e-6]))
    assert sampling.near_tie(even, np.array([0.5 - 1e-6]))
    assert not sampling.near_tie(even, np.array([0.4]))
    assert not sampling.near_tie(np.array([[3.0, -np.inf]], np.float32), np.array([0.0]))


def test_a_batch_is_refused() -> None:
    with pytest.raises(PicoGPTError, match="lookup decodes one row, not 2"):
        list(decode([[1], [2]], PARAMS, N_HEAD, 3, lookup=True))
    with pytest.raises(PicoGPTError, match="lookup decodes one row"):
        list(decode([[1]], PARAMS, N_HEAD, 3, lookup=True, n_samples=2))


class TestPolicy:
    """What is guessed, and when guesses are checked."""

    @pytest.fixture(autouse=True)
    def eager(self) -> None:
        """The policy as it is."""

    def test_guesses_follow_the_earlier_passage_and_go_round_at_the_end(self) -> None:
        predictor = Predictor([1, 2, 3, 4, 5, 6, 1, 2, 3])
        assert predictor.draft(9) == []  # nothing has come true yet
        for token in (4, 5, 6):
            predictor.add(token)
        assert predictor.draft(9) == [1, 2, 3]  # as many as have come true
        for token in (1, 2, 3, 4, 5):
            predictor.add(token)
        assert predictor.draft(99) == [6, 1, 2, 3, 4, 5, 6, 1]
        assert predictor.draft(2) == [6, 1]
        assert predictor.draft(0) == []
        predictor.add(9)
        assert predictor.draft(9) == []

    def test_nothing_repeats_nothing_is_guessed(self) -> None:
        assert Predictor(range(99)).draft(9) == []

    def test_wrong_guesses_cost_no_more_than_agreed(self) -> None:
        """By the clock: a pass over guesses here takes four plain ones, and no guess is ever right."""
        budget, seconds, n_tokens = Budget(), 0.0, 0
        for _ in range(2000):
            checked = budget.allows_a_check(3)
            pass_seconds = 0.04 if checked else 0.01
            budget.add(pass_seconds, 1, checked=checked)
            seconds, n_tokens = seconds + pass_seconds, n_tokens + 1
            assert seconds <= 1.05 * n_tokens * 0.01 + 1e-9
        assert seconds > n_tokens * 0.01  # and yet it tried

    def test_after_many_right_guesses_one_loss_is_on_credit(self) -> None:
        """A loop is soon in full swing, and a text that repeats a little loses little."""
        budget = Budget()
        budget.add(0.01, 1, checked=False)
        assert not budget.allows_a_check(lookup.SURE - 1)
        assert budget.allows_a_check(lookup.SURE)
        budget.add(0.04, 1, checked=True)
        assert not budget.allows_a_check(lookup.SURE)

    def test_right_guesses_pay_for_more(self) -> None:
        budget = Budget()
        for _ in range(70):
            budget.add(0.01, 1, checked=False)
        for _ in range(20):
            assert budget.allows_a_check(3)
            budget.add(0.04, 9, checked=True)
