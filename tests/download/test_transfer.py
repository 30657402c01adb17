"""One file: going on where it stopped, starting over where it must, and what each failure says."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from picogpt.download import Collection, Facts, File, RetryPolicy, download, http
from picogpt.errors import NetworkError, PicoGPTError
from picogpt.lock import locked
from tests.download.server import ERROR_PAGE, Fault, Server, serving

DATA = np.random.default_rng(2).bytes(1013)
WIRE = RetryPolicy(tries=3, backoff=0, timeout=(10, 10), chunk_size=100)
LONGEST_WAIT = http.LONGEST_WAIT  # while the server runs, its fixture makes it 0


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[str, int, int | None]] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, name: str, done: int, size: int | None) -> None:
        self.steps.append((name, done, size))


def collection(*urls: str, facts: Facts = Facts()) -> Collection:  # noqa: B008  # it is immutable
    return Collection("text", (File("text.txt", urls, facts),))


@pytest.fixture
def url(server: Server) -> str:
    server.reset({"/text.txt": DATA})
    return f"{server.url}/text.txt"


def ranges(server: Server) -> list[tuple[str | None, int]]:
    return [(asked, status) for _, asked, status in server.requests]


def leave_part(directory: Path, data: bytes, **notes: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "text.txt.part").write_bytes(data)
    (directory / "text.txt.part.json").write_text(json.dumps(notes))


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def assert_whole(directory: Path, data: bytes = DATA) -> None:
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {"text.txt": data}


@pytest.mark.parametrize("at", [1, 99, 100, 101, 1012])
def test_a_break_is_gone_on_from(server: Server, url: str, tmp_path: Path, at: int) -> None:
    """Not a byte is fetched twice, at a chunk's boundary or within one."""
    server.faults = [Fault("break", at)]
    listener = Listener()
    download(collection(url), tmp_path, policy=WIRE, reporter=listener)
    assert_whole(tmp_path)
    assert ranges(server) == [(None, 200), (f"bytes={at}-", 206)]
    assert listener.notes[0].startswith("text.txt: the connection broke (")
    assert listener.steps[-1] == ("text.txt", 1013, 1013)
    assert [done for _, done, _ in listener.steps] == sorted(done for _, done, _ in listener.steps)


def test_many_breaks_are_no_failure_while_each_try_brings_something(server: Server, url: str, tmp_path: Path) -> None:
    """A long file over a bad line breaks more often than one has patience for tries that bring nothing."""
    server.faults = [Fault("break", 50)] * 12
    download(collection(url), tmp_path, policy=WIRE)
    assert_whole(tmp_path)


def test_what_has_come_is_kept_when_it_fails(server: Server, url: str, tmp_path: Path) -> None:
    server.faults = [Fault("break", 700), *[Fault("break", 0)] * 3]
    with pytest.raises(NetworkError, match=r"/text\.txt: the connection broke .*; run the same command again later"):
        download(collection(url), tmp_path, policy=WIRE)
    assert (tmp_path / "text.txt.part").read_bytes() == DATA[:700]
    server.reset({"/text.txt": DATA})
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [("bytes=700-", 206)]
    assert_whole(tmp_path)


def test_a_file_that_has_changed_starts_over(server: Server, url: str, tmp_path: Path) -> None:
    leave_part(tmp_path, DATA[::-1][:500], validator=etag(DATA[::-1]), size=1013)
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [("bytes=500-", 200)]
    assert_whole(tmp_path)


def test_a_server_that_ignores_range_starts_over(server: Server, url: str, tmp_path: Path) -> None:
    server.faults = [Fault("break", 400), Fault("ignore_range")]
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [(None, 200), ("bytes=400-", 200)]
    assert_whole(tmp_path)


def test_a_server_without_validators_starts_over(server: Server, url: str, tmp_path: Path) -> None:
    """Nothing would say that the rest is of the same file."""
    server.validators = False
    server.faults = [Fault("break", 400)]
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [(None, 200), (None, 200)]
    assert_whole(tmp_path)


@pytest.mark.parametrize("size", [1013, None])
def test_416_on_a_complete_part_finishes(server: Server, url: str, tmp_path: Path, size: int | None) -> None:
    """It was killed between the last byte and the rename."""
    leave_part(tmp_path, DATA, validator=etag(DATA), size=size)
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [("bytes=1013-", 416)]
    assert_whole(tmp_path)


def test_416_on_a_part_that_is_too_long_starts_over(server: Server, url: str, tmp_path: Path) -> None:
    leave_part(tmp_path, DATA + b"x", validator=etag(DATA), size=None)
    download(collection(url), tmp_path, policy=WIRE)
    assert [status for _, status in ranges(server)] == [416, 200]
    assert_whole(tmp_path)


def test_another_range_than_was_asked_for_is_not_added(server: Server, url: str, tmp_path: Path) -> None:
    server.faults = [Fault("break", 400), Fault("wrong_range")]
    download(collection(url), tmp_path, policy=WIRE)
    assert [status for _, status in ranges(server)] == [200, 206, 200]
    assert_whole(tmp_path)


@pytest.mark.parametrize("notes", ["", "{", '{"size": 3}', '{"other": 1}', "[]"])
def test_notes_that_are_not_whole_start_over(server: Server, url: str, tmp_path: Path, notes: str) -> None:
    leave_part(tmp_path, b"something else")
    (tmp_path / "text.txt.part.json").write_text(notes)
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [(None, 200)]
    assert_whole(tmp_path)


def test_a_part_of_a_wrong_beginning_is_found_by_its_hash(server: Server, url: str, tmp_path: Path) -> None:
    leave_part(tmp_path, b"?" * 500, validator=etag(DATA), size=1013)
    facts = Facts(1013, hashlib.sha256(DATA).hexdigest())
    download(collection(url, facts=facts), tmp_path, policy=WIRE)
    assert ranges(server) == [("bytes=500-", 206), (None, 200)]
    assert_whole(tmp_path)


def test_the_md5_of_a_part_is_not_taken_for_the_files(server: Server, url: str, tmp_path: Path) -> None:
    server.declares = {"/text.txt": "md5"}
    server.faults = [Fault("break", 400)]
    download(collection(url), tmp_path, policy=WIRE)
    assert ranges(server) == [(None, 200), ("bytes=400-", 206)]
    assert_whole(tmp_path)


@pytest.mark.parametrize("declares", ["md5", "sha256"])
def test_bytes_that_do_not_match_the_servers_hash(server: Server, url: str, tmp_path: Path, declares: str) -> None:
    server.declares = {"/text.txt": declares}
    server.faults = [Fault("flip", 77)] * 3
    with pytest.raises(
        NetworkError, match=f"it has the {declares} [0-9a-f]+ and not {getattr(hashlib, declares)(DATA).hexdigest()}"
    ):
        download(collection(url), tmp_path, policy=WIRE)
    assert not tmp_path.is_dir()
    server.reset({"/text.txt": DATA}, [Fault("flip", 77)])
    server.declares = {"/text.txt": declares}
    download(collection(url), tmp_path, policy=WIRE)
    assert_whole(tmp_path)


def test_an_error_page_is_not_the_file(server: Server, url: str, tmp_path: Path) -> None:
    server.faults = [Fault("page")] * 3
    with pytest.raises(NetworkError, match=f"the server has {len(ERROR_PAGE)} bytes, and the file should have 1,013"):
        download(collection(url, facts=Facts(1013)), tmp_path, policy=WIRE)
    assert not tmp_path.is_dir()


def test_a_length_that_nobody_says_is_refused(server: Server, url: str, tmp_path: Path) -> None:
    """The connection's end could be the file's or a break."""
    server.faults = [Fault("no_length")]
    with pytest.raises(NetworkError, match="does not say how long the file is"):
        download(collection(url), tmp_path, policy=WIRE)
    server.faults = [Fault("no_length")]
    download(collection(url, facts=Facts(1013)), tmp_path, policy=WIRE)
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"), [("no_length", "it ended after 1,000 of 1,013"), ("no_end", "it continues bey")]
)
def test_where_only_the_length_is_known_it_is_enough(
    server: Server, url: str, tmp_path: Path, kind: str, message: str
) -> None:
    """The answer says no length itself: its end is where the server hangs up."""
    server.faults = [Fault(kind, 13)]
    listener = Listener()
    download(collection(url, facts=Facts(1013)), tmp_path, policy=WIRE, reporter=listener)
    assert message in listener.notes[0]
    assert_whole(tmp_path)


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_a_busy_server_is_asked_again_when_it_says(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http, "LONGEST_WAIT", LONGEST_WAIT)
    monkeypatch.setattr("time.sleep", waits.append)
    server.faults = [Fault(status, 7), Fault(status, 86400)]
    download(collection(url), tmp_path, policy=WIRE)
    assert_whole(tmp_path)
    assert waits == [7, 60], "as long as it says, but not a day"


@pytest.mark.parametrize("status", ["404", "503"])
def test_a_server_that_has_it_not_is_left_for_the_next(server: Server, url: str, tmp_path: Path, status: str) -> None:
    with serving() as mirror:
        mirror.reset({"/text.txt": DATA})
        server.faults = [Fault(status)] * 3
        download(collection(url, f"{mirror.url}/text.txt"), tmp_path, policy=WIRE)
    assert_whole(tmp_path)


def test_when_all_have_it_not_all_are_named(server: Server, url: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as caught:
        download(collection(f"{server.url}/a", f"{server.url}/b"), tmp_path, policy=WIRE)
    assert (
        str(caught.value)
        == f"{server.url}/a: the server answers 404 Not Found; {server.url}/b: the server answers 404 Not Found"
    )
    assert not tmp_path.is_dir(), "an empty directory could pass for a model"


def test_a_redirect_is_followed(server: Server, url: str, tmp_path: Path) -> None:
    server.faults = [Fault("redirect")]
    download(collection(url), tmp_path, policy=WIRE)
    assert_whole(tmp_path)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NetworkError, match=rf"http://127\.0\.0\.1:{port}/x: .*Connection refused.*; run the same"):
        download(collection(f"http://127.0.0.1:{port}/x"), tmp_path, policy=WIRE)


def test_a_name_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(
        PicoGPTError, match=r"there is no host nowhere\.invalid; check the address and the network"
    ) as caught:
        download(collection("http://nowhere.invalid/x"), tmp_path, policy=WIRE)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("address", ["nowhere/x", "ftp://nowhere/x", "http://", "http://[::1/x"])
def test_what_is_no_address(tmp_path: Path, address: str) -> None:
    with pytest.raises(PicoGPTError, match="is no address") as caught:
        download(collection(address), tmp_path, policy=WIRE)
    assert caught.value.exit_status == 2


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with pytest.raises(
            PicoGPTError, match=r"certificate is not trusted \(.*; check the clock, or set REQ"
        ) as caught:
            download(collection(f"https://localhost:{server.server_port}/x"), tmp_path, policy=WIRE)
    assert caught.value.exit_status == 2


def test_a_proxy_is_honoured_and_a_token_is_not_sent(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reset({"http://far.invalid/text.txt": DATA})
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    download(collection("http://far.invalid/text.txt"), tmp_path, policy=WIRE)
    assert_whole(tmp_path)
    assert "secret" not in str(server.headers)


def test_too_little_space_is_said_before_anything_is_fetched(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000))
    with pytest.raises(PicoGPTError, match="needs 1,013 bytes and the disk has 1,000 left"):
        download(collection(url, facts=Facts(1013)), tmp_path, policy=WIRE)
    assert not server.requests
    with pytest.raises(PicoGPTError, match="needs 1,013 bytes and the disk has 1,000 left"):
        download(collection(url), tmp_path, policy=WIRE)
    assert not tmp_path.is_dir()


def test_what_has_come_already_needs_no_space(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    leave_part(tmp_path, DATA[:500], validator=etag(DATA), size=1013)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(600))
    download(collection(url, facts=Facts(1013)), tmp_path, policy=WIRE)
    assert_whole(tmp_path)


def test_a_place_that_cannot_be_written(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PicoGPTError, match=r"cannot write to .*/file/models: ") as caught:
        download(collection(url), tmp_path / "file" / "models", policy=WIRE)
    assert caught.value.exit_status == 2


def test_offline_nothing_connects(server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICOGPT_OFFLINE", "1")
    with pytest.raises(PicoGPTError, match=r"text\.txt of text is not here, and PICOGPT_OFFLINE forbids"):
        download(collection(url), tmp_path, policy=WIRE)
    assert not server.requests
    monkeypatch.setenv("PICOGPT_OFFLINE", "0")
    download(collection(url), tmp_path, policy=WIRE)
    monkeypatch.setenv("PICOGPT_OFFLINE", "1")
    assert download(collection(url), tmp_path, policy=WIRE) == []


def test_of_two_downloads_the_second_waits_and_says_so(server: Server, url: str, tmp_path: Path) -> None:
    listener = Listener()
    arguments = {"policy": WIRE, "reporter": listener}
    second = threading.Thread(target=download, args=(collection(url), tmp_path), kwargs=arguments)
    with locked(tmp_path / ".text.lock", lambda: None):
        second.start()
        while not listener.notes:
            second.join(0.01)
        assert listener.notes == ["another download of text is running; waiting for it"]
        assert not server.requests
    second.join()
    assert_whole(tmp_path)
