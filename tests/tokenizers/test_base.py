from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.tokenizers import ByteLevelBPE, WordTokenizer, stream_text, token_bytes
from tests.tokenizers.strategies import texts


@settings(deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 400) | st.integers(0, 50256), max_size=30))
def test_streamed_pieces_join_to_the_decoded_text(gpt2: ByteLevelBPE, ids: list[int]) -> None:
    """The small ids are single bytes, so broken and unfinished characters are frequent."""
    assert "".join(stream_text(gpt2, ids)) == gpt2.decode(ids)


@settings(deadline=None, derandomize=True)
@given(text=texts)
def test_no_piece_has_half_a_character(gpt2: ByteLevelBPE, text: str) -> None:
    ids = gpt2.encode(text, disallowed_special=())
    pieces = list(stream_text(gpt2, ids))
    assert "".join(pieces) == text
    assert all(pieces)


def test_what_each_token_adds_to_the_text(gpt2: ByteLevelBPE) -> None:
    """The space between two words is added by the second, and a token may add a part of a character."""
    words = WordTokenizer(["a", "b", ","])
    assert list(token_bytes(words, [0, 1, 2, 0])) == [b"a", b" b", b",", b" a"]
    assert list(token_bytes(gpt2, gpt2.encode("b 😀"))) == [b"b", b" \xf0\x9f\x98", b"\x80"]


def test_a_piece_comes_as_soon_as_it_is_whole(gpt2: ByteLevelBPE) -> None:
    taken = []

    def chosen() -> Iterator[int]:
        for i in gpt2.encode("Hi 😀"):
            taken.append(i)
            yield i

    stream = stream_text(gpt2, chosen())
    assert (next(stream), len(taken)) == ("Hi", 1)
    assert next(stream) == " "
    assert next(stream) == "😀"
