"""`/v1/completions`, by the real openai package against a real server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import openai
import pytest

from picogpt.decoding import generate_batch
from picogpt.decoding.options import decoding_options
from picogpt.errors import PicoGPTError
from picogpt.scoring import token_logprobs
from picogpt.server.scheduler import Failure, Request, Scheduler, Ticket
from picogpt.server.served import Served
from tests.server.running import Running, post, running, serve_model, shakespeare

PROMPT = "ROMEO:\nWhat light"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(serve_model(shakespeare())) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_greedy_text_is_what_the_model_writes(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="shakespeare", prompt=PROMPT, max_tokens=12, temperature=0)
    assert answer.choices[0].text == shakespeare().generate(PROMPT, 12)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    n_prompt = len(shakespeare().encoder.encode(PROMPT))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (n_prompt, 12)
    assert answer.usage.total_tokens == n_prompt + 12
    assert answer.object == "text_completion"
    assert (answer.system_fingerprint or "").startswith("fp_")


def test_prompts_may_be_texts_or_ids_one_or_several(client: openai.OpenAI) -> None:
    encoder = shakespeare().encoder
    texts = [PROMPT, "JULIET:"]
    ids = [encoder.encode(text) for text in texts]
    expected = [shakespeare().generate(text, 5) for text in texts]
    for prompt, wanted in ((PROMPT, expected[:1]), (ids[0], expected[:1]), (texts, expected), (ids, expected)):
        answer = client.completions.create(model="shakespeare", prompt=prompt, max_tokens=5, temperature=0)
        assert [choice.text for choice in answer.choices] == wanted
        assert [choice.index for choice in answer.choices] == list(range(len(wanted)))


def test_a_seed_gives_the_texts_of_generate_batch(client: openai.OpenAI) -> None:
    model = shakespeare()
    prompts = [PROMPT, "JULIET:"]
    answer = client.completions.create(
        model="shakespeare", prompt=prompts, max_tokens=9, n=3, seed=11, temperature=0.9, top_p=0.95
    )
    options = decoding_options(model.encoder, temperature=0.9, top_p=0.95, seed=11)
    ids = [model.encoder.encode(prompt) for prompt in prompts]
    options["n_samples"] = 3
    rows = generate_batch(ids, model.params, model.hparams["n_head"], 9, **options)
    assert [choice.text for choice in answer.choices] == [model.encoder.decode(row.ids) for row in rows]
    assert len({choice.text for choice in answer.choices}) > 2


def test_without_a_seed_texts_differ(client: openai.OpenAI) -> None:
    texts = {client.completions.create(model="shakespeare", prompt="A", max_tokens=20).choices[0].text for _ in "abc"}
    assert len(texts) == 3


def test_a_negative_seed_is_a_seed(client: openai.OpenAI) -> None:
    answers = [client.completions.create(model="shakespeare", prompt="A", seed=seed) for seed in (-3, -3, 3)]
    texts = [answer.choices[0].text for answer in answers]
    assert texts[0] == texts[1] != texts[2]


def test_a_stream_has_the_text_in_pieces_and_usage_where_asked_for(client: openai.OpenAI) -> None:
    expected = shakespeare().generate(PROMPT, 15)
    for include in (False, True):
        options: dict[str, object] = {"stream_options": {"include_usage": True}} if include else {}
        chunks = list(
            client.completions.create(
                model="shakespeare",
                prompt=PROMPT,
                max_tokens=15,
                temperature=0,
                stream=True,
                **options,  # type: ignore[call-overload]
            )
        )
        usage = chunks.pop() if include else None
        assert "".join(chunk.choices[0].text for chunk in chunks) == expected
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
        assert len(chunks) > 10
        assert all(chunk.usage is None for chunk in chunks)
        if usage is not None:
            assert usage.choices == []
            assert usage.usage.completion_tokens == 15


def test_the_raw_stream_ends_with_done(server: Running) -> None:
    body = {"prompt": PROMPT, "max_tokens": 3, "stream": True}
    answer = post(f"{server.url}/v1/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert "usage" not in answer.text
    assert len(lines) == 5


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text_and_is_not_shown(client: openai.OpenAI, stream: bool) -> None:
    whole = shakespeare().generate(PROMPT, 30)
    stop = whole[10:14]
    kept = whole[: whole.index(stop)]
    answer = client.completions.create(
        model="shakespeare",
        prompt=PROMPT,
        max_tokens=30,
        temperature=0,
        stop=[stop, "never there"],
        stream=stream,
        logprobs=0,
    )
    choices = [chunk.choices[0] for chunk in answer] if isinstance(answer, openai.Stream) else answer.choices
    assert "".join(choice.text for choice in choices) == kept
    assert choices[-1].finish_reason == "stop"
    tokens = [token for choice in choices for token in (choice.logprobs.tokens if choice.logprobs else None) or []]
    assert "".join(tokens).startswith(kept)
    assert not "".join(tokens[:-1]).startswith(whole[: len(kept) + 1])


def test_echo_with_logprobs_scores_the_prompt(client: openai.OpenAI) -> None:
    model = shakespeare()
    ids = model.encoder.encode(PROMPT)
    answer = client.completions.create(
        model="shakespeare", prompt=PROMPT, max_tokens=1, temperature=0, echo=True, logprobs=2
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.token_logprobs is not None
    assert found.top_logprobs is not None
    assert found.tokens is not None
    assert len(found.token_logprobs) == len(found.tokens) == len(found.top_logprobs) == len(ids) + 1
    assert found.token_logprobs[0] is None
    assert found.top_logprobs[0] is None
    expected = token_logprobs(ids, model.params, model.hparams["n_head"])
    np.testing.assert_allclose(np.array(found.token_logprobs[1:-1]), expected, atol=1e-5)
    for token, logprob, top in zip(found.tokens[1:], found.token_logprobs[1:], found.top_logprobs[1:], strict=True):
        assert top[token] == logprob  # to the last bit: who compares them finds what is greedy
        assert len(top) in (2, 3)
    assert answer.choices[0].text == PROMPT + shakespeare().generate(PROMPT, 1) == "".join(found.tokens)
    assert found.text_offset == [len("".join(found.tokens[:i])) for i in range(len(found.tokens))]


def test_offsets_count_from_the_prompts_beginning(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="shakespeare", prompt=PROMPT, max_tokens=2, temperature=0, logprobs=0)
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.text_offset is not None
    assert found.top_logprobs is not None
    assert found.text_offset[0] == len(PROMPT)
    assert all(len(top) == 1 for top in found.top_logprobs)


def test_no_tokens_at_all(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="shakespeare", prompt=PROMPT, max_tokens=0)
    assert answer.choices[0].text == ""
    assert answer.choices[0].finish_reason == "length"
    answer = client.completions.create(model="shakespeare", prompt=PROMPT, max_tokens=0, echo=True, logprobs=1)
    assert answer.choices[0].text == PROMPT
    assert answer.choices[0].logprobs is not None
    assert len(answer.choices[0].logprobs.tokens or []) == len(shakespeare().encoder.encode(PROMPT))


def test_echo_alone_streams_the_prompt_first(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="shakespeare", prompt=PROMPT, max_tokens=2, echo=True, stream=True))
    assert chunks[0].choices[0].text == PROMPT
    assert len(chunks) == 3


def test_penalties_and_bias_change_the_text(client: openai.OpenAI) -> None:
    (token,) = shakespeare().encoder.encode("\n")
    answer = client.completions.create(
        model="shakespeare", prompt="ROMEO:", max_tokens=6, temperature=0, logit_bias={str(token): -100}
    )
    assert "\n" not in answer.choices[0].text
    answer = client.completions.create(
        model="shakespeare", prompt="ROMEO:", max_tokens=6, temperature=1, logit_bias={str(token): 100}
    )
    assert answer.choices[0].text == "\n" * 6
    plain, penalized = (
        client.completions.create(
            model="shakespeare", prompt="O" * 9, max_tokens=30, temperature=0, frequency_penalty=penalty
        )
        for penalty in (0, 2)
    )
    assert plain.choices[0].text != penalized.choices[0].text


def test_min_tokens_and_ignore_eos(client: openai.OpenAI) -> None:
    eos = shakespeare().encoder.eos_tokens[0]
    ending = {"logit_bias": {str(eos): 100}, "max_tokens": 5, "temperature": 0}
    answer = client.completions.create(model="shakespeare", prompt="A", logprobs=0, **ending)  # type: ignore[call-overload]
    assert answer.choices[0].text == ""
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].logprobs.tokens == ["<|endoftext|>"]
    more = {"min_tokens": 2}
    answer = client.completions.create(model="shakespeare", prompt="A", extra_body=more, **ending)  # type: ignore[call-overload]
    assert answer.usage.completion_tokens == 3
    more = {"ignore_eos": True}
    answer = client.completions.create(model="shakespeare", prompt="A", extra_body=more, **ending)  # type: ignore[call-overload]
    assert answer.usage.completion_tokens == 5


def test_the_text_ends_where_the_context_does(client: openai.OpenAI) -> None:
    n_ctx = shakespeare().hparams["n_ctx"]
    answer = client.completions.create(model="shakespeare", prompt=[5] * (n_ctx - 3), max_tokens=99, temperature=0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": [5] * 257}, "prompt", "the prompt has 257 tokens, more than the model's context of 256"),
        ({"prompt": [5] * 256}, "prompt", "has no room"),
        ({"prompt": [1024]}, "prompt", "token id 1024"),
        ({"prompt": []}, "prompt", "prompt must be a string, a list of strings"),
        ({"max_tokens": -1}, "max_tokens", "max_tokens must be 0 or more, not -1"),
        ({"temperature": -1}, "temperature", "temperature must be 0 or from"),
        ({"top_p": 2}, "top_p", "top_p must be above 0 and at most 1, not 2"),
        ({"n": 0}, "n", "n must be from 1 to 128"),
        ({"n": 2, "extra_body": {"best_of": 3}}, "best_of", "best_of other than n"),
        ({"suffix": "end"}, "suffix", "suffix is not supported"),
        ({"logprobs": 6}, "logprobs", "logprobs must be from 0 to 5, not 6"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4 entries, not 5"),
        ({"stop": ""}, "stop", "empty string"),
        ({"logit_bias": {"99999": 1}}, "logit_bias", "outside the vocabulary"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "token ids"),
        ({"n": 128, "prompt": ["a"] * 3}, "n", "384 continuations are more than the 256"),
    ],
)
def test_bad_requests_name_the_field(
    client: openai.OpenAI, fields: dict[str, object], param: str, message: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": "shakespeare", "prompt": "A", **fields})  # type: ignore[call-overload]
    assert caught.value.param == param
    assert message in str(caught.value)
    assert caught.value.type == "invalid_request_error"


class Refusing(Scheduler):
    """A scheduler in which token 7 cannot be continued, as when the transforms leave no token."""

    def submit(self, request: Request) -> Ticket:
        if list(request.ids) != [7]:
            return super().submit(request)
        request.receive(Failure(PicoGPTError("no token is left")))
        return Ticket(request)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_fails_fails_alone(stream: bool) -> None:
    model = shakespeare()
    served = Served(model, Refusing(model.params, model.hparams["n_head"]), "shakespeare")
    with running(served) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="no token is left"):
            client.completions.create(model="shakespeare", prompt=[7], stream=stream)
        assert client.completions.create(model="shakespeare", prompt=[8], max_tokens=2).choices


def test_a_failure_in_the_midst_of_a_stream_is_its_last_part() -> None:
    model = shakespeare()
    served = Served(model, Refusing(model.params, model.hparams["n_head"]), "shakespeare")
    with running(served) as server:
        body = {"prompt": [[7]], "stream": True, "echo": True}
        lines = post(f"{server.url}/v1/completions", json=body).text.split("\n\n")
        assert "no token is left" in lines[1]
        assert lines[2:] == [""]


def test_more_than_can_wait_is_a_503_to_be_tried_again() -> None:
    with running(serve_model(shakespeare(), slots=1, queue=1)) as server:
        body = {"prompt": "A", "max_tokens": 200, "ignore_eos": True, "stream": True}
        url = f"{server.url}/v1/completions"
        with ThreadPoolExecutor() as pool, httpx.stream("POST", url, json=body, timeout=60):
            waiting = pool.submit(post, url, json=body)
            while not server.served.scheduler.stats.n_queued:
                time.sleep(0.005)
            late = post(url, json=body)
        assert waiting.result().status_code == 200
        assert late.status_code == 503
        assert late.headers["retry-after"] == "1"
        assert late.json()["error"]["code"] == "queue_full"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["shakespeare"]
    assert client.models.retrieve("shakespeare").owned_by == "picogpt"
    with pytest.raises(openai.NotFoundError, match="this server has shakespeare"):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError, match="this server has shakespeare") as caught:
        client.completions.create(model="gpt-4", prompt="A")
    assert caught.value.code == "model_not_found"


def test_a_client_that_goes_away_stops_costing(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    def n_generated() -> int:
        return server.served.scheduler.stats.n_generated

    body = {"prompt": PROMPT, "max_tokens": 200, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
        next(answer.iter_lines())
    deadline = time.monotonic() + 5
    while server.served.scheduler.stats.n_running and time.monotonic() < deadline:
        time.sleep(0.005)
    n_then = n_generated()
    time.sleep(0.1)
    assert n_generated() == n_then
    with pytest.raises(httpx.ReadTimeout):
        post(f"{server.url}/v1/completions", json={**body, "stream": False, "n": 60}, timeout=0.15)
    deadline = time.monotonic() + 5
    while server.served.scheduler.stats.n_running and time.monotonic() < deadline:
        time.sleep(0.005)
    n_then = n_generated()
    time.sleep(0.1)
    assert n_generated() == n_then
    assert all(record.levelno < logging.WARNING for record in caplog.records)  # it is nobody's fault


def test_curl_and_llm_style_requests_work(server: Running) -> None:
    """curl sends no JSON type unless it is told to; llm asks for the models first and names no limit."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = post(f"{server.url}/v1/completions", content=b'{"prompt": "A", "max_tokens": 1}', headers=form)
    assert answer.status_code == 200
    name = httpx.get(f"{server.url}/v1/models").json()["data"][0]["id"]
    body = {"model": name, "prompt": "A", "stream": True, "stream_options": {"include_usage": True}}
    answer = post(f"{server.url}/v1/completions", json=body, headers={"Authorization": "Bearer DUMMY_KEY"})
    assert answer.text.endswith("data: [DONE]\n\n")
