"""A real HTTP server on loopback that can do everything wrong that servers and wires do wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

ERROR_PAGE = b"<?xml version='1.0' encoding='utf-8'?><Error><Code>BlobNotFound</Code></Error>"


class Fault(NamedTuple):
    """What goes wrong with one answer. `at` is the byte of the body at which it does."""

    kind: str
    at: int = 0


# break, stall: at `at`; flip: the byte `at`; short, long: by a Content-Length that agrees, of `at` bytes less or more;
# junk: `at` bytes after the body; no_length, no_end: no Content-Length, and `at` bytes less or more;
# page, ignore_range, wrong_range, redirect; change: the file, for good; a status in digits, whose Retry-After is `at`
KINDS = (
    *("break", "stall", "flip", "short", "long", "junk", "no_length", "no_end", "page", "ignore_range", "wrong_range"),
    *("redirect", "change", "404", "416", "429", "500", "503"),
)


class Server(ThreadingHTTPServer):
    """Serves `files`, path -> bytes; the faults in `faults` happen to one GET after the other."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reset({})

    def reset(self, files: dict[str, bytes], faults: list[Fault] | None = None, validators: bool = True) -> None:
        self.files = dict(files)
        self.faults = list(faults or [])
        self.validators = validators
        self.declares: dict[
            str, str
        ] = {}  # path -> "md5", in Content-MD5, or "sha256", in Hugging Face's X-Linked-ETag
        self.scripts: dict[str, Script] = {}  # path -> what answers instead
        self.sent = 0  # bytes that `endless` could send
        self.forever = False  # whether the last fault happens again and again
        self.requests: list[tuple[str, str | None, int]] = []  # path, Range, status
        self.headers: list[dict[str, str]] = []  # of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_fault(self) -> Fault:
        if not self.faults:
            return Fault("none")
        return self.faults[0] if self.forever and len(self.faults) == 1 else self.faults.pop(0)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body would wait 40 ms after its header
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        if self.path in self.server.scripts:
            self.script()
        else:
            self.answer(200, {"Content-Length": str(len(self.server.files[self.path]))})

    def script(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range"), 0))
        self.server.headers.append(dict(self.headers))
        self.close_connection = True
        self.server.scripts[self.path](self)

    def do_GET(self) -> None:
        if self.path in self.server.scripts:
            self.script()
        else:
            self.serve_file()

    def serve_file(self) -> None:
        server = self.server
        kind, at = fault = server.next_fault() if "?" not in self.path else Fault("none")
        path = self.path.partition("?")[0]
        if kind == "change" and path in server.files:
            server.files[path] = bytes(reversed(server.files[path]))
        if path not in server.files:
            self.answer(404, {}, b"not here")
        elif kind == "redirect":
            self.answer(302, {"Location": f"{path}?moved", **self.declared(server.files[path])})
        elif kind == "page":
            self.answer(200, {}, ERROR_PAGE)
        elif kind.isdigit():
            self.answer(int(kind), {"Retry-After": str(at)} if at else {}, b"no")
        else:
            self.serve(server.files[path], fault)

    def declared(self, data: bytes) -> dict[str, str]:
        """What the server says of the bytes of an answer's body."""
        match self.server.declares.get(self.path.partition("?")[0]):
            case "md5":
                return {"Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode()}
            case "sha256":
                return {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return {}

    def serve(self, data: bytes, fault: Fault) -> None:
        kind, at = fault
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": etag} if self.server.validators else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked and self.headers.get("If-Range") == etag and kind != "ignore_range" else 0
        if first and first >= len(data):
            return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
        if kind == "wrong_range" and first:
            first -= 1
        status = 206 if first else 200
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        body = data[first:]
        headers |= self.declared(body)
        at = min(at, len(body))
        match kind:
            case "flip" if body:
                at = min(at, len(body) - 1)
                body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            case "short":
                body = body[: len(body) - at]
            case "long":
                body += b"\0" * (at + 1)
        if kind in ("break", "stall"):
            self.answer(status, {**headers, "Content-Length": str(len(body))}, body[:at])
            if kind == "stall":
                self.rfile.read(1)  # until the client has had enough
            self.close_connection = True
        elif kind in ("no_length", "no_end"):
            body = body[: len(body) - at] if kind == "no_length" else body + b"\0" * (at + 1)
            self.answer(status, {**headers, "Connection": "close"}, body, length=False)
            self.close_connection = True
        else:
            self.answer(status, headers, body + b"\0" * (at if kind == "junk" else 0), length=len(body))
        return None

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"", length: int | bool = True) -> None:
        self.server.requests.append((self.path, self.headers.get("Range"), status))
        self.server.headers.append(dict(self.headers))
        self.send_response(status)
        if length is not False and "Content-Length" not in headers:
            headers = {**headers, "Content-Length": str(len(body) if length is True else length)}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


Script = Callable[[Handler], None]
ENOUGH = 100 << 20  # bytes of an endless body, after which a client has proved that it reads them all


def says(head: str, body: bytes = b"") -> Script:
    """Answers with the head's lines as they are, and the body."""

    def script(handler: Handler) -> None:
        handler.wfile.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)

    return script


def endless(head: str, block: bytes = bytes(1 << 20)) -> Script:
    """Answers with the head, and with the block again and again until the client has gone."""

    def script(handler: Handler) -> None:
        says(head)(handler)
        while handler.server.sent < ENOUGH:
            handler.wfile.write(block)
            handler.server.sent += len(block)

    return script


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a thread of its own."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def serve_hub(server: Server, repository: str, files: dict[str, bytes], store: str | None = None) -> str:
    """Add a repository to a server, as Hugging Face's hub has it; returns the commit that is its main revision.

    Weights are stored elsewhere, at `store` or on the server itself, and the redirect there says their size and
    SHA-256. Of every other file the hub knows Git's name.
    """
    commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
    siblings: list[dict[str, object]] = []
    for name, data in files.items():
        sha256 = hashlib.sha256(data).hexdigest()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        file: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": git}
        place = f"/{repository}/resolve/{commit}/{name}"
        if name.endswith((".safetensors", ".bin")):
            file["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            server.files[f"/store/{sha256}"] = data
            server.scripts[place] = says(
                f"HTTP/1.1 302 Found\nLocation: {store or server.url}/store/{sha256}\nX-Repo-Commit: {commit}\n"
                f'X-Linked-ETag: "{sha256}"\nX-Linked-Size: {len(data)}\nContent-Length: 0'
            )
        else:
            server.files[place] = data
        siblings.append(file)
    answer = json.dumps({"id": repository, "sha": commit, "siblings": siblings, "tags": ["gpt2"]}).encode()
    ok = says(f"HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: {len(answer)}", answer)
    for revision in ("main", commit, "v1", "refs%2Fpr%2F1"):
        server.scripts[f"/api/models/{repository}/revision/{revision}?blobs=true"] = ok
    return commit
