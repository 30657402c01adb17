"""Tokens that were added to a vocabulary, and roles of its tokens, as transformers keeps them beside it.

tokenizer_config.json has it all in newer models; in older ones special_tokens_map.json and added_tokens.json have a
part. What counts, and which id a token gets, is as in transformers 5. Files to which its versions give different
meanings are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_object
from picogpt.tokenizers.base import END_OF_TEXT

TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MORE_ROLES = ("extra_special_tokens", "additional_special_tokens")  # lists; the second is the older name
OWN_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")  # all that they know is in tokenizer.json
LEAVE_OUT = "picogpt reads a text as it is: take that out, and write the tokens in the text"


class AddedToken(NamedTuple):
    content: str
    special: bool
    first: bool  # found before the others, in all of the text
    id: int | None  # as a file says


class Settings(NamedTuple):
    """What the three files say."""

    directory: Path
    config: dict[str, Any]  # tokenizer_config.json
    roles: dict[str, Any]  # the roles that special_tokens_map.json gives
    added: dict[str, Any]  # added_tokens.json
    is_generic: bool  # whether tokenizer.json counts before the config
    prefix_space: bool | None

    @classmethod
    def read(cls, directory: Path) -> Settings:
        """Raises `PicoGPTError` for what picogpt does not do."""

        def content(name: str) -> dict[str, Any]:
            return read_object(directory / name) if (directory / name).is_file() else {}

        config, path = content(TOKENIZER_CONFIG), directory / TOKENIZER_CONFIG
        name = config.get("tokenizer_class")
        if name not in (*OWN_CLASSES, *GENERIC_CLASSES):
            raise PicoGPTError(f"{path} says that the ids are those of {shown(name)}, which picogpt does not read")
        has_json = (directory / "tokenizer.json").is_file()  # which says it in its own way, and then counts
        for key in () if has_json else ("add_bos_token", "add_eos_token"):
            if config.get(key):
                raise PicoGPTError(f"{path} puts a token at every text's end or beginning ({key}); {LEAVE_OUT}")
        prefix_space = config.get("add_prefix_space")
        if prefix_space not in (None, True, False):
            raise PicoGPTError(f"{path}: add_prefix_space should be true or false, not {shown(prefix_space)}")
        old = "added_tokens_decoder" not in config  # else the two older files do not count
        roles = content(SPECIAL_TOKENS_MAP) if old else {}
        added = content(ADDED_TOKENS) if old else {}
        return cls(directory, config, roles, added, has_json and name in GENERIC_CLASSES, prefix_space)

    def added_tokens(self, ids: dict[str, int], in_tokenizer_json: Iterable[Any] = ()) -> dict[str, bool]:
        """The tokens that are found in the text itself, and whether they are special; those that are new get ids.

        Raises `PicoGPTError` where a file gives a token another id than the next one, or asks for what is not done.
        """
        found: dict[str, AddedToken] = {}
        for token in (*self._listed(in_tokenizer_json), *self._with_roles()):
            known = found.setdefault(token.content, token)
            if token.special and not known.special:
                found[token.content] = known._replace(special=True)
            i = ids.setdefault(token.content, len(ids))
            if token.id not in (None, i):
                raise PicoGPTError(
                    f"{self.directory} gives the added token {shown(token.content)} the id {token.id}, but {i} is "
                    f"what transformers reads: added tokens have the ids after the vocabulary's, without a gap"
                )
        check_overlaps(found.values())
        return {name: token.special for name, token in found.items()}

    def _listed(self, in_tokenizer_json: Iterable[Any]) -> list[AddedToken]:
        """The tokens that the files list with their ids, by id."""
        by_id: dict[int, AddedToken] = {}
        special = {token.content for token in self._with_roles()}

        def add(token: Any, i: Any, source: str) -> None:
            path = self.directory / source
            if not (type(i) is int or (isinstance(i, str) and i.isdecimal())):
                raise PicoGPTError(f"{path}: an added token has the id {shown(i)}, which should be a whole number")
            by_id[int(i)] = as_token(token, path, id=int(i))

        listed = self.config.get("added_tokens_decoder", {})
        if not isinstance(listed, dict):
            raise PicoGPTError(f"{self.directory / TOKENIZER_CONFIG}: added_tokens_decoder should be an object")
        for content, i in self.added.items():
            is_special = content in special
            add({"content": content, "special": is_special, "normalized": not is_special}, i, ADDED_TOKENS)
        if self.is_generic or "added_tokens_decoder" not in self.config:
            for token in in_tokenizer_json:
                add(token, token.get("id") if isinstance(token, dict) else None, "tokenizer.json")
        for i, token in listed.items():
            add(token, i, TOKENIZER_CONFIG)
        return [token for _, token in sorted(by_id.items())]

    def _with_roles(self) -> Iterator[AddedToken]:
        """The tokens that have a role, in transformers' order. Where a config exists, it has default roles."""
        roles = self.config | self.roles
        if roles and not self.is_generic:
            roles = dict.fromkeys(ROLES[:3], END_OF_TEXT) | roles
        others = [key for key in roles if key.endswith("_token") and key not in ROLES]
        named = [roles.get(key) for key in (*ROLES, *others)]
        lists = [tokens for tokens in map(roles.get, MORE_ROLES) if tokens][:1]
        more = [token for tokens in lists for token in (tokens.values() if isinstance(tokens, dict) else tokens)]
        for token in (*named, *more):
            if isinstance(token, str | dict):
                yield as_token(token, self.directory / TOKENIZER_CONFIG, special=True)


def as_token(value: Any, path: Path, *, id: int | None = None, special: bool = False) -> AddedToken:
    """A token from a file: a string, or an object that says more; raises `PicoGPTError` for what is not done."""
    entry = value if isinstance(value, dict) else {"content": value}
    content = entry.get("content")
    if not isinstance(content, str) or not content:
        raise PicoGPTError(f"{path} has an added token without text: {shown(value)}")
    for option in ("single_word", "lstrip", "rstrip"):
        if entry.get(option):
            raise PicoGPTError(f"{path}: the token {shown(content)} has {option}, which picogpt does not do")
    special = special or bool(entry.get("special", False))
    return AddedToken(content, special, not entry.get("normalized", not special), id)


def check_overlaps(tokens: Iterable[AddedToken]) -> None:
    """Raise `PicoGPTError` where one token could hide another that transformers would find first."""
    tokens = list(tokens)
    for early in (token.content for token in tokens if token.first):
        for late in (token.content for token in tokens if not token.first):
            if early in late or any(late.endswith(early[:n]) for n in range(1, len(early))):
                raise PicoGPTError(
                    f"the added tokens {shown(early)} and {shown(late)} overlap, and differ in `normalized`"
                )
