"""Log-probabilities against transformers' (golden arrays), and against the whole matrix of logits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt import pretrained
from picogpt.checkpoints import flatten, nest
from picogpt.decoding.sampling import log_softmax
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from picogpt.scoring import tokens
from picogpt.scoring.tokens import (
    choice_logprobs,
    huggingface_perplexity,
    perplexity,
    score_tokens,
    scoring_steps,
    token_logprobs,
    windows,
)
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "scoring.json").read_text())
PARAMS = random_params(np.random.default_rng(7))
TEXTS = [list(np.random.default_rng(n).integers(0, N_VOCAB, n)) for n in (1, 2, 5, 13, 23, N_CTX, 2 * N_CTX + 3)]


def whole_matrix(ids: list[int]) -> Any:  # [n_seq] -> [n_seq, n_vocab]
    return log_softmax(gpt2(ids, **PARAMS, n_head=N_HEAD))


@pytest.mark.parametrize("i", range(len(GOLDEN["texts"])))
def test_log_probabilities_equal_transformers(i: int) -> None:
    model = pretrained.load("shakespeare")
    ids, eot_token = model.encoder.encode(GOLDEN["texts"][i]), model.encoder.eot_token
    assert ids == GOLDEN["ids"][i]
    assert eot_token is not None
    without = token_logprobs(ids, model.params, model.hparams["n_head"])
    after_eot = token_logprobs([eot_token, *ids], model.params, model.hparams["n_head"])
    np.testing.assert_allclose(without, GOLDEN["logprobs"][i], rtol=0, atol=1e-4)
    np.testing.assert_allclose(after_eot, GOLDEN["logprobs_bos"][i], rtol=0, atol=1e-4)


@pytest.mark.parametrize("golden", GOLDEN["windows"][-2:], ids=lambda golden: f"stride {golden['stride']}")
def test_perplexities_of_long_texts_equal_transformers(golden: dict[str, Any]) -> None:
    model = pretrained.load("shakespeare")
    arguments: Any = (GOLDEN["window_ids"], model.params, model.hparams["n_head"], golden["stride"])
    logprobs = token_logprobs(*arguments)
    assert len(logprobs) == golden["exact_tokens"]
    assert -logprobs.sum() == pytest.approx(golden["exact_nll"], rel=1e-6)
    assert perplexity(logprobs) == pytest.approx(golden["exact_ppl"], rel=1e-6)
    assert huggingface_perplexity(*arguments) == pytest.approx(golden["hf_doc_ppl"], rel=1e-6)


def test_ranks_and_entropies() -> None:
    ids = TEXTS[4]
    (scores,) = score_tokens([ids], PARAMS, N_HEAD)
    log_probs = whole_matrix(ids)[:-1]
    np.testing.assert_allclose(scores.logprob, log_probs[np.arange(len(ids) - 1), ids[1:]], atol=1e-12)
    np.testing.assert_array_equal(
        scores.rank, [np.sum(row > row[i]) + 1 for row, i in zip(log_probs, ids[1:], strict=True)]
    )
    np.testing.assert_allclose(scores.entropy, -(np.exp(log_probs) * log_probs).sum(axis=-1), atol=1e-12)
    assert scores.log_mass.shape == (len(ids), 0)


def test_the_probability_of_sets_is_asked_after_the_last_token_too() -> None:
    sets = (np.random.default_rng(1).random((N_VOCAB, 3)) < 0.3).astype(float)
    sets[:, 2] = 1
    for ids, scores in zip(TEXTS[:6], score_tokens(TEXTS[:6], PARAMS, N_HEAD, sets=sets), strict=True):
        np.testing.assert_allclose(scores.log_mass, np.log(np.exp(whole_matrix(ids)) @ sets), atol=1e-12)
    np.testing.assert_allclose(scores.log_mass[:, 2], 0, atol=1e-12)  # probabilities sum to one


def test_blocks_of_the_vocabulary_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = np.eye(N_VOCAB)[:, :2]
    together = score_tokens(TEXTS, PARAMS, N_HEAD, sets=sets)
    monkeypatch.setattr(tokens, "VOCABULARY_BLOCK", 3)
    monkeypatch.setattr(tokens, "BATCH_TOKENS", 2 * N_CTX)
    for text, scores in zip(TEXTS, together, strict=True):
        (alone,) = score_tokens([text], PARAMS, N_HEAD, sets=sets)
        for a, b in zip(alone, scores, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
            assert not np.isnan(b).any()


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_steps_give_the_same(chunk: int) -> None:
    rng = np.random.default_rng(4)
    params, sets = random_params(rng), rng.integers(2, size=(N_VOCAB, 3)).astype(float)
    for n_seq, stride in ((1, None), (2, None), (N_CTX, None), (N_CTX + 1, None), (3 * N_CTX, 5), (70, N_CTX)):
        ids = rng.integers(N_VOCAB, size=n_seq).tolist()
        (expected,) = score_tokens([ids], params, N_HEAD, stride=stride, sets=sets)
        steps = scoring_steps(ids, params, N_HEAD, stride=stride, sets=sets, chunk=chunk)
        n_steps = 0
        while True:
            try:
                next(steps)
                n_steps += 1
            except StopIteration as end:
                found = end.value
                break
        assert n_steps >= n_seq / chunk
        for name in expected._fields:
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-12)


def test_float32_batches_change_nothing_within_1e_5() -> None:
    params = random_params(np.random.default_rng(7), np.float32)
    for text, scores in zip(TEXTS, score_tokens(TEXTS, params, N_HEAD), strict=True):
        np.testing.assert_allclose(scores.logprob, token_logprobs(text, params, N_HEAD), atol=1e-5)


@given(st.integers(1, 200), st.integers(2, 40), st.data())
@settings(deadline=None, derandomize=True, max_examples=200)
def test_windows_score_every_token_once_with_the_context_that_the_stride_allows(
    n_seq: int, n_ctx: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, n_ctx))
    plan = windows(n_seq, n_ctx, stride)
    assert [i for window in plan for i in range(window.first, window.end)] == list(range(1, n_seq))
    for window in plan:
        assert window.end - window.begin <= n_ctx
        for i in range(window.first, window.end):
            assert i - window.begin >= min(i, max(n_ctx - stride, 1))


def test_stride_one_is_the_chain_rule() -> None:
    """The sum of surprisals is then −log P of the text, each token given all the context that there can be."""
    text = TEXTS[-1]
    total = sum(whole_matrix(text[max(i - N_CTX + 1, 0) : i])[-1, text[i]] for i in range(1, len(text)))
    assert token_logprobs(text, PARAMS, N_HEAD, stride=1).sum() == pytest.approx(total, abs=1e-9)


def test_huggingface_perplexity_is_the_formula_for_any_stride() -> None:
    text = TEXTS[-1]
    for stride in (1, 7, N_CTX - 1, N_CTX):
        loss, weight, n_done = 0.0, 0, 0
        for begin in range(0, len(text), stride):
            end = min(begin + N_CTX, len(text))
            n_new = end - n_done
            logits = whole_matrix(text[begin:end])
            logprobs = logits[np.arange(end - begin - 1), text[begin + 1 : end]][-n_new:]
            if n_new > 1:
                loss -= logprobs.mean() * (n_new - 1)
                weight += n_new - 1
            n_done = end
            if end == len(text):
                break
        assert huggingface_perplexity(text, PARAMS, N_HEAD, stride) == pytest.approx(math.exp(loss / weight), rel=1e-12)


def test_choices_are_scored_as_the_whole_text_would_be() -> None:
    prefix, choices = TEXTS[3], [TEXTS[1], TEXTS[0], TEXTS[2]]
    for choice, logprobs in zip(choices, choice_logprobs(prefix, choices, PARAMS, N_HEAD), strict=True):
        expected = token_logprobs(prefix + choice, PARAMS, N_HEAD)[len(prefix) - 1 :]
        np.testing.assert_allclose(logprobs, expected, atol=1e-12)


def test_perplexity() -> None:
    assert perplexity(np.log([0.5, 0.125])) == pytest.approx(4)
    assert math.isnan(perplexity(np.array([])))


@pytest.mark.parametrize("stride", [0, -1, N_CTX + 1])
def test_strides_that_cannot_be(stride: int) -> None:
    for function in (token_logprobs, huggingface_perplexity):
        with pytest.raises(PicoGPTError, match=f"the stride must be from 1 to the model's context of {N_CTX}"):
            function(TEXTS[0], PARAMS, N_HEAD, stride)


def test_nothing_to_score() -> None:
    with pytest.raises(PicoGPTError, match="nothing to score"):
        score_tokens([[1, 2], []], PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match="at least one token"):
        choice_logprobs([1], [[1], []], PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match=f"more than the model's context of {N_CTX}"):
        choice_logprobs([1] * N_CTX, [[1]], PARAMS, N_HEAD)
    with pytest.raises(PicoGPTError, match="outside the vocabulary"):
        token_logprobs([1, N_VOCAB], PARAMS, N_HEAD)
    assert token_logprobs([1], PARAMS, N_HEAD).shape == (0,)


@pytest.mark.parametrize("path", ["wte", "wpe", "blocks.1.mlp.c_proj.w", "ln_f.b"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of infinities
def test_weights_that_are_not_finite_are_named(path: str, wrong: float) -> None:
    """They gave scores that are not numbers, with success."""
    flat = {name: array.copy() for name, array in flatten(PARAMS).items()}
    flat[path].flat[0] = wrong
    for score in (
        lambda params: score_tokens(TEXTS, params, N_HEAD),
        lambda params: token_logprobs(TEXTS[-1], params, N_HEAD),
        lambda params: huggingface_perplexity(TEXTS[-1], params, N_HEAD),
        lambda params: choice_logprobs([1, 2], [[0], [4, 0]], params, N_HEAD),
    ):
        with pytest.raises(PicoGPTError, match=f"the model is damaged: {path} has numbers that are not finite"):
            score(nest(flat))


def test_a_perplexity_beyond_floats_is_infinite() -> None:
    assert perplexity(np.array([-1000.0])) == math.inf
