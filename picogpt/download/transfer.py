"""One file over HTTP, in a way that can be interrupted anywhere and is never wrong under its final name.

The bytes go into a part. The next try asks for the rest, on condition that the file is still the same (RFC 9110,
sections 13.1.5 and 14). Only when the length, the hash and the content are right does the part take the final name.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from requests import Response, Session

from picogpt.download.access import ASK_FOR_IT, REFUSED, is_hub
from picogpt.download.catalogue import File
from picogpt.download.contents import check_content
from picogpt.download.http import (
    BrokenTransferError,
    RetryPolicy,
    content_range,
    get,
    quoted,
    read,
    without_secrets,
)
from picogpt.download.part import Digest, Part, Remote, check_space
from picogpt.errors import NetworkError, PicoGPTError


class Reporter(Protocol):
    """Who hears how it goes."""

    def note(self, line: str) -> None:
        """Something happened that is worth a line."""

    def progress(self, name: str, done: int, size: int | None) -> None:
        """`done` bytes of a file are there, of `size` if that is known; fewer than before when it starts over."""


def fetch(file: File, directory: Path, session: Session, policy: RetryPolicy, reporter: Reporter) -> None:
    """Bring the file into the directory from the first of its addresses that has it.

    Raises `PicoGPTError` when none has; what had arrived by then is kept, and the next call resumes from there.
    """
    failures: list[PicoGPTError] = []
    for url in file.urls:
        try:
            return Transfer(url, file, Part(directory / file.name), session, policy, reporter).run()
        except PicoGPTError as error:
            failures.append(error)
    network = any(isinstance(failure, NetworkError) for failure in failures)
    raise (NetworkError if network else PicoGPTError)("; ".join(str(failure) for failure in failures))


@dataclass
class Transfer:
    """A file on its way from one address into its part, and under its name."""

    url: str
    file: File
    part: Part
    session: Session
    policy: RetryPolicy
    reporter: Reporter

    @property
    def shown(self) -> str:
        """The address in messages."""
        return without_secrets(self.url)

    @property
    def bound(self) -> str:
        return f"{self.file.name} may have {self.file.most:,} at most"

    def run(self) -> None:
        """Try until the file is whole, or until tries bring nothing new."""
        furthest, failures = self.part.size(), 0
        while True:
            try:
                self.receive()
                return self.part.finish()
            except BrokenTransferError as error:
                failures = 1 if self.part.size() > furthest else failures + 1
                furthest = max(furthest, self.part.size())
                if failures == self.policy.tries:
                    raise NetworkError(f"{self.shown}: {error}; run the same command again later") from error
                self.reporter.note(f"{self.file.name}: {error}; trying again")
                time.sleep(self.policy.backoff * 2 ** (failures - 1))

    def receive(self) -> None:
        """One try: ask for what the part lacks, add it, and check the whole. When this returns, the part is right."""
        remote = self.part.remote()
        done = self.part.size() if remote.validator else 0
        headers = {"Range": f"bytes={done}-", "If-Range": str(remote.validator)} if done else {}
        with get(self.url, self.session, headers, self.policy) as response:
            if response.status_code == 200:  # from the beginning, because it must be or the server wants it so
                remote, done = self.start(response), 0
            elif response.status_code in REFUSED and is_hub(self.url):
                raise PicoGPTError(f"{self.shown}: the server answers {response.status_code}; {ASK_FOR_IT}")
            elif response.status_code not in (206, 416):
                raise NetworkError(
                    f"{self.shown}: the server answers {response.status_code} {quoted(response.reason or '')}"
                )
            elif not continues(response, remote, done):
                self.part.discard()
                raise BrokenTransferError("the file has changed on the server")
            size = self.file.facts.size or remote.size
            digest = Digest(self.file.facts, remote)
            self.append(response, size, digest)
        self.verify(size, digest)

    def start(self, response: Response) -> Remote:
        """Begin the part anew, if the server's file can be the one that is wanted."""
        remote, facts = Remote.described(response), self.file.facts
        if remote.size is not None and facts.size not in (None, remote.size):
            raise BrokenTransferError(f"the server has {remote.size:,} bytes, and the file should have {facts.size:,}")
        if not any((remote.size, facts.size, remote.sha256, facts.sha256, remote.md5)):
            raise NetworkError(
                f"{self.shown}: the server does not say how long the file is, so half could pass for all"
            )
        if (remote.size or 0) > self.file.most:
            raise NetworkError(f"{self.shown}: the server has {remote.size:,} bytes; {self.bound}")
        check_space(self.part.path.parent, remote.size or self.file.most)
        self.part.start(remote)
        return remote

    def append(self, response: Response, size: int | None, digest: Digest) -> None:
        """Add the answer's bytes to the part, and all of the part's to the digest."""
        with self.part.path.open("ab") as out:
            digest.update_from(self.part.path, self.policy.chunk_size)
            self.reporter.progress(self.file.name, out.tell(), size)
            if response.status_code == 416:
                return  # nothing was left to ask for
            for chunk in read(response, self.policy.chunk_size):
                out.write(chunk)
                digest.update(chunk)
                self.reporter.progress(self.file.name, out.tell(), size)
                if out.tell() > (size or self.file.most):
                    break

    def verify(self, size: int | None, digest: Digest) -> None:
        """Check the part. One that is too short is kept, to be gone on with; one that is wrong is discarded."""
        done = self.part.size()
        if size is None and done > self.file.most:
            self.part.discard()
            raise NetworkError(f"{self.shown}: the server says no length and does not end; {self.bound}")
        if size is not None and done < size:
            raise BrokenTransferError(f"it ended after {done:,} of {size:,} bytes")
        try:
            if size is not None and done > size:
                raise PicoGPTError(f"it continues beyond its {size:,} bytes")
            digest.check()
        except PicoGPTError as error:
            self.part.discard()
            raise BrokenTransferError(str(error)) from error
        try:
            check_content(self.part.path, self.file.name, self.part.path.parent)
        except PicoGPTError as error:
            self.part.discard()
            if self.file.facts.is_hashed:  # then it is the file that is meant, and would be so again
                raise PicoGPTError(str(error).replace(str(self.part.path), self.shown)) from error
            raise BrokenTransferError(str(error)) from error


def continues(response: Response, remote: Remote, done: int) -> bool:
    """Whether a 206 continues exactly where the part ends, or a 416 says that nothing is left; of the same file."""
    first, total = content_range(response)
    validator = Remote.described(response).validator
    if not done or validator not in (None, remote.validator) or (total and remote.size and total != remote.size):
        return False
    return first == done if response.status_code == 206 else (total or remote.size) == done
