"""What a tokenizer.json does to a text before it is cut: the normalizers of Hugging Face's tokenizers, by their names.

Letters' cases are those of the Unicode version that Python was built with; libraries differ on those that are newer
than one of them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import regex

from picogpt.errors import PicoGPTError, shown
from picogpt.tokenizers.charsmap import CharsMap
from picogpt.tokenizers.newer import MARKS, normalize

Normalizer = Callable[[str], str]
FORMS: dict[str, Literal["NFC", "NFD", "NFKC", "NFKD"]] = {"NFC": "NFC", "NFD": "NFD", "NFKC": "NFKC", "NFKD": "NFKD"}
SPACES = " {2,}"  # the one expression that SentencePiece's conversions have; others are in another dialect than ours
LONGEST_GRAPHEME = 5  # bytes that are looked up as a whole

GRAPHEMES = regex.compile(r"\X")


def make_normalizer(entry: Any, source: str) -> Normalizer:
    """The normalizer that an entry of tokenizer.json describes; raises `PicoGPTError` for one that is not done here."""
    if entry is None:
        return as_it_is
    try:
        kind = entry["type"]
        if kind == "Sequence":
            return in_turn([make_normalizer(part, source) for part in entry["normalizers"]])
        if kind in FORMS:
            return partial(normalize, FORMS[kind])
        if kind == "StripAccents":
            return partial(MARKS.sub, "")
        if kind == "Lowercase":
            return lower
        if kind == "Replace":
            return replacement(entry["pattern"], entry["content"], source)
        if kind == "Precompiled":
            data = entry["precompiled_charsmap"]
            return precompiled(CharsMap(base64.b64decode(data, validate=True), source)) if data else as_it_is
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise PicoGPTError(f"{source}: the normalizer {shown(entry)} is damaged") from error
    raise PicoGPTError(f"{source} has the normalizer {shown(kind)}, which picogpt does not do")


def as_it_is(text: str) -> str:
    return text


def in_turn(normalizers: list[Normalizer]) -> Normalizer:
    def normalize(text: str) -> str:
        for normalizer in normalizers:
            text = normalizer(text)
        return text

    return normalize


def lower(text: str) -> str:
    """Each character by itself: at a word's end Σ is σ here, and ς in `str.lower`."""
    return "".join(map(str.lower, text))


def replacement(pattern: Any, content: Any, source: str) -> Normalizer:
    if not isinstance(content, str):
        raise TypeError
    if "String" in pattern:
        found = pattern["String"]
        if not isinstance(found, str) or not found:
            raise TypeError
        return lambda text: text.replace(found, content)
    if pattern["Regex"] == SPACES:
        return partial(regex.compile(SPACES).sub, lambda _: content)
    raise PicoGPTError(f"{source} replaces what matches {shown(pattern['Regex'])}, which picogpt does not do")


def precompiled(table: CharsMap) -> Normalizer:
    """SentencePiece's table as tokenizers applies it: to what a reader sees as one character, if it is short.

    The shortest beginning that the table knows decides, and stands for all of it. Of a long one, and of one that has
    no such beginning, each code point is looked up.
    """

    def normalize(text: str) -> str:
        return "".join(map(of_grapheme, GRAPHEMES.findall(text)))

    def of_grapheme(grapheme: str) -> str:
        if len(grapheme.encode()) <= LONGEST_GRAPHEME:
            whole = table.shortest(grapheme)
            if whole is not None:
                return whole
        return "".join(map(of_character, grapheme))

    def of_character(character: str) -> str:
        found = table.shortest(character)
        return character if found is None else found

    return normalize
