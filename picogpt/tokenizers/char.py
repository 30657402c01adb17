"""Every character is a token.

encoder = CharTokenizer.from_text("hello")
encoder.encode("hole")  # [1, 3, 2, 0]
"""

from __future__ import annotations

from picogpt.tokenizers.vocabulary import VocabularyTokenizer


class CharTokenizer(VocabularyTokenizer):
    """Characters, that is Unicode code points, in sorted order."""

    kind = "char"
    unit = "character"

    @staticmethod
    def split(text: str) -> list[str]:
        return list(text)

    @staticmethod
    def separator(token: str) -> str:
        return ""
