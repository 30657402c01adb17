from __future__ import annotations

import pytest

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import CharTokenizer


def test_the_example_in_the_docstring() -> None:
    assert CharTokenizer.from_text("hello").encode("hole") == [1, 3, 2, 0]


def test_ids_of_the_notes(shakespeare: str) -> None:
    encoder = CharTokenizer.from_text(shakespeare)
    assert encoder.n_vocab == 65
    assert encoder.encode("hii there") == [46, 47, 47, 1, 58, 46, 43, 56, 43]
    assert encoder.encode("tomas") == [58, 53, 51, 39, 57]
    assert encoder.decode([58, 53, 51, 39, 57]) == "tomas"


def test_an_unknown_character_is_named_with_its_place() -> None:
    encoder = CharTokenizer.from_text("abc")
    with pytest.raises(PicoGPTError, match=r"'é' \(character 3 of 4\) is not in the vocabulary; with <\|unk\|> in it"):
        encoder.encode("abéx")


def test_an_unknown_character_may_become_the_unknown_token() -> None:
    encoder = CharTokenizer.from_text("abc", ["<|endoftext|>", "<|unk|>"])
    assert encoder.encode("abé") == [0, 1, 4]
    assert encoder.decode([0, 1, 4]) == "ab<|unk|>"
    assert encoder.eot_token == 3


def test_spaces_at_the_beginning_are_kept() -> None:
    """The tokenizers of words put a space before all but the first: characters must not gain or lose one."""
    encoder = CharTokenizer.from_text(" ab\n")
    assert encoder.decode(encoder.encode("  a\n b ")) == "  a\n b "


def test_a_token_that_no_text_has_is_an_error() -> None:
    with pytest.raises(PicoGPTError, match=r"'ab' \(id 1\) is not a character"):
        CharTokenizer(["a", "ab"])
