"""Rows that join, leave and end side by side are what each of them is alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt import pretrained
from picogpt.decoding import sampling
from picogpt.decoding.loop import Options, Token, decode, generate
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2
from picogpt.performance.layout import for_decoding
from picogpt.server.batch import Batch
from picogpt.server.requests import Done, Event, Failure, PromptScores, Request
from picogpt.server.row import Row
from picogpt.types import Ids, Params
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(11))
SHAKESPEARE = pretrained.load("shakespeare")
GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "shakespeare_greedy.json").read_text())
MANY = 1 << 28  # bytes


def stop_at_a_pair(written: Ids) -> bool:
    return len(written) > 1 and bool(written[-1] == written[-2])


def options(kind: int) -> Options:
    """New ones each time, as a generator is used up."""
    kinds: list[Options] = [
        {},
        {"rng": 7, "n_top": 3},
        {"rng": np.random.default_rng(2), "transforms": [sampling.repetition_penalty(2.0), sampling.top_p(0.9)]},
        {"transforms": [sampling.no_repeat_ngram(2)], "eot_token": [*range(0, N_VOCAB, 7)]},
        {"rng": 5, "stop": stop_at_a_pair, "eot_token": 3},
    ]
    return kinds[kind]


class Client:
    """One request and what came of it."""

    def __init__(self, ids: Sequence[int], n_tokens: int, kind: int = 0, **request: Any) -> None:
        self.events: list[Event] = []
        self.ids, self.n_tokens, self.kind = ids, n_tokens, kind
        self.request = Request(ids, n_tokens, self.events.append, options(kind), **request)
        self.row: Row

    def joins(self, batch: Batch, params: Params) -> None:
        self.row = Row(self.request, params)
        batch.join(self.row)

    @property
    def tokens(self) -> list[Token]:
        return [event for event in self.events if isinstance(event, Token)]

    @property
    def done(self) -> Done:
        assert isinstance(self.events[-1], Done), self.events[-1]
        return self.events[-1]

    @property
    def scores(self) -> PromptScores:
        assert isinstance(self.events[0], PromptScores)
        return self.events[0]

    def expected(self, params: Params, n_head: int) -> list[Token]:
        return list(decode([self.ids], params, n_head, self.n_tokens, **options(self.kind)))


def served(clients: Sequence[Client], params: Params, n_head: int, batch: Batch | None = None) -> Batch:
    """All of them at once, until all have ended."""
    batch = batch or Batch(params, n_head, 64, MANY)
    for client in clients:
        client.joins(batch, params)
    while batch.n_rows:
        batch.step()
    return batch


def assert_same(tokens: list[Token], expected: list[Token]) -> None:
    assert [(t.id, t.finish_reason) for t in tokens] == [(t.id, t.finish_reason) for t in expected]
    for token, other in zip(tokens, expected, strict=True):
        if other.logprob is not None:
            assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert [x for _, x in token.top] == pytest.approx([x for _, x in other.top], abs=1e-4)


class Turn(NamedTuple):
    """One client's part in a random plan."""

    begin: int  # the step at which it joins
    n: int  # tokens of its prompt
    text: int  # of which that is the beginning
    n_tokens: int  # to decode
    kind: int  # of options
    cancel: int | None  # the step at which it is cancelled


def plans(n_longest: int, n_tokens: int) -> st.SearchStrategy[list[Turn]]:
    cancel = st.one_of(st.none(), st.none(), st.integers(0, 30))
    numbers = (st.integers(0, 20), st.integers(1, n_longest), st.integers(0, 2), st.integers(0, n_tokens))
    return st.lists(st.builds(Turn, *numbers, st.integers(0, 4), cancel), min_size=1, max_size=9)


def assert_each_is_what_it_is_alone(
    plan: list[Turn], params: Params, n_head: int, chunk: int, cache_bytes: int
) -> None:
    """With three texts, two of which begin alike. Who is cancelled has got the beginning, and then nothing."""
    n_ctx = len(params["wpe"])
    texts = np.random.default_rng(3).integers(N_VOCAB, size=(3, n_ctx))
    texts[1, :11] = texts[0, :11]
    batch = Batch(params, n_head, chunk, cache_bytes)
    clients = [Client(texts[turn.text, : turn.n].tolist(), turn.n_tokens, turn.kind) for turn in plan]
    n_events: dict[int, int] = {}  # of those who are cancelled, until then
    step = 0
    while step <= 30 or batch.n_rows:
        for i, (client, turn) in enumerate(zip(clients, plan, strict=True)):
            if step == turn.begin:
                client.joins(batch, params)
            if turn.cancel is not None and step == max(turn.cancel, turn.begin):
                client.row.ticket.cancel()
                n_events[i] = len(client.events)
        batch.step()
        step += 1
    for i, (client, turn) in enumerate(zip(clients, plan, strict=True)):
        expected = client.expected(params, n_head)
        if turn.cancel is None:
            assert_same(client.tokens, expected)
            assert client.done.finish_reason == ((expected[-1].finish_reason if expected else None) or "length")
            assert client.done.n_generated == len(expected)
        else:
            assert len(client.events) == n_events[i], "an event came after the request was cancelled"
            assert_same(client.tokens, expected[: len(client.tokens)])
    assert batch.counts.n_finished == len(clients)
    assert batch.prefixes.nbytes == sum(past.nbytes for past in batch.prefixes.pasts) <= cache_bytes


@settings(deadline=None, derandomize=True, max_examples=50)
@given(plans(N_CTX, N_CTX + 3), st.sampled_from([1, 5, 64]), st.sampled_from([0, 30_000, MANY]))
def test_whoever_joins_and_leaves_each_row_is_what_it_is_alone(plan: list[Turn], chunk: int, cache_bytes: int) -> None:
    assert_each_is_what_it_is_alone(plan, PARAMS, N_HEAD, chunk, cache_bytes)


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=8)
@given(plans(70, 20), st.sampled_from([1, 48, 64]), st.sampled_from([0, MANY]))
def test_so_it_is_in_float32_with_the_shipped_model(plan: list[Turn], chunk: int, cache_bytes: int) -> None:
    """Where rounding differs from company to company, and from a text that is read to one that is remembered."""
    n_head = SHAKESPEARE.hparams["n_head"]
    assert_each_is_what_it_is_alone(plan, for_decoding(SHAKESPEARE.params), n_head, chunk, cache_bytes)


@pytest.mark.parametrize(
    ("kind", "n_tokens"),
    [pytest.param(0, (200, 40, 200, 100), marks=pytest.mark.slow), (1, (30, 9, 40)), (2, (30, 9, 40))],
)
def test_in_float32_the_shipped_model_writes_the_same_text_in_any_company(kind: int, n_tokens: tuple[int, ...]) -> None:
    """Two logits of the third golden prompt are 3e-6 apart: beside others the other one was larger."""
    params, n_head = for_decoding(SHAKESPEARE.params), SHAKESPEARE.hparams["n_head"]
    clients = [Client(ids, n, kind) for ids, n in zip(GOLDEN["prompt_ids"], n_tokens, strict=False)]
    batch = served(clients, params, n_head)
    for client in clients:
        assert_same(client.tokens, client.expected(params, n_head))
    if kind == 0:
        assert batch.counts.n_again > 0
    assert batch.counts.n_again < batch.counts.n_generated + batch.counts.n_prompt, "nothing is read again twice"


def test_inexact_requests_read_nothing_again() -> None:
    params, n_head = for_decoding(SHAKESPEARE.params), SHAKESPEARE.hparams["n_head"]
    clients = [Client(ids, 60, 1, exact=False) for ids in GOLDEN["prompt_ids"]]
    assert served(clients, params, n_head).counts.n_again == 0


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 128, 129, 190])
def test_alone_it_is_decoding_bit_for_bit(n: int) -> None:
    """Its pieces of a prompt are those that decoding computes attention in, so nothing is ever read again."""
    params, n_head = for_decoding(SHAKESPEARE.params), SHAKESPEARE.hparams["n_head"]
    client = Client(np.random.default_rng(n).integers(1024, size=n).tolist(), 20, 1)
    batch = served([client], params, n_head)
    assert client.tokens == client.expected(params, n_head)
    assert batch.counts.n_again == 0


def test_prompt_scores_are_the_models_own_however_much_was_known() -> None:
    """Read in pieces, from the cache in part, and from the cache as a whole; with and without tokens to decode."""
    ids = np.random.default_rng(4).integers(N_VOCAB, size=23).tolist()
    logprob = sampling.log_softmax(gpt2(ids, **PARAMS, n_head=N_HEAD))
    batch = Batch(PARAMS, N_HEAD, 1, MANY)
    for n, n_tokens, n_cached in ((9, 0, 0), (23, 2, 9), (23, 0, 22), (23, 0, 22), (1, 0, 0), (1, 3, 0)):
        client = Client(ids[:n], n_tokens, 1, prompt_logprobs=True)
        served([client], PARAMS, N_HEAD, batch)
        assert client.done.n_cached == n_cached
        assert client.done.n_generated == len(client.tokens) == n_tokens
        scores = client.scores
        assert scores.logprob[0] is None
        assert scores.top[0] == ()
        assert scores.logprob[1:] == pytest.approx([logprob[i, ids[i + 1]] for i in range(n - 1)], abs=1e-12)
        for i, top in enumerate(scores.top[1:]):
            assert [token for token, _ in top] == np.argsort(-logprob[i])[:3].tolist()


def test_a_conversation_is_read_once() -> None:
    """The next prompt is the last one, what was written after it, and more."""
    batch = Batch(PARAMS, N_HEAD, 64, MANY)
    first = Client([5, 7, 11], 6)
    served([first], PARAMS, N_HEAD, batch)
    ids = [5, 7, 11, *(token.id for token in first.tokens), 13]
    second = Client(ids, 4)
    served([second], PARAMS, N_HEAD, batch)
    assert second.done.n_cached == 3 + 5  # the newest token had not been read
    assert_same(second.tokens, second.expected(PARAMS, N_HEAD))
    assert len(batch.prefixes.pasts) == 1, "the first text is the beginning of the second"


def test_a_beginning_that_several_read_at_once_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picogpt.server.batch.FEW", 0)
    ids = np.random.default_rng(4).integers(N_VOCAB, size=N_CTX - 3).tolist()
    batch = Batch(PARAMS, N_HEAD, 5, MANY)
    clients = [Client([*ids, i], 2) for i in range(4)]
    served(clients, PARAMS, N_HEAD, batch)
    for client in clients:
        assert_same(client.tokens, client.expected(PARAMS, N_HEAD))
    assert [client.done.n_cached for client in clients] == [0, *3 * [len(ids)]]


def test_whoever_waits_for_a_beginning_goes_on_when_the_other_is_gone() -> None:
    ids = np.random.default_rng(4).integers(N_VOCAB, size=N_CTX - 3).tolist()
    batch = Batch(PARAMS, N_HEAD, 1, MANY)
    first, second = Client(ids, 2), Client(ids, 2)
    for client in (first, second):
        client.joins(batch, PARAMS)
    batch.step()
    assert [len(batch.rows), len(batch.joining)] == [1, 1]
    first.row.ticket.cancel()
    while batch.n_rows:
        batch.step()
    assert_same(second.tokens, second.expected(PARAMS, N_HEAD))
    assert not first.events


def test_a_running_row_gets_a_token_with_every_piece_of_a_long_prompt() -> None:
    batch = Batch(PARAMS, N_HEAD, 3, MANY)
    running = Client([1, 2], N_CTX)
    running.joins(batch, PARAMS)
    batch.step()
    n_before = len(running.events)
    long, short = Client(list(range(N_CTX - 2)), 1), Client([3, 5], 1)
    long.joins(batch, PARAMS)
    short.joins(batch, PARAMS)
    n_steps = 0
    while not long.events:
        n_read = long.row.past.length if long.row in batch.rows else 0
        batch.step()
        n_steps += 1
        assert len(running.events) == n_before + n_steps
        if long.row in batch.rows:
            assert long.row.past.length - n_read <= 3
        assert short.events or n_steps < 3, "the short prompt did not have to wait for the long one"


def test_a_request_that_fails_fails_alone() -> None:
    """Whatever it is: no token is left, a transform or `receive` raises, logits become infinite."""

    def raises(*_: object) -> Any:
        raise KeyError("a bug")

    others = [Client([3, 5], 8, kind) for kind in range(2)]
    bad: list[tuple[Options, str]] = [
        ({"transforms": [sampling.banned_tokens(range(N_VOCAB))]}, "no token is left"),
        ({"transforms": [sampling.banned_tokens([N_VOCAB])]}, "outside the vocabulary"),
        ({"transforms": [raises]}, "the request failed: KeyError('a bug')"),
        ({"stop": raises}, "the request failed: KeyError('a bug')"),
    ]
    clients = [Client([3, 5, 7], 8) for _ in bad]
    for client, (wrong, _) in zip(clients, bad, strict=True):
        client.request = Request(client.ids, 8, client.events.append, wrong)
    deaf = Client([3, 7], 8)
    deaf.request = Request(deaf.ids, 8, raises)
    batch = served([*clients, *others, deaf], PARAMS, N_HEAD)
    for client, (_, message) in zip(clients, bad, strict=True):
        assert isinstance(client.events[-1], Failure)
        assert message in str(client.events[-1].error)
        assert isinstance(client.events[-1].error, PicoGPTError)
    for client in others:
        assert_same(client.tokens, client.expected(PARAMS, N_HEAD))
    assert batch.counts.n_finished == 7


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_not_finite_are_named_and_nothing_of_them_is_remembered() -> None:
    params = random_params(np.random.default_rng(11))
    params["blocks"][1]["mlp"]["c_fc"]["b"][3] = np.nan
    clients = [Client([3, 5], 2), Client([7], 0, prompt_logprobs=True), Client([7, 11], 0, prompt_logprobs=True)]
    batch = served(clients, params, N_HEAD)
    for client in clients[::2]:
        assert isinstance(client.events[0], Failure)
        assert "blocks.1.mlp.c_fc.b" in str(client.events[0].error)
    assert len(batch.prefixes.pasts) == 1  # of the prompt without a score, of which nobody has seen a number


def test_a_pass_that_fails_takes_nobody_after_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    batch = Batch(PARAMS, N_HEAD, 64, MANY)
    first = Client([3, 5], 2)
    with monkeypatch.context() as patch:
        patch.setattr("picogpt.server.batch.ragged_hidden_states", no_memory)
        served([first], PARAMS, N_HEAD, batch)
    assert str(first.events[-1].error) == "the request failed: MemoryError()"  # type: ignore[union-attr]
    second = Client([3, 5], 2)
    served([second], PARAMS, N_HEAD, batch)
    assert [token.id for token in second.tokens] == generate([3, 5], PARAMS, N_HEAD, 2)


@pytest.mark.parametrize(
    ("ids", "n_tokens", "message"),
    [
        ([], 1, "the prompt is empty"),
        ([1] * (N_CTX + 1), 1, "more than the model's context"),
        ([N_VOCAB], 1, "outside the vocabulary"),
        ([1], -1, "the number of tokens"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_refused_at_once(ids: list[int], n_tokens: int, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        Row(Client(ids, n_tokens).request, PARAMS)
