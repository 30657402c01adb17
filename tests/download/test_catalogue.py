"""What can be downloaded, and from where."""

from __future__ import annotations

import pytest

from picogpt.download import Facts, File, find
from picogpt.errors import PicoGPTError


def test_openai_then_the_mirror() -> None:
    files = {file.name: file for file in find("124M").files}
    assert list(files)[-1] == "model.ckpt.data-00000-of-00001", "the weights come last: without them it is no model"
    assert files["vocab.bpe"] == File(
        "vocab.bpe",
        (
            "https://openaipublic.blob.core.windows.net/gpt-2/models/124M/vocab.bpe",
            "https://f001.backblazeb2.com/file/LLMs-from-scratch/gpt2/124M/vocab.bpe",
        ),
        Facts(456318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
    )


@pytest.mark.parametrize(
    ("name", "size"), [("124M", 497759232), ("355M", 1419292672), ("774M", 3096120320), ("1558M", 6230444800)]
)
def test_sizes_of_the_weights(name: str, size: int) -> None:
    assert find(name).files[-1].facts.size == size


def test_hugging_face_is_pinned_where_it_can_be() -> None:
    *_, weights = find("gpt2").files
    assert weights.urls == (
        "https://huggingface.co/openai-community/gpt2/resolve/607a30d783dfa663caf39e06633721c8d4cfcd7e/model.safetensors",
    )
    assert weights.facts.size == 548105171
    assert [file.name for file in find("distilgpt2").files] == [
        "config.json",
        "vocab.json",
        "merges.txt",
        "model.safetensors",
    ]


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("124M", None, "124M"),
        ("gpt2", None, "gpt2"),
        ("124M", "hf", "gpt2"),
        ("gpt2-xl", "openai", "1558M"),
        ("355M", "openai", "355M"),
        ("gpt2-large", "hf", "gpt2-large"),
        ("distilgpt2", "hf", "distilgpt2"),
    ],
)
def test_a_source_wins_over_the_name(name: str, source: str | None, found: str) -> None:
    assert find(name, source).name == found


def test_another_base() -> None:
    assert find("124M", None, "http://here").files[0].urls == ("http://here/124M/hparams.json",)
    assert find("gpt2-medium", None, "http://here").files[0].urls == (
        "http://here/openai-community/gpt2-medium/resolve/main/config.json",
    )
    assert find("the-verdict", None, "http://here").files[0].urls == ("http://here/the-verdict.txt",)


@pytest.mark.parametrize(("name", "source"), [("125M", None), ("distilgpt2", "openai")])
def test_what_there_is_not(name: str, source: str | None) -> None:
    with pytest.raises(PicoGPTError) as caught:
        find(name, source)
    message = str(caught.value)
    for known in ("124M", "1558M", "gpt2-xl", "distilgpt2", "tinyshakespeare", "the-verdict", name):
        assert known in message
