"""Regions of a sentence, as experiments have them: which tokens make a region."""

from __future__ import annotations

import re
from collections.abc import Sequence

from picogpt.errors import PicoGPTError, shown
from picogpt.tokenizers import Tokenizer, token_bytes
from picogpt.tokenizers.base import without_surrogates

Span = tuple[int, int]  # of characters, or of tokens
SPANS = re.compile(r"\s*\d+:\d+(?:[\s,;]+\d+:\d+)*\s*")


def find_regions(cell: str, text: str | None) -> tuple[str, list[Span]]:
    """The sentence and the spans of characters that its regions have.

    `cell` has the spans ("0:8 8:11"), or the sentence with bars ("The king | is | dead."). The sentence itself is
    `text`; where there is none, each bar stands for a space. Raises `PicoGPTError` where the two do not agree.
    """
    if SPANS.fullmatch(cell):
        return check_spans([(int(a), int(b)) for a, b in re.findall(r"(\d+):(\d+)", cell)], text)
    parts = [part.strip() for part in cell.split("|")]
    if text is None:
        text = " ".join(filter(None, parts))
    spans, end = [], 0
    for part in filter(None, parts):
        start = text.find(part, end)
        if start < 0 or text[end:start].strip():
            raise PicoGPTError(f"the region {shown(part)} does not come next in the text {shown(text)}")
        end = start + len(part)
        spans.append((start, end))
    if not spans:
        raise PicoGPTError("there are no regions")
    if text[end:].strip():
        raise PicoGPTError(f"the regions end before the text does: {shown(text[end:].strip())} is in none")
    return text, spans


def check_spans(spans: list[Span], text: str | None) -> tuple[str, list[Span]]:
    if text is None:
        raise PicoGPTError("spans of characters need the text itself: say in which column it is (--text)")
    end = 0
    for first, last in spans:
        if not end <= first < last <= len(text):
            raise PicoGPTError(f"the span {first}:{last} is empty, out of order or beyond the text's {len(text)}")
        end = last
    return text, spans


def region_tokens(encoder: Tokenizer, ids: Sequence[int], text: str, spans: Sequence[Span]) -> list[Span]:
    """The tokens of each region, as number `first` to `end` of the ids, whose text ends with `text`.

    As with words, white space belongs to what comes after it. Raises `PicoGPTError` for a token that has characters of
    two regions, or of one and of what is in none.
    """
    pieces = list(token_bytes(encoder, ids))
    data, whole = as_bytes(text), b"".join(pieces)
    if not whole.endswith(data):
        raise PicoGPTError("regions need a tokenizer that keeps every character of the text")
    offset = len(whole) - len(data)
    borders = [(offset + len(as_bytes(text[:first])), offset + len(as_bytes(text[:end]))) for first, end in spans]
    found: list[list[int]] = [[] for _ in spans]
    start = 0
    for token, piece in enumerate(pieces):
        first, last = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        if first >= last:  # white space: of the region in which it stands, or of the next one
            ends = [end for _, end in borders if end > start]
            first, last = (ends[0] - 1, ends[0]) if ends else (len(whole), len(whole))
        start += len(piece)
        for region, (begin, end) in enumerate(borders):
            if first < end and last > begin:
                if first < begin or last > end:
                    raise PicoGPTError(
                        f"the token {shown(piece.decode('utf-8', 'replace'))} crosses the border of region {region + 1}"
                    )
                found[region].append(token)
    if not all(found):
        raise PicoGPTError(f"region {found.index([]) + 1} has no token of its own")
    return [(tokens[0], tokens[-1] + 1) for tokens in found]


def as_bytes(text: str) -> bytes:
    return without_surrogates(text).encode()
