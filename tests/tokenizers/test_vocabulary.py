from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import (
    CharTokenizer,
    Tokenizer,
    WhitespaceTokenizer,
    WordTokenizer,
    load_tokenizer,
    stream_text,
    train_bpe,
)
from picogpt.tokenizers.vocabulary import FILE, VocabularyTokenizer
from tests.tokenizers.strategies import texts

KINDS = [CharTokenizer, WhitespaceTokenizer, WordTokenizer]
Kind = type[VocabularyTokenizer]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, derandomize=True)
@given(text=texts)
def test_round_trip(kind: Kind, text: str) -> None:
    """Characters come back exactly; words come back as the same words, with the spaces of a convention."""
    if not kind.split(text):
        return
    encoder = kind.from_text(text)
    ids = encoder.encode(text)
    decoded = encoder.decode(ids)
    assert encoder.encode(decoded) == ids
    assert decoded == text or kind is not CharTokenizer
    assert encoder.decode_bytes(ids) == decoded.encode()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 16), max_size=30))
def test_streamed_pieces_join_to_the_decoded_text(kind: Kind, ids: list[int]) -> None:
    """The space between two words belongs to one of them: it must come, and only once."""
    encoder = kind(["a", "b", "é", "😀", ".", ",", ":", ";", "?", "!", "_", '"', "'", "(", ")", "-", "<|endoftext|>"])
    assert "".join(stream_text(encoder, ids)) == encoder.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_are_lossless(kind: Kind, directory: Path) -> None:
    encoder = kind.from_text('caf\xe9 \u2028 😀 "quoted" \\ \x00', ["<|endoftext|>", "<|unk|>"])
    encoder.save(directory)
    loaded = load_tokenizer(directory)
    assert type(loaded) is kind
    assert loaded.vocab == encoder.vocab


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [-1, 3])
def test_decode_rejects_ids_outside_the_vocabulary(kind: Kind, wrong: int) -> None:
    with pytest.raises(PicoGPTError, match=rf"token id {wrong} \(number 1 of 2\) .* 0 to 2"):
        kind(["a", "b", "c"]).decode([wrong, 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "\ud800"])
def test_text_without_any_unit(kind: Kind, text: str) -> None:
    """A surrogate cannot be written to a file; U+FFFD, which stands for it everywhere, can."""
    if text:
        assert kind.from_text(text).vocab == ["\ufffd"]
        assert kind.from_text(text).encode("\udfff") == [0]
    else:
        with pytest.raises(PicoGPTError, match="no text to take a vocabulary from"):
            kind.from_text(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "char"', r"is not JSON"),
        ("[]", r'should have a "kind" that is one of: char, whitespace, word'),
        ('{"kind": "bpe", "vocab": ["a"]}', r'should have a "kind"'),
        ('{"kind": "char"}', r'should have a "vocab" that is a list of strings'),
        ('{"kind": "char", "vocab": ["a", 7]}', r'should have a "vocab" that is a list of strings'),
        ('{"kind": "char", "vocab": []}', r"the vocabulary is empty"),
        ('{"kind": "char", "vocab": ["a", "b", "a"]}', r"'a' is in the vocabulary twice, with the ids 0 and 2"),
        ('{"kind": "char", "vocab": ["a", "the"]}', r"'the' \(id 1\) is not a character"),
        ('{"kind": "word", "vocab": ["a", "\\ud800"]}', r"\(id 1\) is not a word"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(PicoGPTError, match=f"{FILE}.*{message}"):
        load_tokenizer(tmp_path)


def test_a_directory_with_two_vocabularies_is_an_error(tmp_path: Path) -> None:
    """Which of them belongs to the model cannot be known."""
    CharTokenizer.from_text("abc").save(tmp_path)
    train_bpe(["abc abc"], 260).save(tmp_path, layout="huggingface")
    with pytest.raises(PicoGPTError, match=r"two vocabularies, picogpt_tokenizer\.json and vocab\.json"):
        load_tokenizer(tmp_path)


def test_the_file_is_json_that_people_can_read(tmp_path: Path) -> None:
    CharTokenizer.from_text("é b").save(tmp_path)
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    assert json.loads(text) == {"kind": "char", "vocab": [" ", "b", "é"]}
    assert '\n"é"\n' in text


def test_all_keep_the_protocol() -> None:
    """For the type checker, too: each of them is a Tokenizer."""
    tokenizers: list[Tokenizer] = [CharTokenizer("ab"), WhitespaceTokenizer("ab"), WordTokenizer("ab")]
    assert [(encoder.n_vocab, encoder.eot_token) for encoder in tokenizers] == [(2, None)] * 3
