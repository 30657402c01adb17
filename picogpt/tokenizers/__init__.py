"""Text to token ids and back: one protocol, four kinds of tokenizer, and a trainer.

encoder = ByteLevelBPE.gpt2()                            # GPT-2's own
encoder = train_bpe([text], 1024, ["<|endoftext|>"])     # learned from a text
encoder.save("models/mine")
encoder = load_tokenizer("models/mine")
"""

from __future__ import annotations

from pathlib import Path

from picogpt.tokenizers.base import Tokenizer, stream_text
from picogpt.tokenizers.bpe import ByteLevelBPE
from picogpt.tokenizers.bpe_trainer import train_bpe

__all__ = ["ByteLevelBPE", "Tokenizer", "load_tokenizer", "stream_text", "train_bpe"]


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """The tokenizer whose vocabulary is in `directory`; its files say which kind it is.

    Raises `PicoGPTError`, naming the file and the place in it, when it is missing or damaged.
    """
    return ByteLevelBPE.load(directory)
