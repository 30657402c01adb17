"""How likely a model finds a text: log-probabilities of tokens, surprisals of words, perplexity.

score = score_text(model, text)  # of a text: rows of its tokens and words, and the figures of the whole
logprobs = token_logprobs([encoder.bos_token, *encoder.encode(text)], params, n_head)
perplexity(logprobs)  # of ids: arrays
"""

from __future__ import annotations

from picogpt.scoring.report import ScoreOptions, Scorer, TextScore, score_text
from picogpt.scoring.tokens import (
    TokenScores,
    choice_logprobs,
    huggingface_perplexity,
    perplexity,
    score_tokens,
    token_logprobs,
)
from picogpt.scoring.words import Word, beginnings, split_words, word_surprisals

__all__ = [
    "ScoreOptions",
    "Scorer",
    "TextScore",
    "TokenScores",
    "Word",
    "beginnings",
    "choice_logprobs",
    "huggingface_perplexity",
    "perplexity",
    "score_text",
    "score_tokens",
    "split_words",
    "token_logprobs",
    "word_surprisals",
]
