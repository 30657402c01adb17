"""One file over HTTP, in a way that can be interrupted anywhere and is never wrong under its final name.

The bytes go into a part. The next try asks for the rest, on condition that the file is still the same (RFC 9110,
sections 13.1.5 and 14). Only when the length, the hash and the content are right does the part take the final name.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from requests import Response, Session

from picogpt.download.catalogue import Facts, File
from picogpt.download.contents import check_content
from picogpt.download.http import BrokenTransferError, Wire, content_range, get, read
from picogpt.download.part import Digest, Part, Remote, check_space
from picogpt.errors import NetworkError, PicoGPTError


class Reporter(Protocol):
    """Who hears how it goes."""

    def note(self, line: str) -> None:
        """Something happened that is worth a line."""

    def progress(self, name: str, done: int, size: int | None) -> None:
        """`done` bytes of a file are there, of `size` if that is known; fewer than before when it starts over."""


def fetch(file: File, directory: Path, session: Session, wire: Wire, reporter: Reporter) -> None:
    """Bring the file into the directory from the first of its addresses that has it.

    Raises `PicoGPTError` when none has; what had arrived by then is kept, and the next call goes on from there.
    """
    failures: list[PicoGPTError] = []
    for url in file.urls:
        try:
            return fetch_from(url, file, directory, session, wire, reporter)
        except PicoGPTError as error:
            failures.append(error)
    network = any(isinstance(failure, NetworkError) for failure in failures)
    raise (NetworkError if network else PicoGPTError)("; ".join(str(failure) for failure in failures))


def fetch_from(url: str, file: File, directory: Path, session: Session, wire: Wire, reporter: Reporter) -> None:
    """`fetch` from one address: try until the file is whole, or until tries bring nothing new."""
    part = Part(directory / file.name)
    furthest, failures = part.size(), 0
    while True:
        try:
            receive(url, file, part, session, wire, reporter)
            return part.finish()
        except BrokenTransferError as error:
            failures = 1 if part.size() > furthest else failures + 1
            furthest = max(furthest, part.size())
            if failures == wire.tries:
                raise NetworkError(f"{url}: {error}; run the same command again later") from error
            reporter.note(f"{file.name}: {error}; trying again")
            time.sleep(wire.backoff * 2 ** (failures - 1))


def receive(url: str, file: File, part: Part, session: Session, wire: Wire, reporter: Reporter) -> None:
    """One try: ask for what the part lacks, add it, and check the whole; returns when all is right."""
    remote = part.remote()
    done = part.size() if remote.validator else 0
    headers = {"Range": f"bytes={done}-", "If-Range": str(remote.validator)} if done else {}
    with get(url, session, headers, wire) as response:
        if response.status_code == 200:  # from the beginning, because it must be or the server wants it so
            done, remote = 0, Remote.described(response)
            check_offer(url, remote, file.facts)
            check_space(part.path.parent, remote.size or 0)
            part.start(remote)
        elif response.status_code not in (206, 416):
            raise NetworkError(f"{url}: the server answers {response.status_code} {response.reason}")
        elif not continues(response, remote, done):
            part.discard()
            raise BrokenTransferError("the file has changed on the server")
        size = file.facts.size or remote.size
        digest = Digest(file.facts.sha256 or remote.sha256, remote.md5)
        reporter.progress(file.name, done, size)
        with part.path.open("ab") as out:
            digest.update_from(part.path, wire.chunk_size)
            for chunk in read(response, wire.chunk_size) if response.status_code != 416 else ():
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                reporter.progress(file.name, done, size)
                if size is not None and done > size:
                    break
    if size is not None and done < size:
        raise BrokenTransferError(f"it ended after {done:,} of {size:,} bytes")
    try:
        if size is not None and done > size:
            raise PicoGPTError(f"it goes on beyond its {size:,} bytes")
        digest.check()
        check_content(part.path, file.name, part.path.parent)
    except PicoGPTError as error:
        part.discard()
        raise BrokenTransferError(str(error)) from error


def check_offer(url: str, remote: Remote, facts: Facts) -> None:
    """Raise when the file that the server is about to send cannot be the one that is wanted."""
    if remote.size is not None and facts.size not in (None, remote.size):
        raise BrokenTransferError(f"the server has {remote.size:,} bytes, and the file should have {facts.size:,}")
    if not any((remote.size, facts.size, remote.sha256, facts.sha256, remote.md5)):
        raise NetworkError(f"{url}: the server does not say how long the file is, so half of it could pass for all")


def continues(response: Response, remote: Remote, done: int) -> bool:
    """Whether a 206 goes on exactly where the part ends, or a 416 says that nothing is left; of the same file."""
    first, total = content_range(response)
    validator = Remote.described(response).validator
    if not done or validator not in (None, remote.validator) or (total and remote.size and total != remote.size):
        return False
    return first == done if response.status_code == 206 else (total or remote.size) == done
