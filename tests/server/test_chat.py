"""`/v1/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from picogpt.errors import PicoGPTError
from picogpt.server.chat_template import PLAIN, ChatTemplate, Message, read_template
from tests.server.running import client_of, running, serve_model, shakespeare

TEMPLATE = {"user": "{content}\n", "assistant": "SERVANT:{content}\n", "answer": "SERVANT:", "stop": "\n\n"}
MESSAGES: list[Any] = [{"role": "user", "content": "ROMEO:\nWho goes there?"}]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    path = tmp_path_factory.mktemp("template") / "template.json"
    path.write_text(json.dumps(TEMPLATE), encoding="utf-8")
    served = serve_model(shakespeare(), template=read_template(str(path)))
    with running(served) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0) as client:
        yield client


def test_without_a_template_it_says_how_to_give_one() -> None:
    with client_of(serve_model(shakespeare())) as client:
        answer = client.post("/v1/chat/completions", {"messages": MESSAGES})
    assert answer.status_code == 400
    assert "--chat-template plain" in answer.json()["error"]["message"]


def test_the_answer_is_what_follows_the_conversation(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="shakespeare", messages=MESSAGES, temperature=0, max_tokens=30)
    expected = shakespeare().generate("ROMEO:\nWho goes there?\nSERVANT:", 30, stop="\n\n")
    assert answer.choices[0].message.content == expected.removeprefix(" ")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == ("length" if len(expected) > 80 else "stop")


def test_it_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="shakespeare", messages=MESSAGES, temperature=0, max_tokens=12)
    chunks = list(
        client.chat.completions.create(
            model="shakespeare",
            messages=MESSAGES,
            temperature=0,
            max_completion_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    usage = chunks.pop()
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert usage.usage == whole.usage
    assert sum(chunk.choices[0].delta.role is not None for chunk in chunks) == 1


def test_logprobs_have_bytes_and_alternatives(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="shakespeare", messages=MESSAGES, temperature=0, max_tokens=3, logprobs=True, top_logprobs=4
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    for token in found.content:
        assert bytes(token.bytes or []).decode() == token.token
        assert len(token.top_logprobs) == 4
        assert token.top_logprobs[0].logprob == token.logprob


def test_content_may_come_in_parts(client: openai.OpenAI) -> None:
    parts: list[Any] = [{"type": "text", "text": "ROMEO:\n"}, {"type": "text", "text": "Who goes there?"}]
    in_parts: list[Any] = [{"role": "user", "content": parts}]
    one, other = (
        client.chat.completions.create(model="shakespeare", messages=messages, temperature=0, max_tokens=5)
        for messages in (MESSAGES, in_parts)
    )
    assert one.choices[0].message.content == other.choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "there is no role 'system'; there are user"),
        ({"messages": [{"role": "user"}]}, "messages.content is missing"),
        ({"messages": [{"role": "user", "content": "<|endoftext|>"}]}, "must not contain the special token"),
        ({"messages": "hello"}, "messages must be a list"),
        ({"tools": [{"type": "function"}]}, "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
        ({"top_logprobs": 21}, "top_logprobs must be from 0 to 20"),
    ],
)
def test_bad_requests(client: openai.OpenAI, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "shakespeare", "messages": MESSAGES, **fields})
    assert message in str(caught.value)


def test_the_plain_template() -> None:
    messages = [Message("system", "S"), Message("user", "a {content}"), Message("assistant", "b"), Message("user", "c")]
    assert PLAIN.prompt(messages) == "S\n\nUser: a {content}\nAssistant: b\nUser: c\nAssistant:"
    assert read_template("plain") is PLAIN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"user": "no content"}, "in it once"),
        ({"answer": ""}, "in it once"),
        ({"user": "{content}", "answer": 3}, '"answer", a string'),
        ({"user": "{content}", "stop": [""]}, '"stop", a list of strings'),
        ({"user": "{content}", "tool": "{content}"}, "and the roles"),
    ],
)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PicoGPTError, match=message):
        read_template(str(path))


def test_a_template_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(TEMPLATE), encoding="utf-8")
    roles = {"user": "{content}\n", "assistant": "SERVANT:{content}\n"}
    assert read_template(str(path)) == ChatTemplate(roles, "SERVANT:", ["\n\n"])
