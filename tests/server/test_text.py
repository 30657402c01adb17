"""Text in whole characters, up to a stop string, with its tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from picogpt.decoding.loop import Token
from picogpt.decoding.stopping import stop_criterion, until_stop
from picogpt.server.text import Text
from picogpt.tokenizers import ByteLevelBPE, WordTokenizer
from tests.server.running import shakespeare


def tokens_of(ids: list[int], reason: str = "length") -> list[Token]:
    return [
        Token(0, i, reason if place == len(ids) - 1 else None, -1.0, ((i, -1.0), (0, -2.0)))  # type: ignore[arg-type]
        for place, i in enumerate(ids)
    ]


def test_a_character_is_shown_whole_and_its_parts_have_names_of_their_own() -> None:
    encoder = ByteLevelBPE.gpt2()
    ids = encoder.encode("“北”")
    text = Text(encoder, [])
    shown = [text.add(token) for token in tokens_of(ids)]
    assert "".join(piece for piece, _ in shown) == "“北”"
    assert all("\ufffd" not in piece for piece, _ in shown)
    entries = [entry for _, part in shown for entry in part]
    assert b"".join(entry.data for entry in entries) == "“北”".encode()
    names = [entry.name for entry in entries]
    assert "bytes:\\xe5\\x8c\\x97" not in names
    assert all(name.startswith("bytes:\\x") or name in "“北”" for name in names)
    assert len({entry.name for entry in entries if entry.name.startswith("bytes:")}) > 1
    assert [entry.offset for entry in entries] == sorted(entry.offset for entry in entries)


@given(
    st.text(st.sampled_from("ab \n"), min_size=1, max_size=40),
    st.lists(st.text(st.sampled_from("ab \n"), min_size=1, max_size=4), max_size=3),
)
def test_the_text_is_that_of_until_stop_and_tokens_go_with_it(written: str, stops: list[str]) -> None:
    encoder = shakespeare().encoder
    ids = encoder.encode(written)
    if stops:  # as the scheduler ends it
        is_enough = stop_criterion(encoder, stops)
        import numpy as np

        n = next((n for n in range(1, len(ids) + 1) if is_enough(np.array(ids[:n]))), None)
        tokens = tokens_of(ids[:n], "length" if n is None else "stop")
    else:
        tokens = tokens_of(ids)
    text = Text(encoder, stops)
    shown, entries = "", []
    for token in tokens:
        piece, new = text.add(token)
        shown += piece
        entries += new
        assert all(entry.offset < len(shown) for entry in entries)
        assert not any(stop in shown for stop in stops)
    assert shown == "".join(until_stop([written], stops))
    assert text.finish_reason == ("stop" if tokens[-1].finish_reason == "stop" else "length")
    assert "".join(entry.name for entry in entries).startswith(shown)


def test_words_are_joined_as_the_tokenizer_joins_them() -> None:
    encoder = WordTokenizer(["a", "b", "<|endoftext|>"])
    text = Text(encoder, [])
    assert "".join(text.add(token)[0] for token in tokens_of([0, 1, 0])) == encoder.decode([0, 1, 0])
