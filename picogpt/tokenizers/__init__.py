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
from picogpt.tokenizers import bpe_files, ends, unigram_files, vocabulary
from picogpt.tokenizers.base import SpecialTokens, TokenIds, Tokenizer, begun, inner_bytes, stream_text, token_bytes
from picogpt.tokenizers.bpe import ByteLevelBPE
from picogpt.tokenizers.bpe_trainer import train_bpe
from picogpt.tokenizers.char import CharTokenizer
from picogpt.tokenizers.unigram import UnigramTokenizer
from picogpt.tokenizers.word import WhitespaceTokenizer, WordTokenizer

__all__ = [
    "FILE_NAMES",
    "SAVED_FILES",
    "ByteLevelBPE",
    "CharTokenizer",
    "SpecialTokens",
    "Tokenizer",
    "UnigramTokenizer",
    "WhitespaceTokenizer",
    "WordTokenizer",
    "begun",
    "inner_bytes",
    "load_tokenizer",
    "stream_text",
    "token_bytes",
    "tokenizer_files",
    "train_bpe",
    "vocabulary_files",
]

FILE_NAMES = [
    vocabulary.FILE,
    *bpe_files.FILE_NAMES,
    *unigram_files.SPIECE_NAMES,
]  # the files that can hold a vocabulary
BESIDE = unigram_files.BESIDE  # the settings that may lie beside a vocabulary
SAVED_FILES = [*FILE_NAMES, *BESIDE, ends.GENERATION_CONFIG]  # all that saving a tokenizer may write


def load_tokenizer(directory: str | Path, n_vocab: int | None = None) -> Tokenizer:
    """The tokenizer whose vocabulary is in `directory`; its files say which kind it is.

    `n_vocab` is how many ids its model has: more than tokens where the vocabulary was padded, and fewer where a token
    was added to it alone. Raises `PicoGPTError`, naming the file and the place in it, when it is missing or damaged.
    """
    tokenizer = read_tokenizer(directory)
    if n_vocab is not None:
        fit(tokenizer, n_vocab, directory)
    ends.apply(Path(directory), tokenizer, tokenizer.n_vocab if n_vocab is None else n_vocab)
    return tokenizer


def fit(tokenizer: TokenIds, n_vocab: int, source: str | Path) -> None:
    """Give the tokenizer the number of its model's ids; raises `PicoGPTError` with the source where it is larger."""
    try:
        tokenizer.fit(n_vocab)
    except PicoGPTError as error:
        raise PicoGPTError(f"{source} has {error}") from None


def read_tokenizer(directory: str | Path) -> ByteLevelBPE | UnigramTokenizer | vocabulary.VocabularyTokenizer:
    """The tokenizer as if it had no model."""
    files = vocabulary_files(directory)
    if vocabulary.FILE not in files:
        has_bpe = any(name in files for names in bpe_files.FILES.values() for name in names)
        if not has_bpe and unigram_files.find(Path(directory)):
            return UnigramTokenizer.load(directory)
        return ByteLevelBPE.load(directory)
    if len(files) > 1:
        raise PicoGPTError(f"{directory} has two vocabularies, {' and '.join(files[:2])}; take one of them away")
    kinds = CharTokenizer, WhitespaceTokenizer, WordTokenizer
    return vocabulary.read_vocabulary(Path(directory) / vocabulary.FILE, kinds)


def vocabulary_files(directory: str | Path) -> list[str]:
    """The names of the files in `directory` that hold a vocabulary."""
    return [name for name in FILE_NAMES if Path(directory, name).exists()]


def tokenizer_files(directory: str | Path) -> list[str]:
    """The names of the files in `directory` that make a tokenizer: the vocabulary, and what was added to it."""
    return [*vocabulary_files(directory), *(name for name in BESIDE if Path(directory, name).exists())]
