"""The fields of a request, by a table: name, how its value is read, and what it is when it is not given.

A reader gets a field's name and its value from the JSON, and returns what the value means; it raises a 400 that names
the field. `null` is as if the field was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from picogpt.errors import shown
from picogpt.ranges import Range
from picogpt.server.errors import bad
from picogpt.tokenizers.base import without_surrogates

Reader = Callable[[str, Any], Any]
REQUIRED: Any = object()
MOST_STOPS = 4


class Field(NamedTuple):
    name: str
    read: Reader
    default: Any = None


def read_fields(table: Sequence[Field], body: dict[str, Any], within: str = "") -> dict[str, Any]:
    """The value of every field of the table; raises a 400 for one that is wrong or missing."""
    values = {}
    for field in table:
        value, name = body.get(field.name), within + field.name
        if value is not None:
            values[field.name] = field.read(name, value)
        elif field.default is REQUIRED:
            raise bad(f"{name} is missing", name)
        else:
            values[field.name] = field.default
    return values


def unknown_fields(table: Sequence[Field], body: dict[str, Any]) -> list[str]:
    return sorted(body.keys() - {field.name for field in table})


def wrong(name: str, expected: str, value: Any) -> Exception:
    return bad(f"{name} must be {expected}, not {shown(value)}", name)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check(name: str, value: Any, range: Range | None) -> None:
    if range is not None and not range.holds(value):
        raise wrong(name, range.words, value)


def whole(range: Range | None = None, off: Sequence[int] = ()) -> Reader:
    """A whole number; those that are `off` mean as much as not to give the field."""

    def read(name: str, value: Any) -> int | None:
        if not is_whole(value):
            raise wrong(name, "a whole number", value)
        if value in off:
            return None
        check(name, value, range)
        return int(value)

    return read


def number(range: Range, off: Sequence[float] = ()) -> Reader:
    """A number, likewise."""

    def read(name: str, value: Any) -> float | None:
        if not (is_whole(value) or isinstance(value, float)):
            raise wrong(name, "a number", value)
        if value in off:
            return None
        check(name, value, range)
        return float(value)

    return read


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    return without_surrogates(value)


def one_of(*choices: str) -> Reader:
    def read(name: str, value: Any) -> str:
        if value not in choices:
            raise wrong(name, f"one of {', '.join(choices)}", value)
        return str(value)

    return read


def list_of(read_part: Reader, most: int | None = None) -> Reader:
    """A list whose every part the reader reads."""

    def read(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise wrong(name, "a list", value)
        if most is not None and len(value) > most:
            raise bad(f"{name} must have at most {most} entries, not {len(value)}", name)
        return [read_part(name, part) for part in value]

    return read


def nested(table: Sequence[Field]) -> Reader:
    """An object with fields of its own."""

    def read(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(name, "an object", value)
        return read_fields(table, value, f"{name}.")

    return read


def stops(name: str, value: Any) -> list[str]:
    """Where the text ends: a string, or up to four."""
    found: list[str] = list_of(text, MOST_STOPS)(name, [value] if isinstance(value, str) else value)
    if not all(found):
        raise bad(f"{name} must not have an empty string", name)
    return found


def ids(name: str, value: Any) -> list[int]:
    if not isinstance(value, list) or not all(map(is_whole, value)):
        raise wrong(name, "a list of token ids", value)
    return list(value)


def prompts(name: str, value: Any) -> list[str | list[int]]:
    """A prompt or several, each a text or token ids."""
    if isinstance(value, str):
        return [text(name, value)]
    if isinstance(value, list) and value:
        if all(map(is_whole, value)):
            return [ids(name, value)]
        if all(isinstance(part, str) for part in value):
            return [text(name, part) for part in value]
        if all(isinstance(part, list) for part in value):
            return [ids(name, part) for part in value]
    raise wrong(name, "a string, a list of strings, a list of token ids, or a list of such lists", value)


def prompt(name: str, value: Any) -> str | list[int]:
    """One prompt: a text, or token ids."""
    return text(name, value) if isinstance(value, str) else ids(name, value)


def logit_bias(name: str, value: Any) -> dict[int, float]:
    """What is added to the logits of some tokens: an object from ids, in quotes as JSON has it, to numbers."""
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    read_bias = number(Range("from -100 to 100", lambda bias: -100 <= bias <= 100))
    for token in value:
        if not (token.isascii() and token.isdecimal() and len(token) < 10):
            raise bad(f"{name} must have token ids as its keys, not {shown(token)}", name)
    return {int(token): read_bias(name, bias) for token, bias in value.items()}


def refused(why: str, allowed: Callable[[Any], bool] = lambda value: not value) -> Reader:
    """A field that changes what is asked for, and cannot be fulfilled."""

    def read(name: str, value: Any) -> None:
        if not allowed(value):
            raise bad(f"{name} is not supported: {why}", name)

    return read


def any_value(name: str, value: Any) -> Any:
    """A field that changes nothing here."""
    return value
