"""Beam search against transformers' (golden ids and scores), and against trying everything."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picogpt import pretrained
from picogpt.decoding import sampling
from picogpt.decoding.beam import beam_search, stay_in_place
from picogpt.decoding.loop import generate
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "beam.json").read_text())
PARAMS = random_params(np.random.default_rng(11))


@pytest.mark.parametrize("golden", GOLDEN)
def test_equals_transformers(golden: dict[str, Any]) -> None:
    model = pretrained.load("shakespeare")
    options: dict[str, Any] = {name: golden[name] for name in ("length_penalty", "early_stopping") if name in golden}
    if "no_repeat_ngram_size" in golden:
        options["transforms"] = [sampling.no_repeat_ngram(golden["no_repeat_ngram_size"])]
    eot_token = golden["eos_token_id"]
    beams = beam_search(
        golden["prompt_ids"],
        model.params,
        model.hparams["n_head"],
        golden["max_new_tokens"],
        golden["num_beams"],
        eot_token=eot_token,
        n_best=golden["num_beams"],
        **options,
    )
    assert [beam.score for beam in beams] == pytest.approx(golden["scores"], abs=1e-5)
    for beam, sequence in zip(beams, golden["sequences"], strict=True):
        expected = sequence[len(golden["prompt_ids"]) :]
        assert beam.ids == expected[: len(beam.ids)]
        rest = expected[len(beam.ids) :]
        if beam.finish_reason == "eos":
            assert rest.pop(0) in (eot_token if isinstance(eot_token, list) else [eot_token])
        assert len(set(rest)) <= 1  # transformers fills rows up with one token


def test_one_beam_is_greedy() -> None:
    (beam,) = beam_search([5, 7, 11], PARAMS, N_HEAD, 13, 1)
    assert beam.ids == generate([5, 7, 11], PARAMS, N_HEAD, 13)
    assert beam.finish_reason == "length"


def test_enough_beams_find_the_best_of_all_continuations() -> None:
    prompt, n_vocab = [2, 3], 5
    params = PARAMS | {"wte": PARAMS["wte"][:n_vocab]}
    every = {}
    for ids in itertools.product(range(n_vocab), repeat=3):
        log_probs = sampling.log_softmax(gpt2([*prompt, *ids], **params, n_head=N_HEAD))
        every[ids] = sum(log_probs[len(prompt) - 1 + i, token] for i, token in enumerate(ids)) / 3
    best = sorted(every, key=lambda ids: -every[ids])
    beams = beam_search(prompt, params, N_HEAD, 3, n_vocab**3, n_best=n_vocab**3)
    assert [tuple(beam.ids) for beam in beams] == best
    assert [beam.score for beam in beams] == pytest.approx([every[ids] for ids in best], abs=1e-12)


def test_scores_are_those_of_the_whole_text_read_at_once() -> None:
    """Beams change places in the cache at every step; one that kept another's past would score wrongly."""
    prompt = [5, 7, 11, 2]
    for beam in beam_search(prompt, PARAMS, N_HEAD, 17, 7, length_penalty=0.0, n_best=7):
        log_probs = sampling.log_softmax(gpt2(prompt + beam.ids, **PARAMS, n_head=N_HEAD))
        total = sum(log_probs[len(prompt) - 1 + i, token] for i, token in enumerate(beam.ids))
        assert beam.score == pytest.approx(total, abs=1e-10)


def test_beams_end_at_the_context() -> None:
    beams = beam_search([3] * (N_CTX - 4), PARAMS, N_HEAD, 99, 2, n_best=2)
    assert [(len(beam.ids), beam.finish_reason) for beam in beams] == [(4, "length")] * 2
    assert beam_search([3] * N_CTX, PARAMS, N_HEAD, 9, 2)[0].ids == []


def test_as_many_beams_as_can_be_stay_in_their_parents_row() -> None:
    parents = np.array([4, 1, 1, 0, 9])
    order = stay_in_place(parents)
    assert sorted(order.tolist()) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(parents[order] == np.arange(5), [True, True, False, False, True])


@pytest.mark.parametrize(("n_beams", "n_best"), [(3, 4), (3, 0)])
def test_beams_that_make_no_sense_are_refused(n_beams: int, n_best: int) -> None:
    with pytest.raises(PicoGPTError, match="cannot be the best"):
        beam_search([1], PARAMS, N_HEAD, 3, n_beams, n_best=n_best)


def test_no_token_left_is_an_error_and_so_are_weights_that_are_not_finite() -> None:
    with pytest.raises(PicoGPTError, match="no token is left to choose from"):
        beam_search([1], PARAMS, N_HEAD, 3, 2, transforms=[sampling.banned_tokens(range(N_VOCAB))])
    broken = copy.deepcopy(PARAMS)
    broken["blocks"][1]["mlp"]["c_proj"]["b"][3] = np.nan
    with pytest.raises(PicoGPTError, match=r"blocks\.1\.mlp\.c_proj\.b has numbers that are not finite"):
        beam_search([1], broken, N_HEAD, 3, 2)


def test_what_some_beams_have_finished_is_given_when_no_token_is_left() -> None:
    """The end token is possible after the first one, and nothing after that."""
    eot_token = 7
    only = [sampling.banned_tokens(set(range(N_VOCAB)) - {eot_token})]
    (beam,) = beam_search([1], PARAMS, N_HEAD, 3, 2, transforms=only, eot_token=eot_token)
    assert beam.ids == []
    assert beam.finish_reason == "eos"
