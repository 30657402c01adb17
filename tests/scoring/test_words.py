"""Words and their surprisals, with and without the correction for where words begin."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt import pretrained
from picogpt.decoding.sampling import log_softmax
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from picogpt.scoring.tokens import score_tokens
from picogpt.scoring.words import beginnings, split_words, word_surprisals
from picogpt.tokenizers import ByteLevelBPE, SpecialTokens
from picogpt.tokenizers.base import Layout
from tests.random_model import HPARAMS, N_HEAD, random_params

SHAKESPEARE = pretrained.load("shakespeare")


class FourTokens:
    """A tokenizer as `picogpt.scoring.words` needs it."""

    n_vocab, unused = 4, range(4, 4)
    eot_token: int | None = None
    begin_token: int | None = None
    bos_token: int | None = None
    eos_tokens: tuple[int, ...] = ()
    special_tokens: Mapping[str, int] = {}
    tokens = (b" a", b" b", b"a", b"b")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self.tokens[i] for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode()

    def encode(
        self, text: str, allowed_special: SpecialTokens = (), disallowed_special: SpecialTokens = "all"
    ) -> list[int]:
        raise NotImplementedError

    def save(self, directory: str | Path, layout: Layout = "openai") -> None:
        raise NotImplementedError


@given(st.text("ab. \n\té☃", max_size=30))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_words_are_those_between_whitespace(text: str) -> None:
    encoder = SHAKESPEARE.encoder
    ids = encoder.encode(text)
    words = split_words(encoder, ids)
    assert [word.text for word in words] == text.split()
    ends = [0, *(word.end for word in words)]
    assert [word.first for word in words] == ends[:-1]  # every token belongs to one word; but for those at the end
    assert not encoder.decode(ids[ends[-1] :]).strip()


def test_surprisals_of_words_are_sums_over_their_tokens() -> None:
    encoder, params, n_head = SHAKESPEARE.encoder, SHAKESPEARE.params, SHAKESPEARE.hparams["n_head"]
    ids = encoder.encode("Friends, Romans,\n countrymen ")
    assert encoder.eot_token is not None
    (after_eot, without) = score_tokens([[encoder.eot_token, *ids], ids], params, n_head)
    results = word_surprisals(encoder, ids, after_eot)
    assert [word.text for word, _ in results] == ["Friends,", "Romans,", "countrymen"]
    last = results[-1][0].end
    assert sum(surprisal for _, surprisal in results) == pytest.approx(-after_eot.logprob[:last].sum())
    first, *others = word_surprisals(encoder, ids, without)
    assert np.isnan(first[1])  # a part of it has no score
    assert others[0][1] == pytest.approx(-without.logprob[others[0][0].first - 1 : others[0][0].end - 1].sum())


def test_corrected_surprisals_are_the_probabilities_of_words() -> None:
    """In a language of four tokens the probability of a word can be counted: of all the ways in which a text continues
    for as long as the word lasts and ends, those that share the word are p(word)."""
    encoder = FourTokens()
    params = random_params(np.random.default_rng(2), hparams=HPARAMS | {"n_vocab": 4})
    text = [0, 3, 1, 2, 3, 0]  # " ab bab a"
    sets = beginnings(encoder, 4).astype(float)
    (scores,) = score_tokens([text], params, N_HEAD, sets=sets)
    (_, second, _) = word_surprisals(encoder, text, scores, corrected=True)
    assert second[0].text == "bab"

    def probability(context: list[int], ids: list[int]) -> float:
        log_probs = log_softmax(gpt2(context + ids, **params, n_head=N_HEAD))
        return float(np.exp(sum(log_probs[len(context) - 1 + i, token] for i, token in enumerate(ids))))

    context = text[:2]
    word_and_end = sum(probability(context, [1, 2, 3, end]) for end in (0, 1))
    any_word = sum(probability(context, list(ids)) for ids in itertools.product((0, 1), range(4), range(4), range(4)))
    assert second[1] == pytest.approx(-np.log(word_and_end / any_word), abs=1e-9)


def test_corrections_move_surprisal_between_words_and_add_none() -> None:
    encoder, params, n_head = SHAKESPEARE.encoder, SHAKESPEARE.params, SHAKESPEARE.hparams["n_head"]
    assert encoder.eot_token is not None
    ids = encoder.encode("The king is dead, long live the king!\n")
    sets = beginnings(encoder, SHAKESPEARE.hparams["n_vocab"])
    (scores,) = score_tokens([[encoder.eot_token, *ids]], params, n_head, sets=sets)
    plain = word_surprisals(encoder, ids, scores)
    corrected = word_surprisals(encoder, ids, scores, corrected=True)
    n = plain[-1][0].end
    moved = sum(b - a for (_, a), (_, b) in zip(plain, corrected, strict=True))
    assert moved == pytest.approx(float(scores.log_mass[0, 1] - scores.log_mass[n, 0]), abs=1e-9)
    assert any(abs(b - a) > 0.01 for (_, a), (_, b) in zip(plain, corrected, strict=True))


def test_the_sets_of_beginnings() -> None:
    encoder = ByteLevelBPE.gpt2()
    sets = beginnings(encoder, encoder.n_vocab + 3)
    assert sets.shape == (encoder.n_vocab + 3, 2)
    for text, expected in ((" king", [1, 0]), ("king", [0, 1]), ("\n", [1, 0]), ("!", [0, 1])):
        (token,) = encoder.encode(text)
        assert sets[token].tolist() == expected
    assert sets[encoder.eot_token].tolist() == [1, 1]
    assert not sets[encoder.n_vocab :].any()


def test_without_whitespace_in_tokens_there_is_no_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FourTokens, "tokens", (b"c", b"d", b"a", b"b"))
    with pytest.raises(PicoGPTError, match="needs a vocabulary with whitespace"):
        beginnings(FourTokens(), 4)
