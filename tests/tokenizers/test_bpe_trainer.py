from __future__ import annotations

import random
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import train_bpe
from tests.tokenizers.conftest import GPT2_PATTERN
from tests.tokenizers.strategies import texts


def assert_equals_huggingface(corpus: list[str], n_vocab: int, directory: Path) -> None:
    oracle = tokenizers.ByteLevelBPETokenizer()
    oracle.train_from_iterator(corpus, vocab_size=n_vocab, show_progress=False)
    oracle.save_model(str(directory))
    encoder = train_bpe(corpus, n_vocab)
    encoder.save(directory, layout="openai")
    assert (directory / "vocab.bpe").read_bytes() == (directory / "merges.txt").read_bytes()
    assert encoder.n_vocab == oracle.get_vocab_size()


@settings(deadline=None, derandomize=True)
@given(corpus=st.lists(st.text("aab ", max_size=60) | texts, min_size=1, max_size=5), n_merges=st.integers(0, 40))
def test_merges_equal_huggingface(tmp_path_factory: pytest.TempPathFactory, corpus: list[str], n_merges: int) -> None:
    """Ties, overlapping pairs (aaa) and words that run out of pairs."""
    if any(corpus):
        assert_equals_huggingface(corpus, 256 + n_merges, tmp_path_factory.mktemp("vocabulary"))


@pytest.mark.slow
def test_merges_on_tiny_shakespeare_equal_huggingface(shakespeare: str, tmp_path: Path) -> None:
    assert_equals_huggingface([shakespeare], 1024, tmp_path)


def test_the_vocabulary_loads_in_the_other_libraries(directory: Path) -> None:
    """encoder.json and vocab.bpe, as written, in tiktoken and in Hugging Face tokenizers."""
    corpus = "She sells sea shells by the sea shore; the shells she sells are sea shells. déjà vu, déjà vu 😀😀"
    encoder = train_bpe([corpus], 300, ["<|endoftext|>"])
    encoder.save(directory)
    vocab, merges = str(directory / "encoder.json"), str(directory / "vocab.bpe")
    ranks = data_gym_to_mergeable_bpe_ranks(merges, vocab)
    in_tiktoken = tiktoken.Encoding(
        "ours", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=encoder.special_tokens
    )
    in_huggingface = tokenizers.ByteLevelBPETokenizer(vocab, merges)
    text = "The sea shells' shore: déjà vu, 😀!"
    assert encoder.encode(text) == in_tiktoken.encode(text) == in_huggingface.encode(text).ids
    assert in_tiktoken.n_vocab == encoder.n_vocab


def test_of_equally_frequent_pairs_the_smaller_ids_come_first() -> None:
    """Hugging Face's rule; minbpe would take zy, which it meets first."""
    assert train_bpe(["zyx zyx"], 257).tokens[256] == b"yx"


def test_a_pair_that_occurs_once_is_not_learned() -> None:
    assert train_bpe(["ab ab cd"], 300).tokens[256:] == [b"ab"]


def test_special_tokens_in_the_text_are_not_learned_from() -> None:
    encoder = train_bpe(["<|endoftext|>".join(["ab"] * 9)], 300, ["<|endoftext|>"])
    assert encoder.tokens[256:] == [b"ab", b"<|endoftext|>"]


def test_texts_may_come_one_by_one() -> None:
    """A corpus larger than memory is a generator of texts; words do not reach from one into the next."""
    corpus = ["the cat ", "the mat", "the rat", " the hat"]
    assert train_bpe(iter(corpus), 270).tokens == train_bpe(corpus, 270).tokens
    assert b"matthe" not in train_bpe(["mat", "the"] * 9, 300).tokens


def test_one_text_need_not_be_in_a_list() -> None:
    """A str is an iterable of its characters, from which nothing could be learned."""
    assert train_bpe("abab", 300).tokens == train_bpe(["abab"], 300).tokens != train_bpe([*"abab"], 300).tokens


def test_a_long_word_is_learned_from_in_linear_time() -> None:
    """Text without spaces, such as a genome: a merge must not count the whole word anew, once for each occurrence."""
    genome = "".join(random.Random(7).choices("ACGT", k=100_003))
    assert train_bpe(genome, 300).n_vocab == 300


def test_surrogates_are_learned_as_they_are_encoded() -> None:
    encoder = train_bpe(["\udc80\udc80"], 258)
    assert encoder.tokens[-1] == "\ufffd".encode()
    assert len(encoder.encode("\ufffd\udcff")) == 2


@pytest.mark.parametrize("corpus", [[], [""], ["", ""], ["<|endoftext|>"]])
def test_an_empty_corpus_is_an_error(corpus: list[str]) -> None:
    with pytest.raises(PicoGPTError, match="no text to learn from"):
        train_bpe(corpus, 300, ["<|endoftext|>"])


def test_a_vocabulary_must_hold_the_bytes_and_the_special_tokens() -> None:
    assert train_bpe(["aa aa"], 257, ["<|endoftext|>"]).tokens[256] == b"<|endoftext|>"
    for n_vocab in 256, 0x110001:
        with pytest.raises(PicoGPTError, match=f"n_vocab must be at least 257, .* at most 1114112; it is {n_vocab}"):
            train_bpe(["aa aa"], n_vocab, ["<|endoftext|>"])


@pytest.mark.parametrize("special", [["the"], [""], ["<x>", "<x>"]])
def test_special_tokens_must_look_special(special: list[str]) -> None:
    """A file without brackets around them could not say which tokens are special."""
    with pytest.raises(PicoGPTError, match="write each one once, and like <this>"):
        train_bpe(["aa aa"], 300, special)
