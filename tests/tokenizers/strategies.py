"""Text as people write it and as it goes wrong, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

# Every plane of Unicode, but no surrogates, and nothing that is not assigned: libraries know different versions of
# Unicode, and so disagree on whether a new character is a letter.
characters = st.characters(exclude_categories=["Cs", "Cn"])
white_space = st.sampled_from(["  ", "\t\n", "\r\n", "\n\n ", "\u00a0", "\u3000", "\x1c", "\x85", "\u200d", "\u2028"])
contractions = st.sampled_from(["'s", "'ll", "'LL", "'", "''ve", "’s", "<|endoftext|>", "<|endoftext|"])
letters = st.sampled_from(["the", " the", "Hello", " HELLO", "éè", "ﬁ", "日本語", "한국", "e\u0301", "١٢٣", "½"])
emoji = st.sampled_from(["😀", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "❤\ufe0f"])
runs = st.builds(lambda char, n: char * n, st.sampled_from("a ^\n0=-é😀"), st.integers(2, 70))

texts = st.lists(characters | white_space | contractions | letters | emoji | runs, max_size=20).map("".join)
