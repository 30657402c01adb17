"""Any model on Hugging Face's hub: `OWNER/NAME`, or `OWNER/NAME@REVISION`.

The hub is asked once for what the revision is: a commit, and the names, sizes and hashes of its files. What a GPT-2
needs of them is then fetched from that commit, so that files of two revisions never meet.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote

from picogpt.checkpoints import huggingface
from picogpt.download.access import ASK_FOR_IT, REFUSED, endpoint
from picogpt.download.catalogue import Collection, Facts, File
from picogpt.download.http import BrokenTransferError, RetryPolicy, get, open_session, quoted, read, without_secrets
from picogpt.errors import NetworkError, PicoGPTError, listed, shown
from picogpt.files import parse_json
from picogpt.tokenizers import FILE_NAMES as VOCABULARY_FILES
from picogpt.tokenizers.bpe_files import WORDPIECE
from picogpt.tokenizers.unigram_files import SPIECE_NAMES

MOST_WEIGHTS, MOST_ELSE = 64 << 30, 64 << 20  # bytes; what is read from GPT-2's relatives has less
MOST_LISTED = 16 << 20  # of the list of files

PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"  # which is no way out of a directory
NAME = re.compile(rf"(?P<repository>{PART}/{PART})(@(?P<revision>{PART}(/{PART})*))?")

# Of the weights the first kind that is there is taken: a file, or several that an index lists.
WEIGHTS = (
    (huggingface.WEIGHTS, huggingface.WEIGHTS + huggingface.INDEX, re.compile(r"model-\d{5}-of-\d{5}\.safetensors")),
    (huggingface.PICKLED, huggingface.PICKLED + huggingface.INDEX, re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin")),
)
SETTINGS = (  # of the tokenizer, and of how a text ends
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "generation_config.json",
)
OTHERS = re.compile(r"[^/]+\.(h5|msgpack|ot|onnx|gguf|bin|pt|pth|safetensors)")  # weights that are not taken


class Revision(NamedTuple):
    """What the hub says a revision is."""

    commit: str
    files: dict[str, Facts]  # by their paths


def hub_model(name: str, base_url: str | None = None, policy: RetryPolicy | None = None) -> Collection:
    """The files of the hub's model that picogpt needs: its config, its vocabulary, then its weights.

    `base_url` stands in for the hub's address. Raises `PicoGPTError` for what is no name, and where there is no such
    model or revision, or none that is read here; `NetworkError` when the hub does not answer as a hub does.
    """
    found = NAME.fullmatch(name)
    if found is None or ".." in name:
        raise PicoGPTError(f"{shown(name)} is no name of a model: it should be OWNER/NAME, or OWNER/NAME@REVISION")
    repository, hub = found["repository"], base_url or endpoint()
    revision = ask_revision(hub, repository, found["revision"] or "main", policy or RetryPolicy())
    base = f"{hub}/{repository}/resolve/{revision.commit}"
    files = choose(revision.files, name)
    return Collection(name, tuple(File(file, (f"{base}/{file}",), revision.files[file]) for file in files))


def choose(files: dict[str, Facts], name: str) -> list[str]:
    """Which of a repository's files are fetched, in their order: what others are checked against is first."""
    kinds = (([whole], [index, *sorted(filter(shard.fullmatch, files))]) for whole, index, shard in WEIGHTS)
    weights = next((kind for pair in kinds for kind in pair if kind[0] in files), [])
    if huggingface.CONFIG not in files or not weights:
        missing = " or ".join(kind[0] for kind in WEIGHTS) if huggingface.CONFIG in files else huggingface.CONFIG
        others = listed(sorted(filter(OTHERS.fullmatch, files)))
        raise PicoGPTError(
            f"{name} has no {missing}, which a GPT-2 of Hugging Face's has"
            + (f"; what it has, {others}, is not read here" if others else "")
        )
    vocabulary = [file for file in VOCABULARY_FILES if file in files]
    if not vocabulary and WORDPIECE in files:
        raise PicoGPTError(
            f"{name} has WordPiece's vocabulary, as BERT has it ({WORDPIECE}), which picogpt does not read"
        )
    first = [file for file in vocabulary if file not in SPIECE_NAMES]  # which count before SentencePiece's own
    settings = [file for file in SETTINGS if file in files]
    chosen = [huggingface.CONFIG, *(first or vocabulary), *settings, *weights]
    for file in chosen:
        size, most = files[file].size or 0, MOST_WEIGHTS if file in weights else MOST_ELSE
        if size > most:
            raise PicoGPTError(f"{name}: the hub says that {file} has {size:,} bytes; it may have {most:,} at most")
    return chosen


def ask_revision(hub: str, repository: str, revision: str, policy: RetryPolicy) -> Revision:
    """Ask the hub what the revision, a branch, a tag or a commit, is now."""
    url = f"{hub}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
    place = without_secrets(url)
    for n_failures in range(1, policy.tries + 1):
        try:
            answer = ask(url, repository, revision, policy)
            break
        except BrokenTransferError as error:
            if n_failures == policy.tries:
                raise NetworkError(f"{place}: {error}; run the same command again later") from error
    return read_answer(answer, place)


def read_answer(answer: bytes, place: str) -> Revision:
    """The revision that the hub's answer describes."""
    try:
        return described(parse_json(answer.decode(), place))
    except (PicoGPTError, ValueError, TypeError, KeyError) as error:
        raise NetworkError(f"{place}: the answer is not what a hub says of a model ({quoted(str(error))})") from None


def ask(url: str, repository: str, revision: str, policy: RetryPolicy) -> bytes:
    """The hub's answer; raises `PicoGPTError` where it says that there is none."""
    place = without_secrets(url)
    with open_session(policy) as session, get(url, session, {}, policy) as response:
        code = response.headers.get("X-Error-Code", "")
        if code == "RevisionNotFound":
            raise PicoGPTError(f"{repository} has no revision {revision}; choose another, or leave @REVISION out")
        if response.status_code in REFUSED or code == "RepoNotFound":
            raise PicoGPTError(f"{place}: there is no {repository}, or it is private; check the name, or {ASK_FOR_IT}")
        if response.status_code == 404:
            raise PicoGPTError(f"{place}: there is no {repository} of the revision {revision}; check the name")
        if response.status_code != 200:
            raise NetworkError(f"{place}: the server answers {response.status_code} {quoted(response.reason or '')}")
        answer = b""
        for chunk in read(response, policy.chunk_size):
            answer += chunk
            if len(answer) > MOST_LISTED:
                raise NetworkError(f"{place}: the answer has more than {MOST_LISTED:,} bytes")
        return answer


def described(answer: Any) -> Revision:
    """The revision in the hub's JSON; raises ValueError, TypeError or KeyError for any other."""
    return Revision(
        matching("[0-9a-f]{40}", answer["sha"]),
        {str(file["rfilename"]): facts_of(file) for file in answer["siblings"]},
    )


def facts_of(file: dict[str, Any]) -> Facts:
    """What the hub says of a file: of a large one the SHA-256, of another Git's name. A mirror may say less."""
    size = file.get("size")
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError(f"a size of {shown(size)}")
    if file.get("lfs"):
        return Facts(size, matching("[0-9a-f]{64}", file["lfs"]["sha256"]))
    git = file.get("blobId")
    return Facts(size, git=None if git is None or size is None else matching("[0-9a-f]{40}", git))


def matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"a hash of {shown(text)}")
    return text
