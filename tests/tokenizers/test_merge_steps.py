"""The merges that are shown end where the tokenizer ends."""

from __future__ import annotations

import pytest
from hypothesis import given

from picogpt.tokenizers import ByteLevelBPE
from picogpt.tokenizers.bpe import words
from picogpt.tokenizers.merge_steps import Merges
from tests.tokenizers.strategies import texts

GPT2 = ByteLevelBPE.gpt2()
MERGES = Merges(GPT2)


@given(texts)
def test_the_last_step_is_the_encoding(text: str) -> None:
    for chunk in words(text[:30]):
        for word in chunk:
            steps = list(MERGES.steps(word))
            assert steps[-1].pieces == [GPT2.tokens[i] for i in GPT2.encode(word, disallowed_special=())]
            assert all(b"".join(step.pieces) == word.encode() for step in steps)


def test_the_pair_that_was_learned_first_is_merged_first_and_everywhere() -> None:
    steps = list(MERGES.steps("banana"))
    assert steps[0] == ([b"b", b"a", b"n", b"a", b"n", b"a"], None, None)
    assert steps[1].pieces == [b"b", b"an", b"an", b"a"]
    assert steps[1].merged == b"an"
    assert GPT2.merges[steps[1].rank or 0] == (GPT2.encode("a")[0], GPT2.encode("n")[0])


def test_neighbours_that_are_the_same_are_merged_from_the_front() -> None:
    encoder = ByteLevelBPE([*(bytes([b]) for b in range(256)), b"aa"], [(97, 97)], {})
    assert list(Merges(encoder).steps("aaaaa"))[-1].pieces == [b"aa", b"aa", b"a"]


@pytest.mark.parametrize("text", ["My kingdom for a horse!", "naïve cafés 😀 😀", "a  b\n\n\nc"])
def test_the_word_of_a_token(text: str) -> None:
    ids = GPT2.encode(text)
    found = [MERGES.word_at(ids, position) for position in range(len(ids))]
    expected = [word for chunk in words(text) for word in chunk for _ in GPT2.encode(word)]
    assert found == expected


def test_special_tokens_have_no_word_and_end_those_beside_them() -> None:
    ids = GPT2.encode("one<|endoftext|> two", allowed_special="all")
    assert [MERGES.word_at(ids, position) for position in range(3)] == ["one", None, " two"]
