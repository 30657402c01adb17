"""Where models are looked for: the user's folder, and Hugging Face's cache as its own library makes it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from picogpt.places import (
    cached_models,
    cached_snapshot,
    download_place,
    history_file,
    hub_cache,
    search_path,
    user_models,
)

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working directory of the test's own, and no setting."""
    for variable in (
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "HF_HOME",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "LOCALAPPDATA",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "place", "of_history"),
    [
        ("linux", ".local/share", ".local/state"),
        ("darwin", "Library/Application Support", "Library/Application Support"),
        ("win32", "AppData/Local", "AppData/Local"),
    ],
)
def test_the_users_folder(
    home: Path, platform: str, place: str, of_history: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert history_file() == home / of_history / "picogpt" / "history"
    assert user_models() == home / place / "picogpt" / "models"
    assert user_models() in search_path()
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert (user_models() == Path("/local/picogpt/models")) == (platform == "win32")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert user_models() == Path("/data/picogpt/models")
    assert history_file() == Path("/state/picogpt/history")


def test_downloads_go_where_models_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert download_place() == user_models()
    (home / "models").mkdir()
    assert download_place() == Path("models")
    monkeypatch.setenv("PICOGPT_MODELS_DIR", "set")
    assert download_place() == Path("set")
    assert download_place("given") == Path("given")
    assert download_place("given") in search_path("given")


def test_where_hugging_faces_cache_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As huggingface_hub 2.4 says, the later setting before the earlier."""
    assert hub_cache() == home / ".cache/huggingface/hub"
    for variable, value, place in (
        ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
        ("HF_HOME", "~/h", f"{home}/h/hub"),
        ("HUGGINGFACE_HUB_CACHE", "$HOME/old", f"{home}/old"),
        ("HF_HUB_CACHE", "/new", "/new"),
    ):
        monkeypatch.setenv(variable, value)
        assert hub_cache() == Path(place)


def test_a_home_that_nobody_knows_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert user_models().parts[0] == hub_cache().parts[0] == "~"


def cached(home: Path, repository: str, commit: str, *refs: str) -> Path:
    folder = home / ".cache/huggingface/hub" / f"models--{repository.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True)
    for ref in refs:
        path = folder / "refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)
    return folder / "snapshots" / commit


def test_a_name_finds_its_snapshot(home: Path) -> None:
    first = cached(home, "some/gpt", OTHER, "v1", "refs/pr/1")
    assert cached_snapshot("some/gpt") is None, "main is not there, and no other stands in for it"
    main = cached(home, "some/gpt", COMMIT, "main")
    assert cached_snapshot("some/gpt") == cached_snapshot("some/gpt@main") == main
    assert cached_snapshot(f"some/gpt@{COMMIT}") == main
    for revision in ("v1", "refs/pr/1", OTHER):
        assert cached_snapshot(f"some/gpt@{revision}") == first
    assert cached_snapshot("some/gpt@v2") is None
    assert cached_snapshot("gpt") is None
    old = cached(home, "gpt2", COMMIT, "main")
    assert cached_snapshot("gpt2") == old
    assert cached_models() == ["gpt2", "some/gpt"]


@pytest.mark.parametrize("name", ["", ".", "/", "some/gpt@", "some/gpt@/etc/x", "some/gpt@../refs", "a/../b", "a/b/c"])
def test_what_is_no_name_is_not_there(home: Path, name: str) -> None:
    cached(home, "some/gpt", COMMIT, "main")
    assert cached_snapshot(name) is None


@pytest.mark.parametrize("content", ["", "..", ".", f"../{COMMIT}", "/", f"{COMMIT}\0", "c" * 40])
def test_a_reference_to_nowhere(home: Path, content: str) -> None:
    cached(home, "some/gpt", COMMIT, "main").parents[1].joinpath("refs/main").write_text(content)
    assert cached_snapshot("some/gpt") is None
