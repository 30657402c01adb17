"""Jobs that need a model: what is sent to another process is how to load it, and it is loaded there once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, Protocol, Self, TypeVar

from picogpt.checkpoints.fingerprint import arrays
from picogpt.checkpoints.loaded import Model
from picogpt.checkpoints.names import flatten
from picogpt.corpus.jobs import Job, Prepared
from picogpt.tokenizers import Tokenizer
from picogpt.types import Params

Check = Callable[[Tokenizer, str], None]  # raises `PicoGPTError` for a text that is not to be encoded


class Reader(Protocol):
    """What reads texts: a model, and how a text begins and where its windows lie."""

    encoder: Tokenizer
    params: Params
    n_head: int
    bos: list[int]
    stride: int

    def encode(self, text: str) -> list[int]:
        """A text's ids; raises `PicoGPTError` where there is nothing to read in it."""


AnyReader = TypeVar("AnyReader", bound=Reader)


def no_check(encoder: Tokenizer, text: str) -> None:
    """The tokenizer itself refuses what must not be in a text."""


class ModelJob(Job[Prepared], Generic[Prepared, AnyReader]):
    """A job whose texts a model reads. The options are those of its reader."""

    def __init__(self, load: Callable[[], Model], check: Check = no_check, **options: Any) -> None:
        self.load, self.check, self.options = load, check, options

    @abstractmethod
    def make_reader(self, model: Model) -> AnyReader:
        """What reads texts with the model as the options say; raises `PicoGPTError` where it cannot."""

    @cached_property
    def reader(self) -> AnyReader:
        return self.make_reader(self.load())

    def with_model(self, model: Model) -> Self:
        """The job with a model that is loaded already, for this process."""
        self.reader = self.make_reader(model)
        return self

    def begin(self) -> None:
        _ = self.reader

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "reader"}

    def n_bytes_of_copy(self) -> int:
        """What the weights take in one more process: nothing if they are mapped from a file."""
        weights = [array for param in flatten(self.reader.params).values() for array in arrays(param)]
        return sum(array.nbytes for array in weights if array.flags.writeable)

    def encode(self, text: str) -> list[int]:
        """A text's ids; raises `PicoGPTError` when there is nothing to read in it."""
        self.check(self.reader.encoder, text)
        return self.reader.encode(text)
