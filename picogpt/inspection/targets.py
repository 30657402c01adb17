"""What an analysis is about: one token of the vocabulary, at one position of a prompt."""

from __future__ import annotations

import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.model import as_ids
from picogpt.tokenizers import Tokenizer, token_bytes
from picogpt.types import Array, Ids, Params


def token_texts(encoder: Tokenizer, ids: Ids | list[int]) -> list[str]:
    """What each token adds to the text; a piece of a character is U+FFFD."""
    return [piece.decode("utf-8", "replace") for piece in token_bytes(encoder, ids)]


def token_id(encoder: Tokenizer, text: str) -> int:
    """The id of a text that is one token; raises `PicoGPTError` for any other, and says which tokens it is."""
    ids = encoder.encode(text)
    if len(ids) == 1:
        return ids[0]
    pieces = ", ".join(map(repr, token_texts(encoder, ids)))
    raise PicoGPTError(f"{text!r} is {len(ids)} tokens{': ' if ids else ''}{pieces}; choose a text that is one token")


def logit_direction(params: Params, target: int, foil: int | None = None) -> Array:  # -> [n_embd]
    """What the last hidden state is multiplied by to give the target's logit, or its logit less the foil's.

    Raises `PicoGPTError` for a token outside the vocabulary.
    """
    n_vocab, output = params["wte"].shape[0], params["wte"].T.T  # some models' output layer is not their embedding
    for token in (target, foil):
        if token is not None and not 0 <= token < n_vocab:
            raise PicoGPTError(f"token id {token} is outside the vocabulary, which has ids 0 to {n_vocab - 1}")
    rows = output[[target]] if foil is None else output[[target]] - output[[foil]]
    return rows[0]


def prompt_ids(inputs: npt.ArrayLike) -> Ids:  # [n_seq] or [batch, n_seq]
    """The ids as an array; raises `PicoGPTError` where there are none, and for what the model refuses."""
    ids = as_ids(inputs)
    if not ids.size:
        raise PicoGPTError("the prompt has no tokens, so there is nothing to look at")
    return ids


def position_in(ids: Ids, position: int) -> int:
    """The position, counted from the front; raises `PicoGPTError` for one that the prompt does not have."""
    n_seq = ids.shape[-1]
    if not -n_seq <= position < n_seq:
        raise PicoGPTError(f"there is no position {position}, the prompt has positions 0 to {n_seq - 1}")
    return position % n_seq


def check_same_shape(ids: Ids, others: Ids) -> None:
    """Raises `PicoGPTError` unless the values of one prompt fit into the pass over the other."""
    if ids.shape != others.shape:
        lengths = f"{ids.shape[-1]} and {others.shape[-1]} tokens"
        shapes = lengths if ids.ndim == others.ndim == 1 else f"ids of shape {ids.shape} and {others.shape}"
        raise PicoGPTError(f"the two prompts have {shapes}; to patch one from the other they must have the same")
