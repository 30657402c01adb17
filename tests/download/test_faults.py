"""Random schedules of faults: whatever servers and wires do, no wrong file ever gets its final name."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.checkpoints import write_huggingface, write_openai
from picogpt.checksums import check_checksums
from picogpt.download import Collection, Facts, File, RetryPolicy, download
from picogpt.errors import PicoGPTError
from tests.download.server import KINDS, Fault, Server
from tests.random_model import random_params

TINY = {"n_vocab": 7, "n_ctx": 5, "n_embd": 2, "n_head": 1, "n_layer": 1}
DECLARED = {  # where a flipped bit could pass otherwise
    "/hparams.json": "md5",
    "/checkpoint": "md5",
    "/config.json": "md5",
    "/model.safetensors": "sha256",
}
IMPATIENT = RetryPolicy(tries=3, backoff=0, timeout=(1, 0.05), chunk_size=64)
PATIENT = RetryPolicy(tries=3, backoff=0, timeout=(10, 10), chunk_size=64)
TEXT = np.random.default_rng(1).bytes(1009)


@pytest.fixture(scope="module")
def fresh() -> Iterator[Iterator[Path]]:
    """Yields a new directory at each `next`."""
    memory = Path("/dev/shm")  # where syncing, which every file waits for, costs nothing
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        yield (Path(root, str(i)) for i in itertools.count())


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Kind of collection -> its files. What proves the bytes differs: a hash known before, checksums, a header."""
    root = tmp_path_factory.mktemp("models")
    params = random_params(np.random.default_rng(0), np.float32, TINY)
    write_openai(root / "openai", TINY, params)
    write_huggingface(root / "huggingface", TINY, params, "float16")
    names = {
        "openai": ("hparams.json", "checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"),
        "huggingface": ("config.json", "model.safetensors"),
    }
    models = {kind: {name: (root / kind / name).read_bytes() for name in files} for kind, files in names.items()}
    return {"text": {"text.txt": TEXT}, **models}


def facts(kind: str, data: bytes) -> Facts:
    """What is known of a file beforehand: of the course's texts all, of a model's files here nothing."""
    return Facts(len(data), hashlib.sha256(data).hexdigest()) if kind == "text" else Facts()


faults = st.builds(Fault, st.sampled_from(KINDS), st.integers(0, 1100))


@pytest.mark.slow
@given(
    kind=st.sampled_from(["text", "openai", "huggingface"]),
    schedule=st.lists(faults, max_size=7),
    forever=st.sampled_from([False, False, False, True]),
    validators=st.booleans(),
)
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_schedule_of_faults_ends_in_the_right_bytes_or_an_error(
    server: Server,
    fresh: Iterator[Path],
    contents: dict[str, dict[str, bytes]],
    kind: str,
    schedule: list[Fault],
    forever: bool,
    validators: bool,
) -> None:
    directory, files = next(fresh), contents[kind]
    server.reset({f"/{name}": data for name, data in files.items()}, schedule, validators)
    server.declares = DECLARED
    server.forever = forever
    collection = Collection(
        kind, tuple(File(name, (f"{server.url}/{name}",), facts(kind, data)) for name, data in files.items())
    )
    with contextlib.suppress(PicoGPTError):
        download(collection, directory, policy=IMPATIENT)
    for name, data in files.items():
        path = directory / name
        assert not path.exists() or path.read_bytes() == data, f"{name} is wrong under its final name"
    server.reset({f"/{name}": data for name, data in files.items()})
    download(collection, directory, policy=PATIENT)
    sums = [] if kind == "text" else ["SHA256SUMS"]
    assert sorted(path.name for path in directory.iterdir()) == sorted([*files, *sums])
    assert {name: (directory / name).read_bytes() for name in files} == files
    assert check_checksums(directory).keys() == (files.keys() if sums else set())


@pytest.mark.slow
@given(schedule=st.lists(faults.filter(lambda fault: fault.kind != "page"), max_size=9))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_file_that_changes_on_the_server_is_never_a_mixture(
    server: Server, fresh: Iterator[Path], schedule: list[Fault]
) -> None:
    """Nothing is known beforehand; only what the server says of the old file and of the new one.

    What the faults leave must not spoil the next download either, and that one has to succeed.
    """
    directory = next(fresh)
    path = directory / "text.txt"
    server.reset({"/text.txt": TEXT}, schedule)
    server.declares = {"/text.txt": "md5"}
    collection = Collection("text", (File("text.txt", (f"{server.url}/text.txt",)),))
    with contextlib.suppress(PicoGPTError):
        download(collection, directory, policy=IMPATIENT)
    assert not path.exists() or path.read_bytes() in (TEXT, TEXT[::-1])
    server.reset(server.files)
    server.declares = {"/text.txt": "md5"}
    download(collection, directory, policy=PATIENT)
    assert path.read_bytes() in (TEXT, TEXT[::-1])
