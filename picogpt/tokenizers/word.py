"""Every word is a token, where spaces alone divide words or punctuation does too. Decoding guesses the spaces.

encoder = WhitespaceTokenizer(["all", "not", "heroes", "the", "wear", ".", "capes"])
encoder.encode("not all heroes wear")  # [1, 0, 2, 4]

encoder = WordTokenizer.from_text("I HAD always thought", ["<|endoftext|>", "<|unk|>"])
encoder.decode(encoder.encode("I thought, always"))  # "I thought <|unk|> always"
"""

from __future__ import annotations

import re

from picogpt.tokenizers.vocabulary import VocabularyTokenizer


class WhitespaceTokenizer(VocabularyTokenizer):
    """Words are what stands between white space, so decoded text has one space for any that was there."""

    kind = "whitespace"
    unit = "word"

    @staticmethod
    def split(text: str) -> list[str]:
        return text.split()

    @staticmethod
    def separator(token: str) -> str:
        return " "


class WordTokenizer(VocabularyTokenizer):
    """Words and punctuation marks: the simple tokenizer, in both versions, that courses on language models begin with.

    The first version has no special tokens; the second has `<|endoftext|>` and `<|unk|>`. Decoded text has one space
    between tokens, and none before a punctuation mark that follows a word directly in English.
    """

    kind = "word"
    unit = "word"

    @staticmethod
    def split(text: str) -> list[str]:
        parts = re.split(r"""([,.:;?_!"()']|--|\s)""", text)
        return [part for part in parts if part and not part.isspace()]

    @staticmethod
    def separator(token: str) -> str:
        return "" if token[0] in ",.:;?!\"()'" else " "
