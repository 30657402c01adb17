"""Vocabularies and oracles that tests share. tiktoken gets our vocabulary: its own comes from the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiktoken
import tokenizers

from picogpt.tokenizers import ByteLevelBPE
from tests.texts import read_text

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # Hugging Face's threads would wait for each other on a busy machine

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@pytest.fixture(scope="session")
def gpt2() -> ByteLevelBPE:
    return ByteLevelBPE.gpt2()


@pytest.fixture(scope="session")
def tiktoken_gpt2(gpt2: ByteLevelBPE) -> tiktoken.Encoding:
    ranks = {token: i for i, token in enumerate(gpt2.tokens[:-1])}
    return tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=gpt2.special_tokens)


@pytest.fixture(scope="session")
def huggingface_gpt2(gpt2: ByteLevelBPE, tmp_path_factory: pytest.TempPathFactory) -> tokenizers.Tokenizer:
    directory = tmp_path_factory.mktemp("gpt2")
    gpt2.save(directory, layout="huggingface")
    return tokenizers.ByteLevelBPETokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))


@pytest.fixture(scope="session")
def shakespeare() -> str:
    return read_text("tinyshakespeare.txt")


@pytest.fixture(scope="session")
def verdict() -> str:
    return read_text("the-verdict.txt")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a test saves a tokenizer; it does not exist yet."""
    return tmp_path / "models" / "mine"
