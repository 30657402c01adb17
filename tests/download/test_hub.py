"""Models by their names at Hugging Face, from a server that answers as its hub does, and from some that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from picogpt.checkpoints import is_complete, write_huggingface
from picogpt.download import Collection, RetryPolicy, access, download, find, hub, verify
from picogpt.errors import NetworkError, PicoGPTError
from picogpt.pretrained import load
from picogpt.tokenizers import train_bpe
from tests.download.server import ENOUGH, Fault, Server, endless, says, serve_hub, serving
from tests.random_model import HPARAMS, random_params

NAME = "someone/gpt2-small.v1"
API = f"/api/models/{NAME}/revision/main?blobs=true"
TOKEN = "hf_secret"
WIRE = RetryPolicy(tries=3, backoff=0, timeout=(10, 10), chunk_size=1000)
UNIGRAM = Path(__file__).parents[1] / "data" / "unigram"
NEEDED = ["config.json", "vocab.json", "merges.txt", "model.safetensors"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("model")
    hparams = HPARAMS | {"n_vocab": 257}
    write_huggingface(directory, hparams, random_params(np.random.default_rng(0), np.float32, hparams))
    train_bpe(["to be or not to be"], 257, []).save(directory, "huggingface")
    return {name: (directory / name).read_bytes() for name in NEEDED}


@pytest.fixture(autouse=True)
def here(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset({})
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")


@pytest.fixture
def store() -> Iterator[Server]:
    """Another server, where the hub's large files are."""
    with serving() as server:
        yield server


def fetch(name: str, directory: Path) -> list[str]:
    return [file.name for file in download(find(name, policy=WIRE), directory, policy=WIRE)]


def names(collection: Collection) -> list[str]:
    return [file.name for file in collection.files]


def choice(files: dict[str, bytes], server: Server) -> list[str]:
    serve_hub(server, NAME, files)
    return names(find(NAME, policy=WIRE))


def test_a_model_by_its_name(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    more = {"README.md": b"#", "onnx/model.onnx": b"x", "pytorch_model.bin": b"x", "tokenizer_config.json": b"{}"}
    commit = serve_hub(server, NAME, model | more)
    assert sorted(fetch(NAME, tmp_path / NAME)) == sorted([*NEEDED, "tokenizer_config.json"])
    found = {path.name: path.read_bytes() for path in (tmp_path / NAME).iterdir() if path.name != "SHA256SUMS"}
    assert found == model | {"tokenizer_config.json": b"{}"}
    assert f"/{NAME}/resolve/{commit}/config.json" in [path for path, _, _ in server.requests], "of that commit"
    verify(tmp_path / NAME)
    assert load(NAME, tmp_path).encoder.decode([1, 2])
    server.requests.clear()
    assert fetch(NAME, tmp_path / NAME) == []
    assert [path for path, _, _ in server.requests] == [API], "what is whole is not fetched again"


def test_a_goldfish_by_its_name(server: Server, tmp_path: Path) -> None:
    """It has tokenizer.json, which counts, and SentencePiece's own file, which is left there."""
    files = {path.name: path.read_bytes() for path in UNIGRAM.iterdir()}
    files = files | {"spiece.model": b"?", "added_tokens.json": b"{}"}
    serve_hub(server, NAME, files)
    assert sorted(fetch(NAME, tmp_path / NAME)) == sorted(files.keys() - {"expected.json", "spiece.model"})
    model = load(NAME, tmp_path)
    assert model.encoder.encode("to be") == load(UNIGRAM).encoder.encode("to be")
    assert model.generate("to be", 3)


def test_wordpiece_is_refused_before_the_weights_come(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    others = {name: model[name] for name in ("config.json", "model.safetensors")} | {"vocab.txt": b"[UNK]"}
    serve_hub(server, NAME, others)
    with pytest.raises(PicoGPTError, match=r"has WordPiece's vocabulary, as BERT has it \(vocab.txt\)"):
        fetch(NAME, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("revision", ["v1", "refs/pr/1"])
def test_a_revision(server: Server, model: dict[str, bytes], revision: str) -> None:
    commit = serve_hub(server, NAME, model)
    collection = find(f"{NAME}@{revision}", policy=WIRE)
    assert collection.name == f"{NAME}@{revision}"
    assert all(f"/{NAME}/resolve/{commit}/" in file.urls[0] for file in collection.files)


def test_files_that_changed_are_fetched_again(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    serve_hub(server, NAME, model)
    fetch(NAME, tmp_path)
    serve_hub(server, NAME, model | {"config.json": model["config.json"] + b"\n"})
    assert fetch(NAME, tmp_path) == ["config.json"]


def test_two_revisions_are_never_one_model(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    """The new config beside the old weights, when the network fails between the two."""
    serve_hub(server, NAME, model)
    fetch(NAME, tmp_path)
    weights = bytearray(model["model.safetensors"])
    weights[-1] ^= 1
    changed = {"config.json": model["config.json"] + b"\n", "model.safetensors": bytes(weights)}
    commit = serve_hub(server, NAME, model | changed)
    redirect = server.scripts.pop(f"/{NAME}/resolve/{commit}/model.safetensors")
    with pytest.raises(NetworkError, match="404"):
        fetch(NAME, tmp_path)
    assert not is_complete(tmp_path)
    server.scripts[f"/{NAME}/resolve/{commit}/model.safetensors"] = redirect
    assert fetch(NAME, tmp_path) == ["model.safetensors"]
    assert verify(tmp_path)["model.safetensors"] == "as SHA256SUMS has it"


def test_which_files_are_chosen(server: Server, model: dict[str, bytes]) -> None:
    """safetensors before .bin, whole before in shards, and only what lies at the top."""
    common = {"config.json": b"{}", "tokenizer.json": b"{}", "64.tflite": b"", "runs/config.json": b"{}"}
    before = ["config.json", "tokenizer.json"]
    shards = {f"model-0000{n}-of-00002.safetensors": b"" for n in (2, 1)} | {"model.safetensors.index.json": b""}
    torch = {"pytorch_model.bin": b"", "pytorch_model-00001-of-00001.bin": b"", "training_args.bin": b""}
    in_shards = [*before, "model.safetensors.index.json", *sorted(shards)[:2]]
    assert choice(common | torch | shards | {"model.safetensors": b""}, server) == [*before, "model.safetensors"]
    assert choice(common | torch | shards, server) == in_shards
    assert choice(common | torch, server) == [*before, "pytorch_model.bin"]
    del torch["pytorch_model.bin"]
    torch["pytorch_model.bin.index.json"] = b""
    assert choice(common | torch, server) == [
        *before,
        "pytorch_model.bin.index.json",
        "pytorch_model-00001-of-00001.bin",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["tf_model.h5", "config.json"], "has no model.safetensors or pytorch_model.bin, .* it has, tf_model.h5, is"),
        (["model.safetensors"], "has no config.json, which"),
        (["README.md"], "has no config.json, which a GPT-2 of Hugging Face's has$"),
        (["x/config.json", "x/model.safetensors"], "has no config.json"),
    ],
)
def test_a_repository_without_a_gpt2(server: Server, files: list[str], message: str) -> None:
    with pytest.raises(PicoGPTError, match=message):
        choice(dict.fromkeys(files, b"{}"), server)


def test_another_kind_of_model_is_refused_before_its_weights_come(
    server: Server, model: dict[str, bytes], tmp_path: Path
) -> None:
    """At once, and not as if the next try could bring another."""
    config = json.loads(model["config.json"]) | {"model_type": "llama"}
    serve_hub(server, NAME, model | {"config.json": json.dumps(config).encode()})
    with pytest.raises(PicoGPTError, match=r"/config.json describes a model that is not GPT-2's: .*'llama'") as caught:
        fetch(NAME, tmp_path / NAME)
    assert caught.value.exit_status == 2
    assert len(server.requests) == 2
    assert list(tmp_path.iterdir()) == [], "nothing is left, nor the owner's directory"


@pytest.mark.parametrize("name", NEEDED)
def test_a_flipped_bit_is_found(server: Server, model: dict[str, bytes], tmp_path: Path, name: str) -> None:
    """Of weights by their SHA-256, of small files by Git's name, on the way and on the disk."""
    serve_hub(server, NAME, model)
    server.faults = [Fault("none")] * NEEDED.index(name) + [Fault("flip", len(model[name]) - 2)]
    if name == "merges.txt":
        server.faults[-1] = Fault("flip", 4)
    assert sorted(fetch(NAME, tmp_path)) == sorted(NEEDED)
    assert (tmp_path / name).read_bytes() == model[name]
    data = bytearray(model[name])
    data[-2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert fetch(NAME, tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == model[name]


def test_what_was_interrupted_goes_on(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    serve_hub(server, NAME, model)
    server.faults = [Fault("none")] * 3 + [Fault("break", 5000)]
    fetch(NAME, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == model["model.safetensors"]
    assert "bytes=5000-" in [asked for _, asked, _ in server.requests]


def test_a_mirror_that_lists_names_alone(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    """Then the headers say how long the weights are, and what they hash to."""
    commit = serve_hub(server, NAME, model)
    answer = json.dumps({"sha": commit, "siblings": [{"rfilename": name} for name in NEEDED]}).encode()
    server.scripts[API] = says("HTTP/1.1 200 OK\nConnection: close", answer)
    server.faults = [Fault("none")] * 3 + [Fault("flip", 9000)]
    fetch(NAME, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == model["model.safetensors"]


def test_the_size_in_the_redirect_is_the_size(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    """Where the store says none: half would pass for all."""
    commit = serve_hub(server, NAME, model)
    place = f"/{NAME}/resolve/{commit}/config.json"
    n_bytes = len(model["config.json"])
    server.scripts[API] = says(
        "HTTP/1.1 200 OK", json.dumps({"sha": commit, "siblings": [{"rfilename": name} for name in NEEDED]}).encode()
    )
    server.files["/stored"] = server.files.pop(place)
    server.scripts[place] = says(f"HTTP/1.1 302 Found\nLocation: /stored\nX-Linked-Size: {n_bytes}\nContent-Length: 0")
    server.faults = [Fault("no_length", 1)]
    fetch(NAME, tmp_path)
    assert (tmp_path / "config.json").read_bytes() == model["config.json"]


def test_the_token_goes_to_the_hub_alone(
    server: Server, store: Server, model: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\n")
    serve_hub(server, NAME, model, store.url)
    store.reset({path: data for path, data in server.files.items() if path.startswith("/store/")})
    fetch(NAME, tmp_path)
    assert {headers.get("Authorization") for headers in server.headers} == {f"Bearer {TOKEN}"}
    assert [path for path, _, _ in store.requests] == list(store.files)
    assert all("Authorization" not in headers for headers in store.headers)
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_token_is_not_for_another_base(server: Server, store: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    serve_hub(store, NAME, {"config.json": b"", "model.safetensors": b""})
    find(NAME, base_url=store.url, policy=WIRE)
    assert all("Authorization" not in headers for headers in store.headers)
    assert access.authorization(f"http://127.0.0.1:{server.server_port}/x")
    for other in (
        "https://127.0.0.1",
        "http://127.0.0.1",
        f"http://localhost:{server.server_port}",
        "nowhere",
        "http://[",
    ):
        assert access.authorization(other) is None


def test_without_a_token_none_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    serve_hub(server, NAME, {"config.json": b"", "model.safetensors": b""})
    find(NAME, policy=WIRE)
    assert all("Authorization" not in headers for headers in server.headers)


@pytest.mark.parametrize("token", ["hf_a\nb", "hf_ä", "hf_\x1b"])
def test_a_token_that_cannot_be_sent_is_not_quoted(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(PicoGPTError, match="HF_TOKEN is no token") as caught:
        find(NAME, policy=WIRE)
    assert "hf_" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("401 Unauthorized\nX-Error-Code: RepoNotFound", f"there is no {NAME}, or it is private; .* set HF_TOKEN"),
        ("401 Unauthorized", f"there is no {NAME}, or it is private; .* set HF_TOKEN"),
        ("403 Forbidden\nX-Error-Code: GatedRepo", "accept its terms on its page"),
        ("404 Not Found\nX-Error-Code: RevisionNotFound", f"{NAME} has no revision main"),
        ("404 Not Found", f"there is no {NAME}"),
    ],
)
def test_what_the_hub_does_not_give(server: Server, head: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.scripts[API] = says(f"HTTP/1.1 {head}\nContent-Length: 0")
    with pytest.raises(PicoGPTError, match=message) as caught:
        find(NAME, policy=WIRE)
    assert caught.value.exit_status == 2
    assert TOKEN not in str(caught.value)


def test_a_file_that_is_not_given(server: Server, model: dict[str, bytes], tmp_path: Path) -> None:
    """Of a model with terms the list is public, and the files are not."""
    commit = serve_hub(server, NAME, model)
    place = f"/{NAME}/resolve/{commit}/config.json"
    server.scripts[place] = says("HTTP/1.1 401 Unauthorized\nContent-Length: 0")
    with pytest.raises(PicoGPTError, match=r"config\.json: the server answers 401; set HF_TOKEN") as caught:
        fetch(NAME, tmp_path)
    assert caught.value.exit_status == 2


SHA = "0" * 40
FILE = {"rfilename": "config.json", "size": 3}


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"\xff",
        b"[]",
        b"null",
        json.dumps({"sha": SHA}),
        json.dumps({"siblings": []}),
        json.dumps({"sha": "main", "siblings": []}),
        json.dumps({"sha": 7, "siblings": []}),
        json.dumps({"sha": SHA, "siblings": 3}),
        json.dumps({"sha": SHA, "siblings": ["config.json"]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"size": -1}]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"size": "3"}]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"size": True}]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"blobId": "../x"}]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"lfs": {"sha256": SHA}}]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"lfs": []}, {}]}),
        json.dumps({"sha": SHA, "siblings": [FILE | {"lfs": "yes"}]}),
        json.dumps({"sha": SHA, "siblings": []})[:-1],
        "[" * 100_000,
    ],
)
def test_an_answer_that_is_none(server: Server, answer: bytes | str) -> None:
    body = answer if isinstance(answer, bytes) else answer.encode()
    server.scripts[API] = says(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)
    with pytest.raises(NetworkError, match="the answer is not what a hub says of a model") as caught:
        find(NAME, policy=WIRE)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_an_answer_that_breaks_off_is_asked_for_again(server: Server) -> None:
    serve_hub(server, NAME, {"config.json": b"", "model.safetensors": b""})
    whole, answers = server.scripts[API], iter([says("HTTP/1.1 200 OK\nContent-Length: 900", b'{"sha"')])
    server.scripts[API] = lambda handler: next(answers, whole)(handler)
    assert names(find(NAME, policy=WIRE)) == ["config.json", "model.safetensors"]
    server.scripts[API] = says("HTTP/1.1 200 OK\nContent-Length: 900", b'{"sha"')
    with pytest.raises(NetworkError, match=r"the connection broke .*run the same command again later"):
        find(NAME, policy=WIRE)


def test_an_answer_without_end_has_a_ceiling(server: Server) -> None:
    server.scripts[API] = endless("HTTP/1.1 200 OK")
    with pytest.raises(NetworkError, match="the answer has more than 16,777,216 bytes"):
        find(NAME, policy=WIRE._replace(chunk_size=1 << 20))
    assert server.sent < ENOUGH


def test_sizes_have_a_ceiling(server: Server) -> None:
    for name, most in (("config.json", hub.MOST_ELSE), ("model.safetensors", hub.MOST_WEIGHTS)):
        sizes = {"config.json": 3, "model.safetensors": 3, name: most + 1}
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        body = json.dumps({"sha": SHA, "siblings": siblings}).encode()
        server.scripts[API] = says(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)
        with pytest.raises(PicoGPTError, match=f"{name} has {most + 1:,} bytes; it may have {most:,} at most"):
            find(NAME, policy=WIRE)


@pytest.mark.parametrize(
    "name",
    [
        "/x",
        "x/",
        "a/b/c",
        "../x",
        "a/..",
        "a/b..c",
        ".a/b",
        "a/b@",
        "a/b@../c",
        "a/b@x..y",
        "a b/c",
        "a/b?c",
        "a/b\n",
        "ä/b",
    ],
)
def test_what_is_no_name(server: Server, name: str) -> None:
    with pytest.raises(PicoGPTError, match="is no name of a model: it should be OWNER/NAME"):
        find(name, policy=WIRE)
    assert not server.requests


def test_names_that_lead_elsewhere_are_not_taken(server: Server) -> None:
    files = {"config.json": b"", "model.safetensors": b"", "../evil.json": b"", "/tokenizer.json": b""}
    assert choice(files, server) == ["config.json", "model.safetensors"]


def test_offline_and_sources(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PicoGPTError, match="leave --source openai out"):
        find(NAME, "openai")
    monkeypatch.setenv("PICOGPT_OFFLINE", "1")
    with pytest.raises(PicoGPTError, match="PICOGPT_OFFLINE forbids to connect"):
        find(NAME)
    assert not server.requests
