"""What a server serves: a model under its names, and how much of it one request may have."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from picogpt import __version__
from picogpt.checkpoints.names import flatten
from picogpt.errors import PicoGPTError, listed, shown
from picogpt.pretrained import ALIASES, GPT2
from picogpt.server.chat_template import ChatTemplate
from picogpt.server.errors import ApiError, bad
from picogpt.server.scheduler import Scheduler
from picogpt.tokenizers.base import check_ids

LONG = 1 << 12  # characters of a text that is encoded in a thread of its own


@dataclass(frozen=True)
class Limits:
    """Of one request."""

    n_bytes: int = 1 << 20  # of the body
    seconds: float = 30.0  # until all of it must be there
    n_rows: int = 256  # continuations at once
    n_tokens: int = 1 << 16  # that are asked for, of all continuations together
    n_logprobs: int = 5  # alternatives of a token
    n_values: int = 1 << 20  # numbers of an answer in JSON; in binary 64 times as many
    n_traced: int = 1 << 28  # bytes of the values that are kept while they are looked at


@dataclass(frozen=True)
class Served:
    """The model, what runs it, and what may be asked of it."""

    model: GPT2
    scheduler: Scheduler
    name: str
    limits: Limits = Limits()
    template: ChatTemplate | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def n_ctx(self) -> int:
        return self.model.hparams["n_ctx"]

    @property
    def n_vocab(self) -> int:
        return self.model.hparams["n_vocab"]

    @cached_property
    def names(self) -> list[str]:
        """What the model may be called in a request: its name, and where it is a released one its other names."""
        return list(dict.fromkeys([self.name, *(name for row in ALIASES if self.name in row for name in row)]))

    def check_name(self, name: str | None) -> None:
        """Raises a 404 for a model that is not served here; without a name it is the one that is."""
        if name is not None and name not in self.names:
            message = f"there is no model {shown(name)} here; this server has {listed(self.names)}"
            raise ApiError(404, message, "model", "model_not_found")

    @cached_property
    def fingerprint(self) -> str:
        """What OpenAI's API calls so: other weights, another version and another dtype have another one.

        It reads the small arrays only, biases and norms, which any training changes.
        """
        digest = hashlib.sha256(f"{__version__} {json.dumps(self.model.hparams)}".encode())
        for path, param in sorted(flatten(self.model.params).items()):
            digest.update(f"{path} {getattr(param, 'dtype', type(param).__name__)}\n".encode())
            if isinstance(param, np.ndarray) and param.ndim == 1:
                digest.update(param.tobytes())
        return f"fp_{digest.hexdigest()[:10]}"

    async def encode(self, prompt: str | Sequence[int], param: str = "prompt") -> list[int]:
        """A prompt's ids, special tokens included; raises a 400 for what the model cannot read."""
        try:
            if not isinstance(prompt, str):
                ids = check_ids(prompt, self.n_vocab) or self.model.prompt_ids("")
            elif len(prompt) < LONG:
                ids = self.model.prompt_ids(prompt, "all")
            else:
                ids = await asyncio.to_thread(self.model.prompt_ids, prompt, "all")
        except PicoGPTError as error:
            raise bad(str(error), param) from None
        if len(ids) > self.n_ctx:
            message = f"the prompt has {len(ids)} tokens, more than the model's context of {self.n_ctx}; shorten it"
            raise bad(message, param, "context_length_exceeded")
        return ids

    def model_card(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self.created,
            "owned_by": "picogpt",
            "max_model_len": self.n_ctx,
        }


def check_total(served: Served, prompts: Sequence[Sequence[int]], param: str) -> int:
    """How many tokens the prompts have together; raises a 400 for more than one request may have."""
    if (n_tokens := sum(map(len, prompts))) > served.limits.n_tokens:
        raise bad(f"{n_tokens} tokens are more than the {served.limits.n_tokens} of one request", param)
    return n_tokens
