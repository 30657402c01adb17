"""A file on its way: `FILE.part` has its bytes so far, `FILE.part.json` says what file of the server's they are of."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from requests import Response

from picogpt.download.catalogue import Facts
from picogpt.download.contents import git_hash
from picogpt.download.http import number
from picogpt.errors import PicoGPTError
from picogpt.files import publish

# A strong ETag, since a weak one promises no bytes, or a date. It will be sent back: within a header's limits.
VALIDATOR = r'"[!#-~]{0,200}"|[A-Z][A-Za-z0-9 ,:+-]{1,50}'


class Remote(NamedTuple):
    """What a server says about a file. Hashes are in hexadecimal."""

    validator: str | None = None  # an ETag or a date, by which a later request can insist on the same file
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @classmethod
    def described(cls, response: Response) -> Remote:
        """From an answer that begins the whole file; the Content-MD5 of a part would be the part's.

        Hugging Face gives the length and the SHA-256 of a large file in the redirect to where it is stored.
        """
        headers = response.headers
        names = ("ETag", "Last-Modified", "Content-Length", "Content-MD5")
        etag, date, length, md5 = (headers.get(name, "") for name in names)
        answers = [*response.history, response]
        tags = [answer.headers.get("X-Linked-ETag", "").strip('"') for answer in answers]
        lengths = [length, *(answer.headers.get("X-Linked-Size", "") for answer in answers)]
        return cls(
            validator=next((text for text in (etag, date) if re.fullmatch(VALIDATOR, text)), None),
            size=next((size for size in map(number, lengths) if size is not None), None),
            sha256=next((tag for tag in tags if re.fullmatch("[0-9a-f]{64}", tag)), None),
            md5=base64.b64decode(md5).hex() if re.fullmatch("[A-Za-z0-9+/]{22}==", md5) else None,
        )


class Part:
    """The partial file that will be `path`, and its notes."""

    def __init__(self, path: Path) -> None:
        self.final = path
        self.path = path.with_name(f"{path.name}.part")
        self.notes = path.with_name(f"{path.name}.part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def remote(self) -> Remote:
        """What the bytes are of. Nothing is known where the notes are missing, or are none of ours."""
        try:
            return Remote(**json.loads(self.notes.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return Remote()

    def start(self, remote: Remote) -> None:
        """Begin anew. The notes are on the disk before there are bytes that they could be wrong about."""
        self.discard()
        with self.notes.open("w", encoding="utf-8") as file:
            json.dump(remote._asdict(), file)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def finish(self) -> None:
        """Sync the part to the disk, then give it the final name."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        publish(self.path, self.final)
        self.notes.unlink(missing_ok=True)


class Digest:
    """A hash to check, computed in a thread of its own while the next bytes are being read and written."""

    def __init__(self, facts: Facts, remote: Remote) -> None:
        """The strongest of those that are known; nothing is computed when none is."""
        if facts.git is not None and facts.sha256 is None:
            self.expected: str | None = facts.git
            self.hash = git_hash(facts.size or 0)
        else:
            sha256 = facts.sha256 or remote.sha256
            self.expected = sha256 or remote.md5
            self.hash = hashlib.new("sha256" if sha256 else "md5", usedforsecurity=False)
        self.thread = ThreadPoolExecutor(1)
        self.pending: Future[None] | None = None

    def update(self, data: bytes) -> None:
        if self.expected is not None:
            if self.pending is not None:
                self.pending.result()
            self.pending = self.thread.submit(self.hash.update, data)

    def update_from(self, path: Path, chunk_size: int) -> None:
        """Take in the bytes that an earlier try left."""
        with path.open("rb") as file:
            while chunk := file.read(chunk_size):
                self.update(chunk)

    def check(self) -> None:
        """Raise `PicoGPTError` when it is not the expected one."""
        self.thread.shutdown()
        if self.expected not in (None, found := self.hash.hexdigest()):
            raise PicoGPTError(f"it has the {self.hash.name} {found} and not {self.expected}")


def check_space(directory: Path, needed: int) -> None:
    """Raise `PicoGPTError` when the disk has not so many bytes left."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise PicoGPTError(
            f"{directory} needs {needed:,} bytes and the disk has {free:,} left; free some or choose another"
        )
