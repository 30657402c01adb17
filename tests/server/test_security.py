"""Who is answered, and who is not."""

from __future__ import annotations

import logging
import socket
from typing import Any

import openai
import pytest

from picogpt.server import generation
from picogpt.server.security import is_loopback
from tests.server.running import client_of, running, serve_model, shakespeare

BODY = {"prompt": "A", "max_tokens": 1}


def test_without_the_key_nothing_but_health_and_the_page_is_answered() -> None:
    with client_of(serve_model(shakespeare()), key="naïve secret") as client:
        for path in ("/", "/health"):
            assert client.get(path).status_code == 200
        assert client.get("/page/none.js").status_code == 404
        for path in ("/metrics", "/v1/models", "/tokenizer_info", "/nothing"):
            assert client.get(path).status_code == 401
        answer = client.post("/v1/completions", BODY)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        for wrong in ("Bearer wrong", "naïve secret", "Bearer ", "Basic x", "Bearer naïve secret2"):
            header = {"Authorization": wrong.encode()}
            assert client.post("/v1/completions", BODY, headers=header).status_code == 401
        right = {"Authorization": "Bearer naïve secret".encode()}
        assert client.post("/v1/completions", BODY, headers=right).status_code == 200


def test_the_openai_package_with_a_key() -> None:
    with running(serve_model(shakespeare()), key="secret") as server:
        for key, error in (("secret", None), ("other", openai.AuthenticationError)):
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
                if error is None:
                    assert client.completions.create(model="shakespeare", prompt="A", max_tokens=1).choices
                else:
                    with pytest.raises(error):
                        client.models.list()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7:8000", 200),  # an address cannot be made to point elsewhere
        (socket.gethostname(), 200),
        ("mine.test", 200),
        ("evil.test", 403),
        ("evil.test:8000", 403),
        ("localhost.evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("", 403),
    ],
)
def test_only_our_own_names_are_answered(host: str, status: int) -> None:
    """A page of evil.test whose name has been made to point here sends that name."""
    with client_of(serve_model(shakespeare()), hosts=["mine.test"]) as client:
        assert client.get("/v1/models", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "origins", "status"),
    [
        (None, [], 200),
        ("http://localhost:3000", [], 200),
        ("http://127.0.0.1", [], 200),
        ("http://[::1]:5", [], 200),
        ("https://evil.test", [], 403),
        ("http://localhost.evil.test", [], 403),
        ("null", [], 403),
        ("https://good.test", ["https://good.test"], 200),
        ("https://evil.test", ["https://good.test"], 403),
        ("https://any.test", ["*"], 200),
    ],
)
def test_pages_from_elsewhere_are_not_answered(origin: str | None, origins: list[str], status: int) -> None:
    headers = {"Host": "localhost:8000"} | ({} if origin is None else {"Origin": origin})
    with client_of(serve_model(shakespeare()), origins=origins) as client:
        answer = client.post("/v1/completions", BODY, headers=headers)
        assert answer.status_code == status
        if origin is not None and status == 200:
            assert answer.headers["access-control-allow-origin"] in (origin, "*")
        else:
            assert "access-control-allow-origin" not in answer.headers
            return
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-stainless",
        }
        preflight = client.request("OPTIONS", "/v1/completions", headers=headers | asked)
        assert preflight.status_code == 200


def test_a_page_of_the_server_itself_is_answered_by_whatever_name() -> None:
    with client_of(serve_model(shakespeare()), hosts=["mine.test"]) as client:
        headers = {"Host": "mine.test:8000", "Origin": "http://mine.test:8000"}
        assert client.post("/v1/completions", BODY, headers=headers).status_code == 200


def test_the_preflight_needs_no_key() -> None:
    with client_of(serve_model(shakespeare()), key="secret") as client:
        headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
        assert client.request("OPTIONS", "/v1/completions", headers=headers).status_code == 200


def test_the_page_has_a_strict_policy() -> None:
    with client_of(serve_model(shakespeare())) as client:
        answer = client.get("/")
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        for name in ("../page.py", "%2e%2e/page.py", "/etc/passwd", "..%2fapp.py"):
            answer = client.get(f"/page/{name}")
            assert answer.status_code == 404
            assert "/server/" not in answer.text


def test_no_line_of_the_log_can_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "picogpt.server")
    with client_of(serve_model(shakespeare())) as client:
        client.get("/x%0a2026 INFO forged%1b[31m")
        client.post("/v1/completions", BODY | {"a\nb": 1})
    assert len(caplog.messages) == 3
    assert not any(char in message for message in caplog.messages for char in "\n\x1b")
    assert "/x\\n2026" in caplog.messages[0]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_what_only_this_machine_can_reach(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("stream", [False, True])
def test_a_bug_in_the_engine_is_a_500_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    def failing(bias: object) -> Any:
        def transform(*arguments: object) -> Any:
            raise RuntimeError("/home/me/secret")

        return transform

    monkeypatch.setattr(generation, "logit_bias", failing)
    with client_of(serve_model(shakespeare())) as client:
        answer = client.post("/v1/completions", {**BODY, "logit_bias": {"1": 1}, "stream": stream})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert client.post("/v1/completions", BODY).status_code == 200


def test_a_bug_is_a_500_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    served = serve_model(shakespeare())

    def fail(*arguments: Any) -> Any:
        raise RuntimeError("/home/me/secret")

    monkeypatch.setattr(served.scheduler, "submit", fail)
    with client_of(served) as client:
        answer = client.post("/v1/completions", BODY)
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert "secret" not in answer.text
        streamed = client.post("/v1/completions", BODY | {"stream": True, "echo": True})
        assert "the server has failed" in streamed.text
        assert "secret" not in streamed.text
    assert "secret" in caplog.text
