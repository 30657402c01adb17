"""Servers that mean ill: what they send costs little, and neither a terminal nor another server hears of it."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import ssl
from pathlib import Path

import numpy as np
import pytest
import requests

import picogpt.download
from picogpt.cli import main
from picogpt.download import Collection, Facts, File, RetryPolicy, catalogue, download, http, plan
from picogpt.download.http import without_secrets
from picogpt.errors import NetworkError, PicoGPTError
from tests.download.server import Server, endless, says, serving

DATA = np.random.default_rng(2).bytes(1013)
SHA256 = hashlib.sha256(DATA).hexdigest()
WIRE = RetryPolicy(tries=3, backoff=0, timeout=(10, 10), chunk_size=100)
BUFFERS = 24 << 20  # bytes that the system may take from a server although nobody reads them
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def collection(url: str, name: str = "text.txt", facts: Facts = Facts()) -> Collection:  # noqa: B008  # it is immutable
    return Collection("text", (File(name, (url,), facts),))


@pytest.fixture
def url(server: Server) -> str:
    server.reset({"/text.txt": DATA})
    return f"{server.url}/hostile"


def failure(url: str, directory: Path, name: str = "text.txt") -> str:
    """What a download that must fail says, in a line that a terminal can show."""
    with pytest.raises(NetworkError) as caught:
        download(collection(url, name), directory, policy=WIRE)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    assert not (directory / name).exists()
    return message


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_body_of_a_redirect_is_not_read(server: Server, url: str, tmp_path: Path, encoding: str) -> None:
    """A gzip bomb of zeros: 4.2 GB of them arrived once."""
    block = gzip.compress(bytes(1 << 26)) if encoding == "gzip" else bytes(1 << 20)
    head = f"HTTP/1.1 302 Found\nLocation: /text.txt\nContent-Encoding: {encoding}"
    server.scripts["/hostile"] = endless(head, block * (1 + (1 << 20) // len(block)))
    download(collection(url), tmp_path, policy=WIRE)
    assert (tmp_path / "text.txt").read_bytes() == DATA
    assert server.sent < BUFFERS


@pytest.mark.parametrize("status", ["500 Oops", "404 Gone", "302 Found"])
def test_the_body_of_an_error_is_not_read(server: Server, url: str, tmp_path: Path, status: str) -> None:
    server.scripts["/hostile"] = endless(f"HTTP/1.1 {status}")
    assert failure(url, tmp_path / "new") == f"{url}: the server answers {status}"
    assert server.sent < WIRE.tries * BUFFERS


def test_a_dry_run_reads_no_body_either(server: Server, url: str, tmp_path: Path) -> None:
    server.scripts["/hostile"] = endless("HTTP/1.1 302 Found\nLocation: /text.txt")
    assert plan(collection(url), tmp_path) == {"text.txt": (len(DATA), False)}
    server.scripts["/hostile"] = says(f"HTTP/1.1 200 OK\nContent-Length: {'7' * 5000}")
    assert plan(collection(url), tmp_path) == {"text.txt": (None, False)}
    server.scripts["/hostile"] = says("HTTP/1.1 404 Not Found\nContent-Length: 9")
    assert plan(collection(url), tmp_path) == {"text.txt": (None, False)}, "that is the error page's"
    assert server.sent < BUFFERS


def test_a_file_without_a_length_has_a_ceiling(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a hash is known, the end of the connection may be the end of the file."""
    monkeypatch.setattr(catalogue, "MOST_ELSE", 1013)
    server.scripts["/hostile"] = endless(f'HTTP/1.1 200 OK\nX-Linked-ETag: "{SHA256}"', bytes(1000))
    expected = "the server says no length and does not end; text.txt may have 1,013 at most"
    assert failure(url, tmp_path / "new") == f"{url}: {expected}"
    assert len(server.requests) == 1, "once is enough"
    assert not (tmp_path / "new").exists()
    server.scripts["/hostile"] = says(f'HTTP/1.1 200 OK\nX-Linked-ETag: "{SHA256}"', DATA)
    download(collection(url), tmp_path, policy=WIRE)
    assert (tmp_path / "text.txt").read_bytes() == DATA


def test_a_length_beyond_the_ceiling_is_refused_before_it_is_read(server: Server, url: str, tmp_path: Path) -> None:
    server.scripts["/hostile"] = endless(f"HTTP/1.1 200 OK\nContent-Length: {(16 << 20) + 1}")
    assert "has 16,777,217 bytes; text.txt may have 16,777,216 at most" in failure(url, tmp_path / "new")
    assert server.sent < BUFFERS


def test_every_file_of_the_catalogue_fits_under_its_ceiling() -> None:
    for name in (*catalogue.OPENAI_MODELS, *catalogue.HUGGING_FACE_MODELS):
        for file in catalogue.find(name).files:
            weights = file.name.endswith("-of-00001") or file.name == "model.safetensors"
            assert file.most == (file.facts.size or (8 << 30 if weights else 16 << 20))
    n_bytes = catalogue.find("1558M").files[-1].facts.size
    assert n_bytes is not None
    assert 48 * 1024**2 * 4 + n_bytes < 8 << 30, "GPT-2 XL at Hugging Face, with its masks"


@pytest.mark.parametrize(
    "header", [f"Content-Length: {'1' * 5000}", f"Content-Length: -5\nContent-Range: bytes 0-{'1' * 5000}/*"]
)
def test_a_length_that_cannot_be_is_none(server: Server, url: str, tmp_path: Path, header: str) -> None:
    server.scripts["/hostile"] = says(f"HTTP/1.1 200 OK\n{header}", DATA)
    assert "does not say how long the file is" in failure(url, tmp_path / "new")


def test_a_range_that_cannot_be_starts_over(server: Server, url: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt.part").write_bytes(b"x" * 500)
    (tmp_path / "text.txt.part.json").write_text(json.dumps({"validator": '"v"', "size": 1013}))
    digits = "9" * 5000

    def first_time(handler: object) -> None:
        del server.scripts["/text.txt"]
        says(f'HTTP/1.1 206 Part\nETag: "v"\nContent-Range: bytes {digits}-{digits}/{digits}')(handler)  # type: ignore[arg-type]

    server.scripts["/text.txt"] = first_time
    download(collection(f"{server.url}/text.txt"), tmp_path, policy=WIRE)
    assert (tmp_path / "text.txt").read_bytes() == DATA


@pytest.mark.parametrize("wait", ["9" * 5000, "soon", "Fri, 99 Foo 2026", "-1", "²"])
def test_a_wait_that_cannot_be_is_none(server: Server, url: str, tmp_path: Path, wait: str) -> None:
    server.scripts["/hostile"] = says(f"HTTP/1.1 503 Busy\nRetry-After: {wait}")
    assert failure(url, tmp_path / "new") == f"{url}: the server answers 503 Busy"
    assert len(server.requests) == WIRE.tries


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://[::1",
            "http://:80/x",
            "http://h:port/",
            "http://127.0.0.1:99999/",
            "http://.x/",
        ),
        *(
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
            "data:text/plain,x",
            "http://[v1.x]/",
            "http://*/",
            "http://\xff\xfe/",
        ),
        f"http://{'a' * 70}.invalid/",
    ],
)
def test_a_redirect_to_what_is_no_address(server: Server, url: str, tmp_path: Path, location: str) -> None:
    server.scripts["/hostile"] = says(f"HTTP/1.1 302 Found\nLocation: {location}")
    assert failure(url, tmp_path / "new") == f"{url}: the server redirects to what is no address"


def test_a_redirect_in_utf8_is_followed(server: Server, url: str, tmp_path: Path) -> None:
    server.files["/%C3%A9"] = DATA
    server.scripts["/hostile"] = says("HTTP/1.1 302 Found\nLocation: /" + "é".encode().decode("latin-1"))
    download(collection(url), tmp_path, policy=WIRE)
    assert (tmp_path / "text.txt").read_bytes() == DATA


@pytest.mark.parametrize("location", ["/hostile", "http:///hostile", "//", "?", ""])
def test_redirects_have_an_end(server: Server, url: str, tmp_path: Path, location: str) -> None:
    server.scripts["/hostile"] = server.scripts["/hostile?"] = says(f"HTTP/1.1 302 Found\nLocation: {location}")
    assert failure(url, tmp_path / "new") == f"{url}: the server redirects more than 10 times"
    assert len(server.requests) == 11


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_https_never_leads_to_http(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset({"/text.txt": DATA})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))

    def trusting(policy: RetryPolicy) -> requests.Session:
        session = http.open_session(policy)
        session.verify = False
        return session

    monkeypatch.setattr(picogpt.download, "open_session", trusting)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with serving() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        url = f"https://127.0.0.1:{secure.server_port}/text.txt"
        secure.scripts["/text.txt"] = says(f"HTTP/1.1 302 Found\nLocation: {server.url}/text.txt")
        expected = "the server redirects from https to http, where anyone could change the file"
        assert failure(url, tmp_path / "new") == f"{url}: {expected}"
    assert not server.requests


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 404 {ESCAPE}",
        f"HTTP/1.1 404 {'x' * 60000}",
        f"HTTP/1.1 {ESCAPE}",
        ESCAPE,
        "x" * 100_000,
        "HTTP/1.1 200 OK\n" + "\n".join(f"x{i}: {ESCAPE}" for i in range(300)),
        f"HTTP/1.1 200 OK\nContent-Length: {ESCAPE}\nETag: \"{ESCAPE}\"\nLast-Modified: {ESCAPE}",
        f"HTTP/1.1 302 {ESCAPE}\nLocation: {ESCAPE}",
        f"HTTP/1.1 302 OK\nLocation: http://127.0.0.1:1/{ESCAPE}",
        f"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nX-Linked-ETag: \"{SHA256}\"\n\n{ESCAPE}",
    ],
)  # fmt: skip
def test_no_answer_reaches_a_terminal(
    server: Server,
    url: str,
    tmp_path: Path,
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Long lines or escape codes, in the status, in headers and instead of them; in notes and in errors."""
    server.scripts["/hostile"] = server.scripts["/hostile/the-verdict.txt"] = says(answer)
    failure(url, tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert main(["download", "the-verdict", "--base-url", url]) == 1
    out, err = capfd.readouterr()
    assert not out
    assert err.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "[" * 100_000),
        ("config.json", '{"n_embd": ' + "9" * 5000 + "}"),
        ("config.json", '{"\\u001b[31m": ' * 100_000),
        ("hparams.json", '{"n_vocab": "\\u001b[31m"}'),
        ("vocab.json", '["\x1b[31m"]'),
        ("checkpoint", "\x1b[31m"),
        ("model.safetensors", "\x1b[31m"),
    ],
)
def test_no_files_content_reaches_a_terminal(server: Server, url: str, tmp_path: Path, name: str, content: str) -> None:
    server.files["/hostile"] = content.encode()
    failure(url, tmp_path / "new", name)


def test_an_etag_that_cannot_be_sent_back_is_none(server: Server, url: str, tmp_path: Path) -> None:
    """It was kept beside the part, and every later download failed because of it: the server's own limit is near."""
    etag = '"' + "e" * 65525 + '"'
    server.scripts["/hostile"] = says(f"HTTP/1.1 200 OK\nContent-Length: 1013\nETag: {etag}", DATA[:500])
    with pytest.raises(NetworkError):
        download(collection(url), tmp_path, policy=WIRE)
    del server.scripts["/hostile"]
    server.files["/hostile"] = DATA
    download(collection(url), tmp_path, policy=WIRE)
    assert (tmp_path / "text.txt").read_bytes() == DATA


def with_password(url: str) -> str:
    return url.replace("://", "://user:secret@")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host:81/a/b", "https://host:81/a/b"),
        ("https://secret@host/a?secret=1#secret", "https://host/a"),
        ("http://user:secret@[::1/x", "http://[::1/x"),
        ("http://user:sec/ret@host/x", "http://…"),
        ("https://user:1234/secret@host/x", "https://…"),
        ("https://sec?ret@host/x", "https://…"),
        ("http://user:sec#ret@host/x", "http://…"),
        ("http://user:s\necret@host:port/x", "http://host:port/x"),
        ("user:secret@host/x", "host/x"),
        ("http://", "http://"),
    ],
)
def test_what_a_message_shows_of_an_address(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize("base", ["http://user:secret@[::1", "http://user:secret@127.0.0.1:1", "user:secret@host"])
def test_the_password_of_an_address_that_fails_is_not_shown(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PICOGPT_OFFLINE", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert main(["download", "124M", "--models-dir", str(tmp_path), "--base-url", base]) in (1, 2)
    assert main(["download", "124M", "--models-dir", str(tmp_path), "--base-url", base, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "secret" not in out + err
    assert "user" not in out + err


def test_a_password_goes_to_its_own_server_alone(server: Server, tmp_path: Path) -> None:
    server.reset({"/text.txt": DATA})
    with serving() as other:
        other.reset({"/text.txt": DATA})
        server.scripts["/away"] = says(f"HTTP/1.1 302 Found\nLocation: {with_password(other.url)}/text.txt")
        server.scripts["/here"] = says(f"HTTP/1.1 302 Found\nLocation: {server.url}/text.txt")
        for path, asked in (("away", other), ("here", server)):
            download(collection(with_password(f"{server.url}/{path}")), tmp_path / path, policy=WIRE)
            assert ("Authorization" in asked.headers[-1]) == (asked is server)
            assert all("Authorization" in headers for headers in server.headers)


@pytest.mark.parametrize("target", ["/gone", "http://127.0.0.1:{port}/gone"])
def test_the_token_of_a_redirect_is_not_shown(server: Server, url: str, tmp_path: Path, target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        location = target.format(port=taken.getsockname()[1]) + "?X-Amz-Signature=secret"
    server.scripts["/hostile"] = says(f"HTTP/1.1 302 Found\nLocation: {location}")
    assert "secret" not in failure(url, tmp_path / "new")


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    assert str(PicoGPTError("a\x1b[31m\nb\u202e\udcff é €")) == "a\\x1b[31m\\nb\\u202e\\udcff é €"
