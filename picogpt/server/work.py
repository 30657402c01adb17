"""What the model does for requests that decode nothing, in steps: between them the engine decodes for others."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request

from picogpt.cache import KVCache
from picogpt.inspection import ActivationPatching, Trace
from picogpt.inspection.look import Look, Question
from picogpt.inspection.patching import Kind, patching_steps
from picogpt.performance import hidden_states
from picogpt.pretrained import GPT2
from picogpt.scoring import Scorer, TextScore
from picogpt.scoring.tokens import CHUNK
from picogpt.server.disconnect import unless_gone
from picogpt.server.errors import ApiError
from picogpt.server.scheduler import Closed
from picogpt.server.served import Served
from picogpt.types import Array

T = TypeVar("T")
Steps = Generator[Any, None, T]  # what is yielded does not matter, what is returned is the result


async def in_engine(request: Request, served: Served, steps: Steps[T]) -> T:
    """The result of the steps, made in the engine's thread; they end where the client goes away."""
    try:
        return await unless_gone(request.receive, result_of(served.scheduler.run(lambda: steps)))
    except Closed as error:
        raise ApiError(503, str(error), None, "shutting_down") from None


async def result_of(future: Future[T]) -> T:
    """When this is cancelled, so is the future, and the engine does no more for it."""
    return await asyncio.wrap_future(future)


def mean_states(model: GPT2, prompts: Sequence[Sequence[int]]) -> Steps[list[Array]]:
    """Of each prompt the mean of its last hidden states, `[n_embd]`."""
    means = []
    for ids in prompts:
        cache, parts = KVCache.for_params(model.params, model.hparams["n_head"], (), len(ids)), []
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            parts.append(hidden_states(chunk, **model.params, n_head=model.hparams["n_head"], cache=cache))
            yield
        means.append(np.concatenate(parts).mean(axis=0))
    return means


def scores(scorer: Scorer, texts: Sequence[tuple[str, list[int]]]) -> Steps[list[TextScore]]:
    """Of each text, which comes with its ids, its score."""
    found = []
    for text, ids in texts:
        found.append((yield from scorer.steps(text, ids)))
    return found


def ranked(scorer: Scorer, prefix: str, choices: Sequence[str]) -> Steps[list[dict[str, Any]]]:
    """The choices that could continue the prefix, the likeliest first."""
    yield
    return scorer.choices(prefix, choices)


def look(model: GPT2, ids: Sequence[int], question: Question) -> Steps[tuple[dict[str, Any], Trace]]:
    """What is asked of a prompt, and the values that it was made from."""
    found = Look(model, ids, question)
    found.values  # noqa: B018  # the pass is a step of its own
    yield
    return found.report(), found.values


def patch(
    model: GPT2, clean: Sequence[int], corrupted: Sequence[int], target: int, foil: int | None, kinds: Sequence[Kind]
) -> Steps[ActivationPatching]:
    return patching_steps(clean, corrupted, model.params, model.hparams["n_head"], target, foil, kinds)
