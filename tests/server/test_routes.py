"""The other routes: embeddings, scores, a look inside, metrics, the description."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from picogpt import inspection
from picogpt.inspection.look import Look, Question
from picogpt.performance import hidden_states
from picogpt.server.served import Limits
from tests.server.running import Client, client_of, running, serve_model, shakespeare

PROMPT = "ROMEO:\nWhat"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with client_of(serve_model(shakespeare())) as client:
        yield client


def test_embeddings_are_means_of_hidden_states() -> None:
    model = shakespeare()
    texts = ["ROMEO:", "My kingdom for a horse!"]
    expected = [
        hidden_states(model.encoder.encode(text), **model.params, n_head=model.hparams["n_head"]).mean(axis=0)
        for text in texts
    ]
    with (
        running(serve_model(model)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0) as client,
    ):
        for form in ("float", "base64"):
            answer = client.embeddings.create(
                model="shakespeare",
                input=texts,
                encoding_format=form,
            )
            for row, wanted in zip(answer.data, expected, strict=True):
                numbers: Any = row.embedding
                if form == "base64":
                    numbers = np.frombuffer(base64.b64decode(numbers), "<f4")
                np.testing.assert_allclose(numbers, wanted, rtol=1e-6)
            assert answer.usage.prompt_tokens == sum(len(model.encoder.encode(text)) for text in texts)
        with pytest.raises(openai.BadRequestError, match="dimensions is not supported"):
            client.embeddings.create(model="shakespeare", input="a", dimensions=5)


@pytest.mark.parametrize("by", ["token", "word", "text"])
def test_scores_are_those_of_the_library(client: Client, by: str) -> None:
    texts = ["My kingdom for a horse!", "To be, or not to be"]
    answer = client.post("/v1/score", {"text": texts, "by": by}).json()
    for row, score in zip(answer["data"], shakespeare().score(texts), strict=True):
        assert math.isclose(row["logprob"], score.logprob, rel_tol=1e-5)
        assert math.isclose(row["perplexity"], score.perplexity, rel_tol=1e-5)
        assert row.keys() >= {"bits_per_byte", "n_tokens", "unit"}
        parts = {"token": score.tokens, "word": score.words}.get(by)
        for part, wanted in zip(row.get(f"{by}s", []), parts or [], strict=True):
            numbers = {key for key, value in wanted.items() if isinstance(value, float)}
            assert part == wanted | {key: pytest.approx(wanted[key], rel=1e-4) for key in numbers}
        assert ("tokens" in row, "words" in row) == (by == "token", by == "word")


def test_choices_are_ranked(client: Client) -> None:
    body = {"text": "My kingdom for a", "choices": [" cow", " horse"]}
    assert [row["choice"] for row in client.post("/v1/score", body).json()["choices"]] == [" horse", " cow"]


def test_choices_have_a_bound(client: Client) -> None:
    answer = client.post("/v1/score", {"text": "My kingdom for a", "choices": [f" {i}" for i in range(1200)]})
    assert answer.status_code == 400
    assert "1200 choices with their text are" in answer.json()["error"]["message"]


def test_a_text_longer_than_the_context_is_scored_as_the_command_does(client: Client) -> None:
    text = "My kingdom for a horse! " * 70
    body = {"text": text, "by": "text", "stride": 100}
    row = client.post("/v1/score", body).json()["data"][0]
    assert row["n_tokens"] > 300
    assert math.isclose(row["logprob"], shakespeare().score(text, stride=100).logprob, rel_tol=1e-5)


def test_an_embedding_is_read_in_parts(client: Client) -> None:
    model = shakespeare()
    ids = [i % 1000 for i in range(250)]
    row = client.post("/v1/embeddings", {"input": ids}).json()["data"][0]
    expected = hidden_states(ids, **model.params, n_head=model.hparams["n_head"]).mean(axis=0)
    np.testing.assert_allclose(row["embedding"], expected, atol=1e-5)


def test_a_special_token_in_a_scored_text_must_be_explained(client: Client) -> None:
    text = "a <|endoftext|> b"
    assert 'say \\"special\\"' in client.post("/v1/score", {"text": text}).text
    n_tokens = [
        client.post("/v1/score", {"text": text, "special": special}).json()["usage"]["prompt_tokens"]
        for special in ("token", "text")
    ]
    assert n_tokens[0] < n_tokens[1]


def test_without_a_first_token_its_score_is_null(client: Client) -> None:
    row = client.post("/v1/score", {"text": "My kingdom", "bos": False}).json()["data"][0]
    assert row["tokens"][0]["logprob"] is None


def test_inside_answers_as_the_command_does(client: Client) -> None:
    model = shakespeare()
    ids = model.encoder.encode(PROMPT)
    questions: list[tuple[dict[str, Any], Question]] = [
        ({}, Question(lens=True)),
        ({"k": 2, "show": ["lens", "shapes", "heads"]}, Question(k=2, lens=True, shapes=True, heads=True)),
        ({"attention": [2, 1]}, Question(attention=(2, 1))),
        ({"attribution": " the"}, Question(target=model.encoder.encode(" the")[0])),
        ({"ablate": {"heads": [[0, 1], [3, 2]]}}, Question(ablated_heads=[(0, 1), (3, 2)])),
        ({"ablate": {"mlps": [1]}}, Question(ablated_mlps=[1])),
    ]
    for body, question in questions:
        answer = client.post("/inside", {"prompt": PROMPT, **body}).json()
        assert answer == json.loads(json.dumps(Look(model, ids, question).report()))


def test_values_come_in_json_and_in_bytes(client: Client) -> None:
    model = shakespeare()
    trace = model.trace(PROMPT)
    values = [
        {"name": "blocks.1.attn.pattern", "head": 3},
        {"name": "blocks.0.attn.q", "head": 2},
        {"name": "blocks.2.resid_post"},
        {"name": "blocks.0.attn.scores"},
    ]
    expected = {
        "blocks.1.attn.pattern[3]": trace["blocks.1.attn.pattern"][3],
        "blocks.0.attn.q[2]": trace["blocks.0.attn.q"][:, 2],
        "blocks.2.resid_post": trace["blocks.2.resid_post"],
        "blocks.0.attn.scores": trace["blocks.0.attn.scores"],
    }
    found = client.post("/inside", {"prompt": PROMPT, "values": values}).json()["values"]
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name]["shape"] == list(array.shape)
        np.testing.assert_array_equal(np.array(found[name]["data"], np.float32), array)
    accept = {"Accept": "application/octet-stream"}
    for dtype in ("float16", "float32"):
        answer = client.post("/inside", {"prompt": PROMPT, "values": values, "dtype": dtype}, headers=accept)
        numbers, start = np.frombuffer(answer.content, np.dtype(dtype).newbyteorder("<")), 0
        for entry in json.loads(answer.headers["picogpt-values"]):
            array = expected[entry["name"]]
            part = numbers[start : start + array.size].reshape(entry["shape"])
            with np.errstate(over="ignore"):
                np.testing.assert_array_equal(part, array.astype(dtype))
            start += array.size
        assert start == len(numbers)
    body = {"prompt": PROMPT, "values": values[:1], "dtype": "uint8"}
    shares = np.frombuffer(client.post("/inside", body, headers=accept).content, np.uint8)
    np.testing.assert_allclose(shares / 255, expected["blocks.1.attn.pattern[3]"].ravel(), atol=1 / 510 + 1e-6)


def test_patching(client: Client) -> None:
    model = shakespeare()
    (target,) = model.encoder.encode("\n")
    clean, corrupted = model.encoder.encode("JULIET:"), model.encoder.encode("ROMEO:")
    body = {"prompt": corrupted, "patch": {"clean": clean[:2], "target": "\n", "kinds": ["heads", "mlp_out"]}}
    answer = client.post("/inside", body).json()
    wanted = inspection.activation_patching(
        clean[:2], corrupted, model.params, model.hparams["n_head"], target, kinds=["heads", "mlp_out"]
    )
    assert answer["clean"] == wanted.clean
    for kind, array in wanted.restored.items():
        np.testing.assert_allclose(answer["restored"][kind], array, rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"attention": [5, 0]}, "there is no layer 5"),
        ({"attention": [0, 4]}, "there is no head 4"),
        ({"attention": [0]}, "each [layer, head]"),
        ({"ablate": {"heads": [[0, 9]]}}, "there is no head 9"),
        ({"ablate": {"mlps": [-1]}}, "there is no layer -1"),
        ({"values": [{"name": "blocks.*.attn.z"}]}, "without a *"),
        ({"values": [{"name": "blocks.0.attn.zz"}]}, "no value is called"),
        ({"values": [{"name": "blocks.0.attn.z", "head": 4}]}, "there is no head 4"),
        ({"values": [{"name": "blocks.0.mlp_out", "head": 0}]}, "is not of each head"),
        ({"values": [{}]}, "values.name is missing"),
        ({"attribution": "two tokens"}, "choose a text that is one token"),
        ({"attribution": 1024}, "must be an id below 1024"),
        ({"show": ["all"]}, "show must be one of lens, heads, shapes"),
        ({"patch": {"clean": "ROMEO:", "target": 1}}, "the two prompts have"),
        ({"patch": {"clean": PROMPT, "target": 1}}, "both prompts give the same answer"),
    ],
)
def test_what_there_is_not_inside(client: Client, body: dict[str, Any], message: str) -> None:
    answer = client.post("/inside", {"prompt": PROMPT, **body})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_an_answer_has_a_bound() -> None:
    limits = Limits(n_values=100, n_traced=1 << 20)
    with client_of(serve_model(shakespeare(), limits=limits)) as client:
        values = [{"name": "blocks.0.attn.pattern"}]
        answer = client.post("/inside", {"prompt": PROMPT * 3, "values": values})
        assert "more than 100; ask for fewer, or for values alone with Accept" in answer.json()["error"]["message"]
        accept = {"Accept": "application/octet-stream"}
        assert client.post("/inside", {"prompt": PROMPT, "values": values}, headers=accept).status_code == 200
        answer = client.post("/inside", {"prompt": [5] * 200, "show": ["shapes"]})
        assert "the values would take" in answer.json()["error"]["message"]


def test_metrics_count_requests_and_tokens() -> None:
    with client_of(serve_model(shakespeare())) as client:
        client.post("/v1/completions", {"prompt": "A", "max_tokens": 3, "ignore_eos": True})
        client.post("/v1/completions", {"prompt": 1})
        client.get("/a/path/that/anybody/could/invent")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in (
        'picogpt_requests_total{path="/v1/completions",status="200"} 1',
        'picogpt_requests_total{path="/v1/completions",status="400"} 1',
        'picogpt_requests_total{path="other",status="404"} 1',
        "picogpt_generated_tokens_total 3",
        "picogpt_prompt_tokens_total 1",
        "picogpt_queue 0",
        'picogpt_time_to_first_token_seconds_bucket{le="+Inf"} 1',
        "picogpt_token_seconds_count 2",
    ):
        assert line in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) > 10


def test_the_page_is_at_the_root(client: Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<title>picogpt</title>" in answer.text
    assert client.get("/health").json() == {"status": "ok"}
    assert client.request("PUT", "/v1/models").status_code == 405


def test_a_server_whose_engine_has_ended_is_not_healthy() -> None:
    served = serve_model(shakespeare())
    with client_of(served) as client:
        assert client.get("/health").status_code == 200
        served.scheduler.close(0)
        assert client.get("/health").status_code == 503
        answer = client.post("/v1/completions", {"prompt": "A"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
        assert client.post("/v1/score", {"text": "My kingdom"}).status_code == 503


def test_a_released_model_has_all_of_its_names() -> None:
    with client_of(serve_model(shakespeare(), name="gpt2")) as client:
        names = [row["id"] for row in client.get("/v1/models").json()["data"]]
        assert names == ["gpt2", "124M", "openai-community/gpt2"]
        for name in names:
            assert client.get(f"/v1/models/{name}").json()["id"] == name
            assert client.post("/v1/completions", {"model": name, "prompt": "A", "max_tokens": 1}).status_code == 200
