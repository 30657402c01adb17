"""The tokens that a tokenizer.json puts around a text (its post_processor): of each side one at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, shown


class Around(NamedTuple):
    """The ids of the tokens around a text."""

    begin: int | None = None
    end: int | None = None


NOTHING = Around()


def read_template(entry: Any, ids: Mapping[str, int], path: Path) -> Around:
    """What a post_processor puts around a text; raises `PicoGPTError` for more than a token on a side.

    Where the entry is damaged, it raises KeyError, TypeError or AttributeError.
    """
    if entry is None or entry["type"] == "ByteLevel":  # which has to do with offsets only
        return NOTHING
    if entry["type"] == "Sequence":
        found = [around for part in entry["processors"] if (around := read_template(part, ids, path)) != NOTHING]
        if len(found) < 2:
            return found[0] if found else NOTHING
    if entry["type"] == "TemplateProcessing":
        parts = entry["single"]
        places = [i for i, part in enumerate(parts) if "Sequence" in part]
        tokens = [None if "Sequence" in part else ids[part["SpecialToken"]["id"]] for part in parts]
        if len(places) == 1 and places[0] <= 1 and len(parts) - places[0] <= 2:
            return Around(tokens[0], tokens[-1])
    raise PicoGPTError(
        f"{path} puts tokens around a text in a way that picogpt does not do (post_processor): {shown(entry)}; "
        f"take that out, and write the tokens in the text"
    )


def template(around: Around, names: Sequence[str]) -> dict[str, Any] | None:
    """The inverse of `read_template`."""
    if around == NOTHING:
        return None
    begin, end = ([] if i is None else [{"SpecialToken": {"id": names[i], "type_id": 0}}] for i in around)
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [*begin, first, *end],
        "pair": [*begin, first, *end, second, *end],
        "special_tokens": {
            names[i]: {"id": names[i], "ids": [i], "tokens": [names[i]]} for i in around if i is not None
        },
    }
