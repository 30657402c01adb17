"""What lm-evaluation-harness's `local-completions` sends and reads, with the shapes of its own requests.

Its package is too large for these tests, so its client is written out here: the remote tokenizer's three routes, the
request of a log-likelihood with `echo`, and how the answer is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import requests

from picogpt.scoring import token_logprobs
from tests.server.running import Running, post, running, serve_model, shakespeare

MAX_LENGTH = 256 - 1  # one token is always generated
TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")[:1500]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(serve_model(shakespeare())) as server:
        yield server


def encode(server: Running, text: str) -> list[int]:
    answer = post(f"{server.url}/tokenize", json={"prompt": text, "add_special_tokens": False})
    tokens: list[int] = answer.raise_for_status().json()["tokens"]
    return tokens


def loglikelihoods(server: Running, inputs: list[list[int]], n_contexts: list[int]) -> list[tuple[float, bool]]:
    """The sum of what comes after each context, and whether it is what greedy decoding would write."""
    request = {
        "model": "shakespeare",
        "prompt": inputs,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    header = {"Authorization": "Bearer "}
    answer = requests.post(f"{server.url}/v1/completions", json=request, headers=header, timeout=60)
    answer.raise_for_status()
    found = []
    for choice, n_context in zip(sorted(answer.json()["choices"], key=itemgetter("index")), n_contexts, strict=True):
        logprobs: list[float] = choice["logprobs"]["token_logprobs"][n_context:-1]
        tops: list[dict[str, float]] = choice["logprobs"]["top_logprobs"][n_context:-1]
        greedy = all(own == max(top.values()) for own, top in zip(logprobs, tops, strict=True))
        found.append((sum(logprobs), greedy))
    return found


def test_the_remote_tokenizer_is_found(server: Running) -> None:
    info = httpx.get(f"{server.url}/tokenizer_info").raise_for_status().json()
    assert info["eos_token"] == info["bos_token"] == "<|endoftext|>"
    assert encode(server, info["eos_token"]) == list(shakespeare().encoder.eos_tokens)
    text = "My kingdom\nfor a <|endoftext|> horse! naïve 北"
    tokens = encode(server, text)
    assert tokens == shakespeare().encoder.encode(text, "all")
    answer = post(f"{server.url}/detokenize", json={"tokens": tokens})
    assert answer.raise_for_status().json()["prompt"] == text


def test_rolling_loglikelihood_is_that_of_the_model(server: Running) -> None:
    """Windows of the most tokens, each with one token of context, as the harness makes them for perplexity."""
    model = shakespeare()
    ids = encode(server, TEXT)
    stream = [*encode(server, "<|endoftext|>"), *ids]
    inputs, n_contexts, expected = [], [], []
    for start in range(0, len(ids), MAX_LENGTH - 1):
        window = stream[start : start + MAX_LENGTH]
        inputs.append(window)
        n_contexts.append(1)
        expected.append(token_logprobs(window, model.params, model.hparams["n_head"]).sum())
    assert len(inputs) > 2
    found = loglikelihoods(server, inputs, n_contexts)
    np.testing.assert_allclose([logprob for logprob, _ in found], expected, atol=1e-3)
    assert not any(greedy for _, greedy in found)


def test_what_greedy_decoding_writes_is_greedy(server: Running) -> None:
    model = shakespeare()
    context = model.encoder.encode("ROMEO:")
    likely = model.encoder.encode(model.generate("ROMEO:", 8))
    other = model.encoder.encode("\nA horse")
    found = loglikelihoods(server, [context + likely, context + other], [len(context)] * 2)
    assert [greedy for _, greedy in found] == [True, False]


def test_where_the_likeliest_next_token_ends_the_text_nothing_is_missing(server: Running) -> None:
    """The last entry is dropped by the harness: it must be that of a new token even where this one is no text."""
    model = shakespeare()
    ids = model.encoder.encode("ROMEO:")
    (eos,) = model.encoder.eos_tokens
    body: dict[str, Any] = {"prompt": ids, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
    body["logit_bias"] = {str(eos): 100}
    choice = post(f"{server.url}/v1/completions", json=body).json()["choices"][0]
    assert len(choice["logprobs"]["token_logprobs"]) == len(ids) + 1
    assert choice["text"] == "ROMEO:"


def test_generate_until(server: Running) -> None:
    request = {
        "prompt": [shakespeare().encoder.encode("ROMEO:")],
        "model": "shakespeare",
        "max_tokens": 40,
        "temperature": 0,
        "stop": ["\n\n", "<|endoftext|>"],
        "seed": 1234,
    }
    answer = post(f"{server.url}/v1/completions", json=request).raise_for_status().json()
    expected = shakespeare().generate("ROMEO:", 40, stop="\n\n")
    assert [choice["text"] for choice in answer["choices"]] == [expected]
