"""Text to token ids and back: one protocol, the kinds of tokenizer, and a trainer.

    encoder = ByteLevelBPE.gpt2()                            # GPT-2's own
    encoder = train_bpe([text], 1024, ["<|endoftext|>"])     # learned from a text
    encoder.save("models/mine")
    encoder = load_tokenizer("models/mine")

Text that is given as a `str` may have lone surrogates; every tokenizer reads them as U+FFFD, as tiktoken does.
"""

from __future__ import annotations

from pathlib import Path

from picogpt.errors import PicoGPTError
from picogpt.tokenizers import bpe_files, vocabulary
from picogpt.tokenizers.base import SpecialTokens, Tokenizer, printable, stream_text, token_bytes
from picogpt.tokenizers.bpe import ByteLevelBPE
from picogpt.tokenizers.bpe_trainer import train_bpe
from picogpt.tokenizers.char import CharTokenizer
from picogpt.tokenizers.word import WhitespaceTokenizer, WordTokenizer

__all__ = [
    "FILE_NAMES",
    "ByteLevelBPE",
    "CharTokenizer",
    "SpecialTokens",
    "Tokenizer",
    "WhitespaceTokenizer",
    "WordTokenizer",
    "load_tokenizer",
    "printable",
    "stream_text",
    "token_bytes",
    "train_bpe",
    "vocabulary_files",
]

FILE_NAMES = [vocabulary.FILE, *bpe_files.FILE_NAMES]  # the files that can hold a vocabulary


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """The tokenizer whose vocabulary is in `directory`; its files say which kind it is.

    Raises `PicoGPTError`, naming the file and the place in it, when it is missing or damaged.
    """
    files = vocabulary_files(directory)
    if vocabulary.FILE not in files:
        return ByteLevelBPE.load(directory)
    if len(files) > 1:
        raise PicoGPTError(f"{directory} has two vocabularies, {' and '.join(files[:2])}; take one of them away")
    kinds = CharTokenizer, WhitespaceTokenizer, WordTokenizer
    return vocabulary.read_vocabulary(Path(directory) / vocabulary.FILE, kinds)


def vocabulary_files(directory: str | Path) -> list[str]:
    """The names of the files in `directory` that hold a vocabulary."""
    return [name for name in FILE_NAMES if Path(directory, name).exists()]
