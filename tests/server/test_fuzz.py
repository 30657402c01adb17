"""Two thousand bodies that nobody should send: each is answered, and none of them makes the server fail."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from picogpt.server.chat_template import PLAIN
from tests.server.running import Client, client_of, serve_model, shakespeare

N_BODIES = 2000
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/completions": {
        "model": "shakespeare",
        "prompt": "ROMEO:",
        "max_tokens": 2,
        "temperature": 0.8,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "typical_p": 0.9,
        "n": 1,
        "stop": ["x"],
        "seed": 1,
        "stream": False,
        "stream_options": {"include_usage": True},
        "logprobs": 2,
        "echo": True,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "repetition_penalty": 1.1,
        "logit_bias": {"5": 1.5},
        "best_of": 1,
        "suffix": "",
        "user": "me",
        "ignore_eos": False,
        "min_tokens": 1,
    },
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "stop": "x",
        "response_format": {"type": "text"},
    },
    "/v1/embeddings": {"input": ["a", "b"], "encoding_format": "float", "dimensions": None},
    "/v1/score": {"text": ["My kingdom", "for a horse"], "by": "word", "nats": True, "stride": 3, "special": "text"},
    "/tokenize": {"prompt": "My kingdom", "add_special_tokens": False, "return_token_strs": True},
    "/detokenize": {"tokens": [1, 2, 3]},
    "/inside": {
        "prompt": "My kingdom",
        "show": ["lens", "shapes"],
        "k": 2,
        "attention": [0, 1],
        "attribution": 5,
        "ablate": {"heads": [[0, 1]], "mlps": [1]},
        "values": [{"name": "blocks.0.attn.pattern", "head": 1}],
        "patch": {"clean": "My queendom", "target": 5, "foil": None, "kinds": ["heads"]},
    },
}
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    10**30,
    -(10**30),
    2**63,
    1.5,
    -0.0,
    1e308,
    1e-308,
    "",
    "a",
    "\x00",
    "\ud800",
    "北\u202e",
    "<|endoftext|>",
    "a" * 3000,
    [],
    [[]],
    {},
    {"a": {"a": [1]}},
    {"": None},
    [None],
    [0],
    [-1],
    [1024],
    [[1, 2], [3]],
    [1, "a"],
    ["a", ""],
    ["a"] * 300,
    [10**30],
    [[0, 0], [9, 9]],
    {"99999999999": 1},
    {"5": "x"},
    {"5": 1e300},
    {"role": "user"},
    {"type": "text", "text": "x"},
    [{"name": "logits"}],
    [{"name": "blocks.99.attn.z"}],
    [{"name": "*", "head": -1}],
]


def mutated(rng: random.Random, value: Any) -> Any:
    """The value with something else somewhere in it."""
    if rng.random() < 0.4 or not isinstance(value, dict | list) or not value:
        return rng.choice(VALUES)
    if isinstance(value, list):
        i = rng.randrange(len(value))
        return [*value[:i], mutated(rng, value[i]), *value[i + 1 :]]
    key = rng.choice(list(value))
    return {**value, key: mutated(rng, value[key])}


def bodies(rng: random.Random) -> tuple[str, bytes]:
    """A route, and a body whose fields are wrong, or whose bytes are."""
    route = rng.choice(list(ROUTES))
    body = dict(ROUTES[route])
    for name in rng.sample(list(body), min(len(body), rng.choice([0, 1, 1, 1, 2, 5]))):
        body[name] = mutated(rng, body[name])
    if rng.random() < 0.2:
        body[rng.choice(["x", "", "\ud800", "model", "stream", "n"])] = rng.choice(VALUES)
    data = bytearray(json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.15:
        for _ in range(rng.choice([1, 1, 4])):
            place = rng.randrange(len(data))
            data[place : place + rng.choice([0, 1, 9])] = rng.randbytes(rng.choice([0, 1, 2]))
    return route, bytes(data)


@pytest.mark.slow
def test_no_body_makes_the_server_fail() -> None:
    rng = random.Random(0)
    with client_of(serve_model(shakespeare(), template=PLAIN)) as client:
        statuses = []
        for _ in range(N_BODIES):
            route, body = bodies(rng)
            answer = client.post(route, body)
            assert answer.status_code in (200, 400, 404), (route, body, answer.text)
            if answer.status_code != 200:
                error = answer.json()["error"]
                assert error["message"].isprintable()
                assert set(error) == {"message", "type", "param", "code"}
            statuses.append(answer.status_code)
        assert 0.1 < statuses.count(200) / N_BODIES < 0.9  # good ones get through as well


ODD_BODIES = [
    b"",
    b"null",
    b"[]",
    b'"prompt"',
    b"{",
    b'{"prompt": "A"',
    b'{"prompt": "A"}}',
    b'{"prompt": NaN}',
    b'{"prompt": "A", "temperature": NaN}',
    b'{"prompt": "A", "temperature": Infinity}',
    b'{"prompt": "A", "temperature": -Infinity}',
    b'{"prompt": "A", "temperature": 1e999}',
    b'{"prompt": "A", "seed": ' + b"9" * 10_000 + b"}",
    b'{"prompt": ' + b"[" * 100_000,
    b'{"prompt": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"a": ' * 10_000 + b"1" + b"}" * 10_000,
    b'{"prompt": "A", "prompt": "B"}',
    b'\xef\xbb\xbf{"prompt": "A"}',
    '{"prompt": "A"}'.encode("utf-16"),
    '{"prompt": "é"}'.encode("latin-1"),
    b'{"prompt": "\xed\xa0\x80"}',
    b'{"prompt": "\n"}',
    b"prompt=A&max_tokens=3",
    b"\x1f\x8b\x08\x00",
]


@pytest.mark.parametrize("body", ODD_BODIES, ids=range(len(ODD_BODIES)))
def test_what_is_not_a_json_object_is_a_400(body: bytes) -> None:
    with client_of(serve_model(shakespeare())) as client:
        for route in ROUTES:
            answer = client.post(route, body)
            assert answer.status_code == 400, answer.text
            assert len(answer.json()["error"]["message"]) < 400


def test_a_lone_surrogate_is_read_as_everywhere_else() -> None:
    with client_of(serve_model(shakespeare())) as client:
        odd, replaced = (
            client.post("/v1/completions", b'{"prompt": "%s", "max_tokens": 0, "echo": true}' % prompt)
            for prompt in (rb"\ud800", "\ufffd".encode())
        )
        assert odd.json()["choices"] == replaced.json()["choices"]


def test_more_than_a_megabyte_is_a_413() -> None:
    with client_of(serve_model(shakespeare())) as client:
        assert client.post("/tokenize", {"prompt": "a" * (1 << 20)}).status_code == 413
        answer = client.post("/v1/completions", {"prompt": "a b" * 300_000})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"


def replies(client: Client, **fields: Any) -> int:
    return client.post("/v1/completions", {"prompt": "A", "max_tokens": 1, **fields}).status_code


def test_null_is_as_if_a_field_was_not_there() -> None:
    with client_of(serve_model(shakespeare())) as client:
        assert replies(client, **dict.fromkeys(ROUTES["/v1/completions"].keys() - {"prompt"})) == 200
        assert replies(client, top_k=-1, min_p=0, typical_p=1, top_p=1, repetition_penalty=1) == 200
        assert replies(client, temperature=True) == 400
        assert replies(client, seed=10**4000) == 400
        assert replies(client, n=1.0) == 400
        assert replies(client, stream=1) == 400
