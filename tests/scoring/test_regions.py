"""Regions of sentences and the tokens that make them."""

from __future__ import annotations

import pytest

from picogpt import pretrained
from picogpt.errors import PicoGPTError
from picogpt.scoring.regions import find_regions, region_tokens

ENCODER = pretrained.load("shakespeare").encoder


def pieces(text: str, cell: str) -> list[str]:
    """The text of each region's tokens."""
    ids = ENCODER.encode(text)
    _, spans = find_regions(cell, text)
    return [ENCODER.decode(ids[first:end]) for first, end in region_tokens(ENCODER, ids, text, spans)]


def test_bars_and_spans_say_the_same() -> None:
    text = "The king is dead."
    for cell in ("The king| is |dead.", "The king|is|dead.", "0:8 9:11 12:17", "0:8,8:11;11:17"):
        assert pieces(text, cell) == ["The king", " is", " dead."]
    assert find_regions("The king|is | dead.", None) == (text, [(0, 8), (9, 11), (12, 17)])
    assert find_regions("don|'t", "don't") == ("don't", [(0, 3), (3, 5)])


def test_characters_beyond_ascii_count_as_one() -> None:
    text = "Thé 🙂 is dead."
    assert pieces(text, "0:5 6:8 9:14") == ["Thé 🙂", " is", " dead."]


def test_white_space_goes_with_what_comes_after_it_or_is_around_it() -> None:
    assert pieces("The   king\nis   dead.", "0:3 6:10 11:21") == ["The", "   king", "\nis   dead."]
    assert pieces("is dead.  ", "0:8") == ["is dead."]


@pytest.mark.parametrize(
    ("cell", "text", "message"),
    [
        ("The|king", "The good king", "the region 'king' does not come next"),
        ("The|good", "The good king", "the regions end before the text does: 'king' is in none"),
        ("|", "The", "there are no regions"),
        ("0:3", None, "say in which column it is"),
        ("0:3 2:4", "The king", "the span 2:4 is empty, out of order or beyond"),
        ("0:9", "The king", "the span 0:9 is empty, out of order or beyond the text's 8"),
    ],
)
def test_regions_that_do_not_fit_the_text(cell: str, text: str | None, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        find_regions(cell, text)


def test_a_token_that_two_regions_share_is_refused() -> None:
    """Its surprisal would be neither's."""
    with pytest.raises(PicoGPTError, match="the token ' king' crosses the border of region 1"):
        pieces("The king", "0:6 6:8")
    with pytest.raises(PicoGPTError, match="the token ' king' crosses the border of region 1"):
        pieces("The king", "0:6")
