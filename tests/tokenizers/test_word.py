from __future__ import annotations

import pytest

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import WhitespaceTokenizer, WordTokenizer

HEROES = WhitespaceTokenizer(["all", "not", "heroes", "the", "wear", ".", "capes"])


def test_the_example_of_the_notes() -> None:
    assert HEROES.encode("not all heroes wear") == [1, 0, 2, 4]
    assert HEROES.decode([1, 0, 2, 4]) == "not all heroes wear"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all heroes wear shoes", r"'shoes' \(word 4 of 4\) is not in the vocabulary"),
        ("capes!", r"'capes!' \(word 1 of 1\) is not in the vocabulary"),
    ],
)
def test_where_the_example_of_the_notes_fails(text: str, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        HEROES.encode(text)


def test_several_spaces_are_like_one() -> None:
    """Splitting at each single space would find empty words between them."""
    assert HEROES.encode("  not   all\n\theroes ") == [1, 0, 2]
    assert HEROES.encode("") == HEROES.encode("  ") == []
    assert HEROES.decode([]) == ""


def test_unknown_words_on_request() -> None:
    encoder = WhitespaceTokenizer([*HEROES.vocab, "<|unk|>"])
    assert encoder.decode(encoder.encode("all heroes wear shoes")) == "all heroes wear <|unk|>"


def test_ids_of_the_notes_first_version(verdict: str) -> None:
    assert len(WordTokenizer.split(verdict)) == 4690
    encoder = WordTokenizer.from_text(verdict)
    assert encoder.n_vocab == 1130
    text = '"It\'s the last he painted, you know," Mrs. Gisburn said with pardonable pride.'
    ids = [1, 56, 2, 850, 988, 602, 533, 746, 5, 1126, 596, 5, 1, 67, 7, 38, 851, 1108, 754, 793, 7]
    assert encoder.encode(text) == ids
    assert encoder.decode(ids) == '" It\' s the last he painted, you know," Mrs. Gisburn said with pardonable pride.'
    with pytest.raises(PicoGPTError, match=r"'Hello' \(word 1 of 7\)"):
        encoder.encode("Hello, do you like tea?")


def test_ids_of_the_notes_second_version(verdict: str) -> None:
    encoder = WordTokenizer.from_text(verdict, ["<|endoftext|>", "<|unk|>"])
    assert (encoder.n_vocab, encoder.eot_token) == (1132, 1130)
    ids = encoder.encode("Hello, do you like tea? <|endoftext|> In the sunlit terraces of the palace.")
    assert ids == [1131, 5, 355, 1126, 628, 975, 10, 1130, 55, 988, 956, 984, 722, 988, 1131, 7]
    text = "<|unk|>, do you like tea? <|endoftext|> In the sunlit terraces of the <|unk|>."
    assert encoder.decode(ids) == text


def test_the_example_in_the_docstring() -> None:
    encoder = WordTokenizer.from_text("I HAD always thought", ["<|endoftext|>", "<|unk|>"])
    assert encoder.decode(encoder.encode("I thought, always")) == "I thought <|unk|> always"


@pytest.mark.parametrize("vocab", [["a", ""], ["a", "b c"], ["a", " "]])
def test_a_token_that_no_text_has_is_an_error(vocab: list[str]) -> None:
    with pytest.raises(PicoGPTError, match=r"\(id 1\) is not a word"):
        WordTokenizer(vocab)
