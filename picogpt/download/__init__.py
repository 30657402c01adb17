"""Getting GPT-2's weights, its relatives', and the course's texts. Nothing else in picogpt touches the network.

A file has its final name only when it is whole, verified and on the disk. Pull the plug at any moment, run the same
command again, and it resumes from there.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from picogpt.checkpoints import is_complete
from picogpt.checksums import read_checksums, write_checksums
from picogpt.download import catalogue
from picogpt.download.catalogue import Collection, Facts, File
from picogpt.download.contents import check_content, check_facts, verify
from picogpt.download.http import RetryPolicy, open_session, remote_size
from picogpt.download.hub import hub_model
from picogpt.download.part import Part, check_space
from picogpt.download.transfer import Reporter, fetch
from picogpt.errors import PicoGPTError, what
from picogpt.files import CHECKSUMS
from picogpt.lock import locked

__all__ = ["Collection", "Facts", "File", "Reporter", "RetryPolicy", "download", "find", "plan", "verify"]


class NullReporter:
    """A reporter that says nothing."""

    def note(self, line: str) -> None:
        pass

    def progress(self, name: str, done: int, size: int | None) -> None:
        pass


def find(
    name: str, source: str | None = None, base_url: str | None = None, *, policy: RetryPolicy | None = None
) -> Collection:
    """The files of a model or text; of `OWNER/NAME[@REVISION]` Hugging Face's hub is asked what they are.

    `source` and `base_url` are as in `catalogue.find`. Raises `PicoGPTError` where there is no such model, and when
    PICOGPT_OFFLINE forbids to ask; `NetworkError` when there is no answer.
    """
    if "/" not in name:
        return catalogue.find(name, source, base_url)
    if source == "openai":
        raise PicoGPTError(f"{name} is a name at Hugging Face; leave --source openai out")
    if offline():
        raise PicoGPTError(f"what {name} is made of only its hub knows, and PICOGPT_OFFLINE forbids to connect")
    return hub_model(name, base_url, policy)


def download(
    collection: Collection, directory: Path, *, reporter: Reporter | None = None, policy: RetryPolicy | None = None
) -> list[File]:
    """Fetch into the directory what is not there whole, and return the files that had to be fetched.

    Of two downloads into one directory the second waits for the first. Raises `NetworkError` when the network or the
    server keeps failing (what has arrived is kept for the next call), and `PicoGPTError` for a directory that cannot
    be written, too little space, an address that is none, and when PICOGPT_OFFLINE forbids to connect.
    """
    reporter, policy = reporter or NullReporter(), policy or RetryPolicy()
    try:
        lock = directory / f".{Path(collection.name).name}.lock"
        with locked(lock, lambda: reporter.note(f"another download of {collection.name} is running; waiting for it")):
            return fetch_missing(collection, directory, reporter, policy)
    except OSError as error:
        raise PicoGPTError(
            f"cannot write to {error.filename or directory}: {what(error)}; choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # if nothing has come, nothing is left
            for made in [directory, *directory.parents][: 1 + collection.name.count("/")]:
                made.rmdir()


def plan(collection: Collection, directory: Path) -> dict[str, tuple[int | None, bool]]:
    """File -> its size, asked from the server where it is not known, and whether it is here; nothing is fetched."""
    sizes: dict[str, tuple[int | None, bool]] = {}
    policy = RetryPolicy(tries=1)
    with open_session(policy) as session:
        for file in collection.files:
            path = directory / file.name
            size = path.stat().st_size if path.exists() else file.facts.size
            if size is None and not offline():
                size = next(filter(None, (remote_size(url, session, policy) for url in file.urls)), None)
            sizes[file.name] = (size, path.exists())
    return sizes


def offline() -> bool:
    return os.environ.get("PICOGPT_OFFLINE", "0") not in ("", "0")


def fetch_missing(collection: Collection, directory: Path, reporter: Reporter, policy: RetryPolicy) -> list[File]:
    """One file after the other, since each is checked against those before it; of a model the checksums come last."""
    absent = [file for file in collection.files if not (directory / file.name).exists()]
    check_space(directory, sum((file.facts.size or 0) - Part(directory / file.name).size() for file in absent))
    sums = known_checksums(directory, reporter)
    fetched: list[File] = []
    with open_session(policy) as session:
        for file in collection.files:
            if not is_whole(file, directory, sums.get(file.name), reporter):
                if offline():
                    raise PicoGPTError(
                        f"{file.name} of {collection.name} is not here, and PICOGPT_OFFLINE forbids to connect"
                    )
                if not fetched:
                    remove_changed(collection, directory)
                fetch(file, directory, session, policy, reporter)
                fetched.append(file)
    names = [file.name for file in collection.files]
    if (fetched or sums.keys() != {*names}) and is_complete(directory):
        write_checksums(directory, names)
    return fetched


def remove_changed(collection: Collection, directory: Path) -> None:
    """What is of another revision goes before the first file of this one comes: the two are never one model."""
    for file in collection.files:
        path = directory / file.name
        if file.facts.is_hashed and path.exists():
            try:
                check_facts(path, file.facts)
            except PicoGPTError:
                path.unlink()


def known_checksums(directory: Path, reporter: Reporter) -> dict[str, str]:
    """What an earlier download found the files to be."""
    try:
        return read_checksums(directory)
    except PicoGPTError as error:
        reporter.note(f"{error}; writing it anew")
        (directory / CHECKSUMS).unlink()
        return {}


def is_whole(file: File, directory: Path, sha256: str | None, reporter: Reporter) -> bool:
    """Whether the file is there and holds what it should; one that is damaged will be fetched again."""
    path = directory / file.name
    if not path.exists():
        return False
    try:
        check_facts(path, file.facts if file.facts.is_hashed else file.facts._replace(sha256=sha256))
        check_content(path, file.name, directory)
    except PicoGPTError as error:
        reporter.note(f"{error}; fetching it again")
        return False
    Part(path).notes.unlink(missing_ok=True)  # left by a process that was killed just before it would do so
    return True
