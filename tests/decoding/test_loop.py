"""The decoding loop: against transformers' ids, against picoGPT's way of recomputing everything, and its ends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt import pretrained
from picogpt.checkpoints import flatten, nest
from picogpt.decoding import rows, sampling
from picogpt.decoding.loop import Continuation, Token, decode, generate, generate_batch, generate_stream, largest_n
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2, hidden_states
from picogpt.types import Ids
from tests.random_model import N_CTX, N_HEAD, N_VOCAB, random_params

PARAMS = random_params(np.random.default_rng(11))
PROMPTS = [[5, 7, 11, 2, 3], [13], [17, 19, 23, 29, 31, 37, 41, 43, 47], [53, 59]]


GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "shakespeare_greedy.json").read_text())


def recomputed(prompt: Sequence[int], n: int, eot_token: int | None = None, slide: bool = False) -> list[int]:
    """picoGPT's loop: the whole text through the model for every token."""
    text, begin = list(prompt), 0
    while len(text) < len(prompt) + n:
        if len(text) - begin > N_CTX:
            begin = len(text) - N_CTX // 2
        best = int(gpt2(text[begin:], **PARAMS, n_head=N_HEAD)[-1].argmax())
        if best == eot_token or (not slide and len(text) == N_CTX):
            break
        text.append(best)
    return text[len(prompt) :]


def test_greedy_ids_equal_transformers() -> None:
    """One prompt alone, and all of them side by side: in float64, as two logits on the way are only 3e-6 apart."""
    model = pretrained.load("shakespeare")
    prompts, expected = GOLDEN["prompt_ids"], GOLDEN["greedy_ids_200"]
    n, n_head = len(expected[0]), model.hparams["n_head"]
    assert generate(prompts[1], model.params, n_head, n) == expected[1]
    params = nest({name: array.astype(np.float64) for name, array in flatten(model.params).items()})
    assert decode_ids(prompts, params, n_head, n) == expected


def decode_ids(*args: Any, **options: Any) -> list[list[int]]:
    return [continuation.ids for continuation in generate_batch(*args, **options)]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("n", [0, 1, 6, 2 * N_CTX])
def test_greedy_is_what_recomputing_everything_gives(prompt: list[int], n: int) -> None:
    assert generate(prompt, PARAMS, N_HEAD, n) == recomputed(prompt, n)


@pytest.mark.parametrize("prompt", [PROMPTS[0], [3] * N_CTX])
def test_slide_continues_after_the_last_half_of_the_window(prompt: list[int]) -> None:
    ids = generate(prompt, PARAMS, N_HEAD, 3 * N_CTX, slide=True)
    assert ids == recomputed(prompt, 3 * N_CTX, slide=True)
    assert len(ids) == 3 * N_CTX


def test_prompt_and_continuation_fill_the_context_exactly() -> None:
    (continuation,) = generate_batch([PROMPTS[0]], PARAMS, N_HEAD, 3 * N_CTX)
    assert len(continuation.ids) == N_CTX - len(PROMPTS[0])
    assert continuation.finish_reason == "length"
    assert generate([3] * N_CTX, PARAMS, N_HEAD, 3) == []


def test_the_callers_prompt_is_not_touched() -> None:
    """picoGPT appends to the list it is given."""
    prompt = list(PROMPTS[0])
    generate(prompt, PARAMS, N_HEAD, 5)
    assert prompt == PROMPTS[0]
    assert generate(np.array(prompt), PARAMS, N_HEAD, 5) == generate(prompt, PARAMS, N_HEAD, 5)  # type: ignore[arg-type]  # an array serves too


def test_the_stream_yields_each_id_before_the_next_is_computed() -> None:
    stream = generate_stream(PROMPTS[0], PARAMS, N_HEAD, 5)
    assert [next(stream), next(stream)] == generate(PROMPTS[0], PARAMS, N_HEAD, 2)
    assert list(stream) == generate(PROMPTS[0], PARAMS, N_HEAD, 5)[2:]


def test_the_end_token_ends_a_row_and_is_not_part_of_it() -> None:
    ids = generate(PROMPTS[0], PARAMS, N_HEAD, 20)
    eot_token = ids[7]
    expected = ids[: ids.index(eot_token)]
    (continuation,) = generate_batch([PROMPTS[0]], PARAMS, N_HEAD, 20, eot_token=eot_token)
    assert continuation.ids == expected == generate(PROMPTS[0], PARAMS, N_HEAD, 20, eot_token=eot_token)
    assert continuation.finish_reason == "eos"
    assert continuation.tokens[-1].id == eot_token


def test_a_stop_criterion_sees_what_was_written_and_not_the_prompt() -> None:
    seen: list[list[int]] = []

    def stop(written: Ids) -> bool:
        seen.append(written.tolist())
        return len(written) == 4

    (continuation,) = generate_batch([PROMPTS[0]], PARAMS, N_HEAD, 20, stop=stop)
    ids = generate(PROMPTS[0], PARAMS, N_HEAD, 4)
    assert continuation == (continuation.tokens, "stop")
    assert continuation.ids == ids
    assert seen == [ids[: n + 1] for n in range(4)]


@pytest.mark.parametrize("slide", [False, True])
def test_each_row_of_a_ragged_batch_is_what_it_is_alone(slide: bool) -> None:
    """Rows end at different times here, and slide at different times."""
    n = 2 * N_CTX
    rows = decode_ids(PROMPTS, PARAMS, N_HEAD, n, slide=slide)
    assert rows == [generate(prompt, PARAMS, N_HEAD, n, slide=slide) for prompt in PROMPTS]


def test_rows_that_ended_are_no_longer_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    n_rows = []

    def counted(inputs: Any, **arguments: Any) -> Any:
        n_rows.append(len(inputs))
        return hidden_states(inputs, **arguments)

    monkeypatch.setattr("picogpt.decoding.rows.hidden_states", counted)
    ends = iter([3, 2, 1, 1] * 99)
    rows = generate_batch(PROMPTS, PARAMS, N_HEAD, 6, stop=lambda written: len(written) == next(ends))
    assert n_rows[0] == 4
    assert n_rows == sorted(n_rows, reverse=True)
    assert sum(n_rows) == sum(len(row.tokens) for row in rows)


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, N_VOCAB - 1), min_size=1, max_size=N_CTX), max_size=5), st.data())
@settings(deadline=None, derandomize=True, max_examples=40)
def test_any_batch_equals_its_rows_alone(prompts: list[list[int]], data: st.DataObject) -> None:
    options: dict[str, Any] = {
        "slide": data.draw(st.booleans()),
        "eot_token": data.draw(st.integers(0, N_VOCAB - 1)),
        "transforms": [sampling.no_repeat_ngram(2), sampling.repetition_penalty(1.2)],
    }
    rows = generate_batch(prompts, PARAMS, N_HEAD, N_CTX, **options)
    for prompt, row in zip(prompts, rows, strict=True):
        assert row.ids == generate(prompt, PARAMS, N_HEAD, N_CTX, **options)


def test_a_rows_draws_do_not_depend_on_the_rows_beside_it() -> None:
    options: Any = {"rng": 3, "transforms": [sampling.temperature(4)]}
    together = decode_ids(PROMPTS, PARAMS, N_HEAD, 15, **options)
    assert together[:2] == decode_ids(PROMPTS[:2], PARAMS, N_HEAD, 15, **options)
    samples = decode_ids(PROMPTS[:1], PARAMS, N_HEAD, 15, n_samples=4, **options)
    assert samples[0] == together[0] == generate(PROMPTS[0], PARAMS, N_HEAD, 15, **options)
    assert samples[:2] == decode_ids(PROMPTS[:1], PARAMS, N_HEAD, 15, n_samples=2, **options)
    assert len({tuple(ids) for ids in samples}) == 4


def test_rows_of_samples_are_in_the_order_of_their_prompts() -> None:
    """Row i * n_samples + j is prompt i's j-th continuation, also when a full prompt before it has none."""
    prompts = [[3] * N_CTX, *PROMPTS[:2]]
    rows = generate_batch(prompts, PARAMS, N_HEAD, 9, rng=5, n_samples=3)
    assert [len(row.ids) for row in rows] == [0] * 3 + [9] * 6
    for i, prompt in enumerate(prompts):
        repeated = generate_batch([prompt] * 9, PARAMS, N_HEAD, 9, rng=5)
        assert [row.ids for row in rows[3 * i : 3 * i + 3]] == [row.ids for row in repeated[3 * i : 3 * i + 3]]


def test_the_same_seed_gives_the_same_ids_and_a_generator_moves_on() -> None:
    seeded = [generate(PROMPTS[0], PARAMS, N_HEAD, 15, rng=np.random.default_rng(2)) for _ in range(2)]
    assert seeded[0] == seeded[1] == generate(PROMPTS[0], PARAMS, N_HEAD, 15, rng=2)
    rng = np.random.default_rng(2)
    assert generate(PROMPTS[0], PARAMS, N_HEAD, 15, rng=rng) != generate(PROMPTS[0], PARAMS, N_HEAD, 15, rng=rng)


@pytest.mark.parametrize("n", [0, 1, 5, 36, 37, 40])
def test_the_largest_are_those_of_a_stable_sort(n: int) -> None:
    """Of equal ones the first, also where some of them are among the n and others are not."""
    x = np.random.default_rng(n).integers(5, size=37).astype(np.float64)
    assert largest_n(x, n) == np.argsort(-x, kind="stable")[:n].tolist()


def test_log_probabilities_are_the_models_own() -> None:
    """Before any transform, of the chosen token and of the best ones."""
    options: Any = {"transforms": [sampling.temperature(0.5), sampling.top_k(3)], "rng": 1, "n_top": 4}
    tokens = list(decode([PROMPTS[0]], PARAMS, N_HEAD, 6, **options))
    text = PROMPTS[0] + [token.id for token in tokens]
    log_probs = sampling.log_softmax(gpt2(text, **PARAMS, n_head=N_HEAD))[len(PROMPTS[0]) - 1 :]
    for token, row in zip(tokens, log_probs, strict=False):
        assert token.logprob == pytest.approx(row[token.id], abs=1e-10)
        assert [i for i, _ in token.top] == np.argsort(-row)[:4].tolist()
        assert [logprob for _, logprob in token.top] == pytest.approx(np.sort(row)[:-5:-1], abs=1e-10)


def test_no_prompts_give_no_continuations() -> None:
    assert generate_batch([], PARAMS, N_HEAD, 5) == []
    assert generate_batch([[1]], PARAMS, N_HEAD, 0) == [Continuation([], "length")]


@pytest.mark.parametrize(
    ("prompt", "n", "message"),
    [
        ([], 3, "the prompt is empty"),
        ([1] * (N_CTX + 1), 3, f"the prompt has {N_CTX + 1} tokens, more than the model's context of {N_CTX}"),
        ([1], -1, "must be 0 or more, not -1"),
        ([1, N_VOCAB], 3, f"token id {N_VOCAB} is outside the vocabulary"),
    ],
)
def test_prompts_that_cannot_be_read(prompt: list[int], n: int, message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        generate(prompt, PARAMS, N_HEAD, n)


@pytest.mark.parametrize("options", [{}, {"rng": 0}, {"lookup": True}, {"rng": 0, "lookup": True}, {"n_samples": 3}])
def test_no_token_left_is_an_error(options: dict[str, Any]) -> None:
    """Token 0 was written, again and again: the first maximum where every logit is −inf."""
    every_token = sampling.banned_tokens(range(N_VOCAB))
    with pytest.raises(PicoGPTError, match="no token is left to choose from"):
        generate_batch([[1]], PARAMS, N_HEAD, 3, transforms=[every_token, sampling.top_p(0.9)], **options)
    written: list[Token] = []
    tokens = decode([[1]], PARAMS, N_HEAD, 99, slide=True, transforms=[sampling.no_repeat_ngram(1)], **options)
    with pytest.raises(PicoGPTError, match="no token is left to choose from"):
        written.extend(tokens)
    for row in range(options.get("n_samples", 1)):
        assert sorted(token.id for token in written if token.row == row) == [0, *range(2, N_VOCAB)]


@pytest.mark.parametrize("options", [{}, {"rng": 0}, {"lookup": True}, {"n_samples": 3}])
@pytest.mark.parametrize("path", ["wte", "wpe", "blocks.0.attn.c_attn.w", "ln_f.g"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of infinities
def test_weights_that_are_not_finite_are_named(path: str, wrong: float, options: dict[str, Any]) -> None:
    """Even one number, in the row of a token that the prompt does not have."""
    flat = {name: array.copy() for name, array in flatten(PARAMS).items()}
    flat[path].flat[0] = wrong
    with pytest.raises(PicoGPTError, match=f"{path} has numbers that are not finite"):
        generate([1, 2, 3], nest(flat), N_HEAD, 2, **options)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_too_large_are_told_from_damaged_ones() -> None:
    flat = {name: array.astype(np.float32) for name, array in flatten(PARAMS).items()}
    flat["ln_f.g"] *= 2e38
    with pytest.raises(PicoGPTError, match="weights are finite, but so large that its logits are not"):
        generate([1], nest(flat), N_HEAD, 2)


@pytest.mark.parametrize("n_samples", [0, -1, 10**12])
def test_numbers_of_samples_that_cannot_be(n_samples: int) -> None:
    with pytest.raises(PicoGPTError, match=f"the number of samples must be from 1 to 1000, not {n_samples}"):
        generate_batch([[1]], PARAMS, N_HEAD, 3, n_samples=n_samples)


@pytest.mark.parametrize("lookup", [False, True])
def test_any_number_of_tokens_may_be_asked_for(lookup: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is taken as the text grows: 10¹² tokens asked for 7 TiB, and wrote nothing."""
    monkeypatch.setattr(rows, "MORE_COLUMNS", 5)
    endless = generate_stream([5, 7], PARAMS, N_HEAD, 10**12, slide=True, lookup=lookup)
    assert list(itertools.islice(endless, 3 * N_CTX)) == recomputed([5, 7], 3 * N_CTX, slide=True)
    assert generate([5, 7], PARAMS, N_HEAD, 10**12, lookup=lookup) == recomputed([5, 7], N_CTX)
