"""Stop strings, however the text is cut into pieces and tokens."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.decoding.stopping import stop_criterion, until_stop
from picogpt.errors import PicoGPTError
from picogpt.tokenizers import ByteLevelBPE, WordTokenizer

gpt2 = functools.cache(ByteLevelBPE.gpt2)
AB = st.text("ab", max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@given(st.lists(AB, max_size=6), STOPS)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_text_ends_before_the_first_stop_string_however_it_is_cut(pieces: list[str], stops: list[str]) -> None:
    shown = ""
    for piece in until_stop(pieces, stops):
        shown += piece
        assert not any(stop in shown for stop in stops)
    text = "".join(pieces)
    ends = [text.index(stop) for stop in stops if stop in text]
    # of two stop strings that overlap, the one that is complete first may end the text
    assert len(shown) in (ends or [len(text)])
    assert text.startswith(shown)


def test_a_stop_string_is_never_shown_partly() -> None:
    assert list(until_stop(["Hello", "\n", "\nROM", "EO", ": and"], ["\n\nROMEO:"])) == ["Hello"]
    assert list(until_stop(["a", "\n", "b"], ["\n\n"])) == ["a", "\nb"]  # held back, and shown when it was none


def test_what_was_held_back_is_shown_when_the_text_ends() -> None:
    assert "".join(until_stop(["the e", "n"], ["end"])) == "the en"


@given(st.text("ab \n☃é", min_size=1, max_size=6), st.text("ab \n☃é", max_size=9), st.text("ab \n☃é", max_size=9))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_criterion_holds_at_the_token_that_completes_it(stop: str, before: str, after: str) -> None:
    """A stop string may begin and end in the middle of tokens, and take several tokens for a character."""
    tokenizer = gpt2()
    ids = np.array(tokenizer.encode(before + stop + after))
    criterion = stop_criterion(tokenizer, [stop])
    first = next(n for n in range(1, len(ids) + 1) if stop in tokenizer.decode(ids[:n].tolist()))
    assert [criterion(ids[:n]) for n in range(1, first + 1)] == [False] * (first - 1) + [True]


def test_a_space_that_stands_between_two_words_completes_a_stop_string() -> None:
    """It belongs to neither token: there as many tokens as the stop string has bytes are not enough to see it."""
    tokenizer = WordTokenizer.from_text("to be, or")
    ids = np.array(tokenizer.encode("to be, or"))  # "to", "be", ",", "or"
    criterion = stop_criterion(tokenizer, [" "])
    assert [criterion(ids[i:n]) for i, n in ((0, 1), (0, 2), (1, 3), (1, 4))] == [False, True, False, True]


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(PicoGPTError, match="must not be empty"):
        stop_criterion(gpt2(), ["x", ""])


class Counted(str):
    """A text that counts how many of its characters are read."""

    n_read = 0

    def __getitem__(self, key: Any) -> str:
        part = super().__getitem__(key)
        self.n_read += len(part)
        return part


@pytest.mark.parametrize("stop", ["x" * 100_000, "a" * 100_000, "ab" * 50_000])
def test_a_long_stop_string_takes_no_longer_than_the_text(stop: str) -> None:
    """All of its beginnings were tried at every piece: 13 seconds for 40 tokens."""
    counted = Counted(stop)
    text = "ab a" * 250
    assert "".join(until_stop([text[i : i + 4] for i in range(0, len(text), 4)], [counted])) == text
    assert counted.n_read < 4 * len(text)


def test_a_long_stop_string_is_looked_for_by_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was written was decoded again for every token."""
    tokenizer, lengths = ByteLevelBPE.gpt2(), []

    def decode(ids: list[int]) -> str:
        lengths.append(len(ids))
        return ByteLevelBPE.decode(tokenizer, ids)

    monkeypatch.setattr(tokenizer, "decode", decode)
    stop = "my kingdom for a horse! " * 1000 + "That is the end."
    ids = np.array(tokenizer.encode(stop))
    criterion = stop_criterion(tokenizer, [stop])
    assert not any(criterion(ids[:n]) for n in range(1000, 1100))
    assert sum(lengths) < 100 * 20
    assert criterion(ids)
