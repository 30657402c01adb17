"""Tokens that were added to a vocabulary, and roles of its tokens, as transformers keeps them beside it.

tokenizer_config.json has it all in newer models; in older ones special_tokens_map.json and added_tokens.json have a
part. What counts, and which id a token gets, is as in transformers 5. Files to which its versions give different
meanings are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_object
from picogpt.tokenizers.base import END_OF_TEXT
from picogpt.tokenizers.template import Around

TOKENIZER_JSON, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS_MAP, ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
EXTRA, OLD_EXTRA = "extra_special_tokens", "additional_special_tokens"  # two names of a list
OPTIONS = ("single_word", "lstrip", "rstrip")
LISTED = "added_tokens_decoder"
OWN_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")  # all that they know is in tokenizer.json
MOST_PAIRS, LONGEST = 1 << 20, 200  # that are compared, a second's work; what models have is far from either


class AddedToken(NamedTuple):
    content: str
    special: bool
    first: bool  # found before the others, in all of the text
    id: int | None  # as a file says
    options: frozenset[str]  # those of `OPTIONS` that it has


class Settings(NamedTuple):
    """What the three files say."""

    directory: Path
    config: dict[str, Any]  # tokenizer_config.json
    roles: dict[str, Any]  # special_tokens_map.json
    added: dict[str, Any]  # added_tokens.json
    is_generic: bool  # whether tokenizer.json counts before the config
    prefix_space: bool | None

    @classmethod
    def read(cls, directory: Path) -> Settings:
        """What there is beside a byte-level BPE vocabulary; raises `PicoGPTError` for what picogpt does not do."""
        settings = cls.read_any(directory)
        name = settings.config.get("tokenizer_class")
        if name not in (*OWN_CLASSES, *GENERIC_CLASSES):
            path = directory / TOKENIZER_CONFIG
            raise PicoGPTError(f"{path} says that the ids are those of {shown(name)}, which picogpt does not read")
        return settings._replace(is_generic=(directory / TOKENIZER_JSON).is_file() and name in GENERIC_CLASSES)

    @classmethod
    def read_any(cls, directory: Path) -> Settings:
        """What there is beside a vocabulary of any kind, of which the files alone say what its tokens' roles are."""

        def content(name: str) -> dict[str, Any]:
            return read_object(directory / name) if (directory / name).is_file() else {}

        config, path = content(TOKENIZER_CONFIG), directory / TOKENIZER_CONFIG
        prefix_space = config.get("add_prefix_space")
        if prefix_space not in (None, True, False):
            raise PicoGPTError(f"{path}: add_prefix_space should be true or false, not {shown(prefix_space)}")
        old = LISTED not in config  # else the two older files do not count
        roles = content(SPECIAL_TOKENS_MAP) if old else {}
        added = content(ADDED_TOKENS) if old else {}
        return cls(directory, config, roles, added, is_generic=True, prefix_space=prefix_space)

    def added_tokens(self, ids: dict[str, int], in_tokenizer_json: Sequence[Any] = ()) -> dict[str, bool]:
        """The tokens that are found in the text itself, and whether they are special; those that are new get ids.

        Raises `PicoGPTError` where a file gives a token another id than the next one, or asks for what is not done.
        """
        found: dict[str, AddedToken] = {}
        for token in self.tokens(in_tokenizer_json):
            for option in OPTIONS:
                if option in token.options:
                    raise PicoGPTError(
                        f"{self.directory}: the token {shown(token.content)} has {option}, which picogpt does not do"
                    )
            known = found.setdefault(token.content, token)
            if token.special and not known.special:
                found[token.content] = known._replace(special=True)
            self.check_id(token, ids.setdefault(token.content, len(ids)))
        check_overlaps(found.values())
        return {name: token.special for name, token in found.items()}

    def check_id(self, token: AddedToken, i: int) -> None:
        """Raise `PicoGPTError` where a file gives the token another id than this."""
        if token.id not in (None, i):
            raise PicoGPTError(
                f"{self.directory} gives the added token {shown(token.content)} the id {token.id}, but {i} is "
                f"what transformers reads: added tokens have the ids after the vocabulary's, without a gap"
            )

    def around(self, ids: Mapping[str, int]) -> Around:
        """The tokens around a text where there is no tokenizer.json, which says it in its own way, and then counts."""
        roles = self.config | self.roles

        def token(key: str, role: str) -> int | None:
            entry = as_entry(roles.get(role, END_OF_TEXT)) if self.config.get(key) else None
            return None if entry is None else ids[entry["content"]]

        return Around(token("add_bos_token", "bos_token"), token("add_eos_token", "eos_token"))

    def tokens(self, in_tokenizer_json: Sequence[Any] = ()) -> list[AddedToken]:
        """The tokens that the files name, in the order in which they are added: those with ids, those with roles."""
        with_roles = [self._token(value, special=True) for value in self._role_values()]
        return [*self._listed(in_tokenizer_json), *with_roles]

    def _listed(self, in_tokenizer_json: Sequence[Any]) -> list[AddedToken]:
        """The tokens that the files list with their ids, in the order in which they are added."""
        in_json = [
            self._token(token, TOKENIZER_JSON, token.get("id", "") if isinstance(token, dict) else None)
            for token in in_tokenizer_json
        ]
        if LISTED in self.config:
            entries = self.config[LISTED]
            if not isinstance(entries, dict):
                raise PicoGPTError(f"{self.directory / TOKENIZER_CONFIG}: {LISTED} should be an object")
            listed = [self._token(token, TOKENIZER_CONFIG, i) for i, token in entries.items()]
        else:
            roles = [value for value in self._role_values() if isinstance(value, str | Role)]
            special = {self._token(value).content for value in roles}
            listed = [
                self._token({"content": name, "special": name in special}, ADDED_TOKENS, i)
                for name, i in self.added.items()
            ]
            listed += in_json
        by_id = {token.id: token for token in sorted(listed, key=lambda token: token.id or 0)}
        return [*(in_json if self.is_generic else ()), *by_id.values()]

    def _role_values(self) -> list[Any]:
        """Tokens that have a role, in transformers' order. Where a file gives any, there are default roles as well."""
        in_map = {key: as_role(value) for key, value in self.roles.items()}
        roles = self.config | in_map
        if roles and not self.is_generic:
            roles = dict.fromkeys(ROLES[:3], END_OF_TEXT) | roles
        strings = {key: value for key, value in self.config.items() if isinstance(value, str)}
        others = {key: value for key, value in (roles | strings).items() if key.endswith("_token")}
        extra = as_list(self.config.get(EXTRA) or self.config.get(OLD_EXTRA))
        extra = [*extra, *map(as_role, as_list(self.roles.get(EXTRA)))]
        extra = extra or [as_entry(token) for token in as_list(self.roles.get(OLD_EXTRA))]
        values = [*map(roles.get, ROLES), *(value for key, value in others.items() if key not in ROLES), *extra]
        return [value for value in values if isinstance(value, str | dict | Role)]

    def _token(
        self, value: Any, source: str = TOKENIZER_CONFIG, id: Any = None, *, special: bool = False
    ) -> AddedToken:
        """A token from a file: a string, or an object that says more; raises `PicoGPTError` for what is not done."""
        path = self.directory / source
        value = value.entry if isinstance(value, Role) else value
        entry = as_entry(value)
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, str) or not content:
            raise PicoGPTError(f"{path} has an added token without text: {shown(value)}")
        if id is not None and not (type(id) is int or (isinstance(id, str) and id.isdecimal() and len(id) < 10)):
            raise PicoGPTError(f"{path}: {shown(content)} has the id {shown(id)}, which should be a whole number")
        special = special or bool(entry.get("special", False))
        first = not entry.get("normalized", not special)
        options = frozenset(option for option in OPTIONS if entry.get(option))
        return AddedToken(content, special, first, None if id is None else int(id), options)


class Role(NamedTuple):
    """An object of special_tokens_map.json; of one in the config transformers sees the token's name too late."""

    entry: dict[str, Any]


def as_entry(value: Any) -> Any:
    return {"content": value} if isinstance(value, str) else value


def as_role(value: Any) -> Any:
    return Role(value) if isinstance(value, dict) else value


def as_list(tokens: Any) -> list[Any]:
    """The tokens of a list, or of an object that names them."""
    return list(tokens.values()) if isinstance(tokens, dict) else tokens if isinstance(tokens, list) else []


def check_overlaps(tokens: Iterable[AddedToken]) -> None:
    """Raise `PicoGPTError` where one token could hide another that transformers would find first."""
    tokens = list(tokens)
    first = [token.content for token in tokens if token.first]
    others = [token.content for token in tokens if not token.first]
    if len(first) * len(others) > MOST_PAIRS or (others and max(map(len, first), default=0) > LONGEST):
        raise PicoGPTError("there are too many added tokens that differ in `normalized`, or they are too long")
    for early in first:
        beginnings = tuple(early[:n] for n in range(1, len(early)))
        for late in others:
            if early in late or late.endswith(beginnings):
                raise PicoGPTError(
                    f"the added tokens {shown(early)} and {shown(late)} overlap, and differ in `normalized`"
                )
