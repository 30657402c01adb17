"""What there is of a model once its files have been read."""

from __future__ import annotations

from typing import Protocol

from picogpt.tokenizers import Tokenizer
from picogpt.types import HParams, Params


class Model(Protocol):
    """What is needed of a model to score texts with it and to look inside: any that `picogpt.load` gives has it."""

    @property
    def encoder(self) -> Tokenizer:
        """Makes ids of texts, and says which text a token is."""

    @property
    def hparams(self) -> HParams:
        """The model's sizes."""

    @property
    def params(self) -> Params:
        """The parameter tree."""
