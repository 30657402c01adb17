from __future__ import annotations

import json
import re
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
from picogpt.tokenizers.base import Layout
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


@pytest.mark.parametrize("layout", ["openai", "huggingface"])
@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_are_lossless(kind: Kind, layout: Layout, directory: Path) -> None:
    """In the same file, whichever layout is asked for."""
    encoder = kind.from_text('caf\xe9 \u2028 😀 "quoted" \\ \x00', ["<|endoftext|>", "<|unk|>"])
    encoder.save(directory, layout)
    assert [path.name for path in directory.iterdir()] == [FILE]
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
    ("encoder", "special"),
    [
        (CharTokenizer.from_text("a <|endoftext|>", ["<|endoftext|>"]), "<|endoftext|>"),
        (WhitespaceTokenizer(["a", "<of", "b>", "<of b>"]), "<of b>"),
        (WordTokenizer.from_text("a <|im_start|>", ["<|im_start|>"]), "<|im_start|>"),
        (train_bpe(["a b"], 257, ["<|endoftext|>"]), "<|endoftext|>"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_special_token_means_the_same_everywhere(encoder: Tokenizer, special: str) -> None:
    """A token that is no unit was a token that no text could have."""
    ordinary = encoder.encode("a")
    assert encoder.special_tokens == {special: encoder.n_vocab - 1}
    with pytest.raises(PicoGPTError, match=rf"{re.escape(special)} at character 2; allow it \(allowed_special\)"):
        encoder.encode(f"a{special}a")
    for allowed in "all", {special}:
        ids = encoder.encode(f"a{special}a", allowed)
        assert ids == [*ordinary, encoder.special_tokens[special], *ordinary]
    text = encoder.encode(f"a {special}", disallowed_special=())
    assert encoder.n_vocab - 1 not in text
    assert encoder.decode(text).replace(" ", "") == f"a{special}".replace(" ", "")
    with pytest.raises(PicoGPTError, match="special token a at character 1"):
        encoder.encode("a", allowed_special="all", disallowed_special={"a"})


@pytest.mark.parametrize("kind", [WhitespaceTokenizer, WordTokenizer])
def test_the_end_of_a_text_is_a_word_like_any_other(kind: Kind) -> None:
    """The courses encode it without asking, and read the unknown word back in."""
    encoder = kind.from_text("a b", ["<|endoftext|>", "<|unk|>"])
    assert encoder.special_tokens == {}
    for arguments in ({}, {"allowed_special": "all"}, {"disallowed_special": ()}):
        assert encoder.encode("a <|endoftext|> <|unk|> c", **arguments) == [0, 2, 3, 3]


def test_a_special_token_counts_as_one_unit() -> None:
    encoder = CharTokenizer.from_text("ab", ["<|endoftext|>"])
    with pytest.raises(PicoGPTError, match=r"'é' \(character 4 of 5\)"):
        encoder.encode("a<|endoftext|>béa", allowed_special="all")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "char"', r"is not JSON"),
        ("[]", r"should hold a JSON object, not list"),
        ('{"kind": "bpe", "vocab": ["a"]}', r'should have a "kind" that is one of: char, whitespace, word'),
        ('{"kind": ["char"], "vocab": ["a"]}', r'should have a "kind"'),
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


def test_words_may_be_made_of_brackets(tmp_path: Path) -> None:
    """As those of program code are; a file of as many lists would be refused."""
    encoder = WhitespaceTokenizer(["[" * n + "{" * 50 + '"' + "\\" for n in range(50)])
    encoder.save(tmp_path)
    assert load_tokenizer(tmp_path).encode("[" * 7 + "{" * 50 + '"\\') == [7]


@pytest.mark.parametrize("layout", ["openai", "huggingface"])
def test_a_vocabulary_that_could_not_be_read_again_is_not_written(directory: Path, layout: Layout) -> None:
    encoder = WhitespaceTokenizer(["x" * (1 << 24)])
    with pytest.raises(
        PicoGPTError, match=r"json would have 16,777,\d+ bytes; choose a vocabulary of at most 16,777,216"
    ):
        encoder.save(directory, layout)
    assert not directory.exists()


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
