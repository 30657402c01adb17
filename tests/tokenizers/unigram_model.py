"""A small Unigram vocabulary, trained by sentencepiece, and tokenizer.json files of it, written by tokenizers."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from picogpt.protobuf import bytes_field, fixed32_field, messages, parse_message, varint_field

CONTROL = ["[CLS]", "[SEP]", "[MASK]"]


def train(text: str, **options: Any) -> bytes:
    """SentencePiece's model of a text."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.splitlines()),
        model_writer=model,
        model_type="unigram",
        control_symbols=CONTROL,
        minloglevel=2,
        **{"vocab_size": 400, "num_threads": 1, "hard_vocab_limit": False, **options},
    )
    return model.getvalue()


def charsmap(model: bytes) -> bytes:
    """The table of characters in a model, or nothing."""
    (rules,) = messages(parse_message(model), 3)
    return bytes(rules.get(2, [b""])[-1])


def albert(table: bytes, *, keep_accents: bool, lower: bool) -> normalizers.Normalizer:
    """What transformers makes of ALBERT's and Goldfish's model files."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    steps += [] if keep_accents else [normalizers.NFKD(), normalizers.StripAccents()]
    steps += [normalizers.Lowercase()] if lower else []
    steps += [normalizers.Precompiled(table)] if table else []
    return normalizers.Sequence([*steps, normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])


def tokenizer_json(
    model: bytes,
    normalizer: normalizers.Normalizer | None,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    *,
    byte_fallback: bool = False,
) -> dict[str, Any]:
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    unigram = tokenizers.models.Unigram(vocab, unk_id=pieces.unk_id(), byte_fallback=byte_fallback)
    tokenizer = tokenizers.Tokenizer(unigram)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    metaspace = decoders.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), metaspace]) if byte_fallback else metaspace
    special = ["<unk>", *CONTROL]
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(name, special=True, normalized=False, lstrip=name == "[MASK]") for name in special]
    )
    around = [(name, tokenizer.token_to_id(name)) for name in CONTROL[:2]]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", special_tokens=around)
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return content


def as_words(metaspace: pre_tokenizers.PreTokenizer | None = None) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace or pre_tokenizers.Metaspace()])


def write(directory: Path, content: dict[str, Any] | bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        (directory / "spiece.model").write_bytes(content)
    else:
        (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return directory


def small_spiece(kinds: dict[str, int]) -> bytes:
    """A model by hand: the pieces with their types, and nothing else."""
    pieces = b""
    for i, (piece, kind) in enumerate(kinds.items()):
        (bits,) = struct.unpack("<I", struct.pack("<f", -float(i)))
        pieces += bytes_field(1, bytes_field(1, piece.encode()) + fixed32_field(2, bits) + varint_field(3, kind))
    return pieces
