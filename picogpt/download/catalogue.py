"""What can be downloaded: file by file, with its addresses and what is known about its bytes."""

from __future__ import annotations

from typing import NamedTuple

from picogpt.checkpoints import n_params
from picogpt.download.access import endpoint
from picogpt.errors import PicoGPTError


class Facts(NamedTuple):
    """What is known about a file's bytes."""

    size: int | None = None
    sha256: str | None = None
    git: str | None = None  # the name that Git gives a file of these bytes

    @property
    def is_hashed(self) -> bool:
        return (self.sha256 or self.git) is not None


MOST_WEIGHTS, MOST_ELSE = 8 << 30, 16 << 20  # GPT-2 XL's weights have 6.4 GB, its vocabulary 1 MB


class File(NamedTuple):
    """A file to fetch: its name, the addresses to try in turn, and what it must be."""

    name: str
    urls: tuple[str, ...]
    facts: Facts = Facts()

    @property
    def most(self) -> int:
        """The bytes that it may have at most, whatever a server says."""
        weights = self.name.endswith((".safetensors", ".bin")) or ".data-" in self.name
        return self.facts.size or (MOST_WEIGHTS if weights else MOST_ELSE)


class Collection(NamedTuple):
    """Files that belong together, in the order in which they are fetched: what others are checked against is first."""

    name: str
    files: tuple[File, ...]

    @property
    def is_model(self) -> bool:
        return self.name not in TEXTS


OPENAI = (
    "https://openaipublic.blob.core.windows.net/gpt-2/models",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/gpt2",  # a mirror
)
OPENAI_FILES = ("hparams.json", "encoder.json", "vocab.bpe", "checkpoint", "model.ckpt.index")
OPENAI_DATA = "model.ckpt.data-00000-of-00001"
OPENAI_MODELS = {  # name -> n_embd, n_head, n_layer
    "124M": (768, 12, 12),
    "355M": (1024, 16, 24),
    "774M": (1280, 20, 36),
    "1558M": (1600, 25, 48),
}

HUGGING_FACE_FILES = ("config.json", "vocab.json", "merges.txt", "model.safetensors")
HUGGING_FACE_MODELS = {  # name -> repository and revision; a commit's hash pins the bytes, "main" is today's
    "gpt2": ("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e"),
    "gpt2-medium": ("openai-community/gpt2-medium", "main"),
    "gpt2-large": ("openai-community/gpt2-large", "main"),
    "gpt2-xl": ("openai-community/gpt2-xl", "main"),
    "distilgpt2": ("distilbert/distilgpt2", "main"),
}

TEXTS = {  # name -> file, folder, path within the folder
    "tinyshakespeare": (
        "tinyshakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",
        "input.txt",
    ),
    "the-verdict": (
        "the-verdict.txt",
        "https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code",
        "the-verdict.txt",
    ),
}

KNOWN = {  # model or text, file -> what it must be
    ("124M", "hparams.json"): Facts(90),
    ("124M", "checkpoint"): Facts(77),
    ("124M", "model.ckpt.index"): Facts(5215),
    ("355M", "model.ckpt.index"): Facts(10399),
    ("gpt2", "model.safetensors"): Facts(548105171, "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"),
    ("tinyshakespeare", "tinyshakespeare.txt"): Facts(
        1115394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    ),
    ("the-verdict", "the-verdict.txt"): Facts(
        20479, "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f"
    ),
}
VOCABULARY = {  # every size of GPT-2 has the same
    "encoder.json": Facts(1042301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "vocab.bpe": Facts(456318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
}


def find(name: str, source: str | None = None, base_url: str | None = None) -> Collection:
    """The files of a model or text.

    OpenAI's names mean OpenAI's files and Hugging Face's names theirs, unless `source`, "openai" or "hf", says which
    to take. `base_url` stands in for the beginning of every address. Raises `PicoGPTError`, with a list of the
    names, when there is no such model.
    """
    if name in TEXTS:
        file, folder, path = TEXTS[name]
        return Collection(name, (File(file, (f"{base_url or folder}/{path}",), facts(name, file)),))
    same = list(zip(OPENAI_MODELS, HUGGING_FACE_MODELS, strict=False))  # distilgpt2, the last, is Hugging Face's alone
    if source == "hf":
        name = dict(same).get(name, name)
    elif source == "openai":
        name = {theirs: ours for ours, theirs in same}.get(name, name)
    if name in OPENAI_MODELS and source != "hf":
        return openai_model(name, (base_url,) if base_url else OPENAI)
    if name in HUGGING_FACE_MODELS and source != "openai":
        return hugging_face_model(name, (base_url or endpoint(),))
    raise PicoGPTError(
        f"there is no {name!r} to download{f' from {source}' if source else ''}; choose from "
        f"{', '.join(OPENAI_MODELS)} (OpenAI's files), {', '.join(HUGGING_FACE_MODELS)} (Hugging Face's), "
        f"OWNER/NAME (any model there), {', '.join(TEXTS)} (texts)"
    )


def openai_model(name: str, bases: tuple[str, ...]) -> Collection:
    files = (*OPENAI_FILES, OPENAI_DATA)
    return Collection(
        name, tuple(File(file, tuple(f"{base}/{name}/{file}" for base in bases), facts(name, file)) for file in files)
    )


def hugging_face_model(name: str, bases: tuple[str, ...]) -> Collection:
    repository, revision = HUGGING_FACE_MODELS[name]
    paths = {file: f"{repository}/resolve/{revision}/{file}" for file in HUGGING_FACE_FILES}
    return Collection(
        name,
        tuple(File(file, tuple(f"{base}/{path}" for base in bases), facts(name, file)) for file, path in paths.items()),
    )


def facts(name: str, file: str) -> Facts:
    """What is known about a file of a model or text."""
    if file == OPENAI_DATA and name in OPENAI_MODELS:
        n_embd, n_head, n_layer = OPENAI_MODELS[name]
        hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": n_embd, "n_head": n_head, "n_layer": n_layer}
        return Facts(4 * n_params(hparams))  # the parameters in float32 and nothing else
    return KNOWN.get((name, file)) or VOCABULARY.get(file, Facts())
