"""How likely a model finds a text: log-probabilities of tokens, surprisals of words, perplexity.

logprobs = token_logprobs([encoder.eot_token, *encoder.encode(text)], params, n_head)
perplexity(logprobs)
"""

from __future__ import annotations

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
    "TokenScores",
    "Word",
    "beginnings",
    "choice_logprobs",
    "huggingface_perplexity",
    "perplexity",
    "score_tokens",
    "split_words",
    "token_logprobs",
    "word_surprisals",
]
