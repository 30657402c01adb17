"""Where things are on this machine: models, in folders that are searched, the user's own among them, and in Hugging
Face's cache; and what was typed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

MODELS = Path("models")  # in the working directory


def search_path(models_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """The directories in which models are looked for, first to last."""
    chosen = models_dir or os.environ.get("PICOGPT_MODELS_DIR")
    package = Path(__file__).resolve().parent
    return [
        *([Path(chosen)] if chosen else []),
        MODELS,
        user_models(),
        package / "models",  # of an installed package
        package.parent / "models",  # of a checkout of the source
    ]


def download_place(models_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where a new model goes: the directory that was chosen, else `./models` where there is one, else the user's."""
    chosen = models_dir or os.environ.get("PICOGPT_MODELS_DIR")
    if chosen:
        return Path(chosen)
    return MODELS if MODELS.is_dir() else user_models()


def user_models() -> Path:
    """The user's own folder of models."""
    return user_folder("XDG_DATA_HOME", ".local/share") / "models"


def history_file() -> Path:
    """What the user typed in earlier conversations."""
    return user_folder("XDG_STATE_HOME", ".local/state") / "history"


def user_folder(variable: str, usual: str) -> Path:
    """The user's own folder in the platform's directory for data, or where the variable of XDG's says."""
    home = expanded("~")
    if chosen := os.environ.get(variable):
        data = Path(chosen)
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        data = home / usual
    return data / "picogpt"


def expanded(path: str) -> Path:
    """With the user's home for ~, which stays where nobody knows it."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own would raise


def hub_cache() -> Path:
    """Where Hugging Face's own programs keep what they download: $HF_HUB_CACHE, $HF_HOME/hub, or in ~/.cache."""
    for variable, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if value := os.environ.get(variable):
            return expanded(os.path.expandvars(value)) / below
    return expanded("~/.cache/huggingface/hub")


def cached_snapshot(name: str) -> Path | None:
    """The directory of `OWNER/NAME[@REVISION]`, by default main, in Hugging Face's cache; None if it is not there.

    The cache has `models--OWNER--NAME/snapshots/COMMIT`, and in `refs/REVISION` the commit that a branch or tag was.
    """
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(@[\w.-]+(/[\w.-]+)*)?", name) or ".." in name:
        return None
    repository, _, revision = name.partition("@")
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    try:
        commit = (folder / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = folder / "snapshots" / commit
    return snapshot if re.fullmatch(r"\w[\w.-]*", commit) and snapshot.is_dir() else None


def cached_models() -> list[str]:
    """`OWNER/NAME` of each model in Hugging Face's cache, of whatever kind."""
    folders = hub_cache().glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)
