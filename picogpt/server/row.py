"""One request while it is decoded: what it has read, what it has written, and what comes next."""

from __future__ import annotations

import numpy as np

from picogpt.decoding.loop import Token, as_set, finish_reason, most_likely
from picogpt.decoding.ranges import check_range
from picogpt.decoding.rows import check_logits, check_prompts
from picogpt.decoding.sampling import apply_transforms, choose, generators, near_tie
from picogpt.model import as_ids, in_vocabulary
from picogpt.performance.thresholds import QUERY_BLOCK
from picogpt.server.past import Past
from picogpt.server.requests import Done, PromptScores, Request, Ticket
from picogpt.types import Array, Ids, Params


class Row:
    """A request's prompt and continuation, `ids [n_end]`, of which `end` are known.

    Raises `PicoGPTError` for a prompt that cannot be continued, as `picogpt.decoding` does.
    """

    def __init__(self, request: Request, params: Params) -> None:
        n_ctx = len(params["wpe"])
        check_prompts([request.ids], n_ctx, request.n_tokens)
        prompt = in_vocabulary(as_ids(request.ids), params["wte"].shape[0])
        self.request, self.ticket, self.options = request, Ticket(request), request.options
        if (n_top := self.options.get("n_top")) is not None:
            check_range("the number of log-probabilities", n_top)
        rng = self.options.get("rng")
        self.rng = None if rng is None else generators(rng, 1)[0]
        self.end_tokens = as_set(self.options.get("eot_token"))
        self.n_prompt = self.end = len(prompt)
        self.n_end = min(self.n_prompt + request.n_tokens, n_ctx)
        self.ids = np.zeros(self.n_end, np.int64)
        self.ids[: self.n_prompt] = prompt
        self.past: Past  # once it begins
        self.n_cached = 0  # tokens of the prompt that were known then
        self.uniform: Array | None = None  # the random number of the next token, once it is drawn
        self.is_replayed = False  # whether it reads again, alone, what it has read beside others
        self.logprob: list[float | None] = [None]  # of the prompt's tokens, the first of which has none
        self.top: list[tuple[tuple[int, float], ...]] = [()]

    @property
    def prompt(self) -> Ids:
        return self.ids[: self.n_prompt]

    @property
    def n_unread(self) -> int:
        return self.end - self.past.length

    @property
    def n_unscored(self) -> int:
        """Tokens of the prompt whose log-probabilities are wanted and can be computed from what has been read."""
        wanted = self.request.prompt_logprobs
        return min(self.past.length + 1, self.n_prompt) - len(self.logprob) if wanted else 0

    @property
    def is_decoding(self) -> bool:
        """Whether its next token is one step away."""
        return self.n_unread == 1 and not self.n_unscored and not self.is_replayed

    @property
    def is_ready(self) -> bool:
        return not self.n_unread and not self.n_unscored

    def begin(self, past: Past) -> None:
        self.past, self.n_cached = past, past.length

    def read(self, x: Array, alone: bool) -> None:  # [n_seq, n_embd]
        """Note what a pass over the next tokens gave, and whether it is just what `picogpt.decoding` computes.

        That reads the prompt at once, of which queries are computed in blocks, and then one token after the other.
        """
        self.past.add(x)
        start, end = self.past.length - len(x), self.past.length
        if not alone or start != self.past.n_exact:
            return
        if end > self.n_prompt:
            self.past.n_exact = end if len(x) == 1 else start
        elif len(x) > 1 or end == 1:
            n_whole = end // QUERY_BLOCK * QUERY_BLOCK
            self.past.n_exact = end if end == self.n_prompt else n_whole
            self.past.n_whole = n_whole

    def score(self, logits: Array, params: Params) -> None:  # [n, n_vocab]
        """Note the log-probabilities of the prompt's next n tokens."""
        check_logits(logits, params)
        begin = len(self.logprob)
        for logprob, top in most_likely(logits, self.ids[begin : begin + len(logits)], self.options.get("n_top") or 0):
            self.logprob.append(logprob)
            self.top.append(top)

    def prompt_scores(self) -> PromptScores | None:
        """What is wanted to be known about the prompt, once."""
        if not self.request.prompt_logprobs or self.end > self.n_prompt or self.is_replayed:
            return None
        return PromptScores(self.logprob, self.top)

    def next_token(self, logits: Array, params: Params, alone: bool) -> Token | None:  # [1, n_vocab]
        """The token chosen by these logits, which is added to the ids.

        None where rounding might decide, and the logits are not just those of the request by itself: then it must
        read again, alone, as much as it has read beside others.
        """
        check_logits(logits, params)
        if self.rng is not None and self.uniform is None:
            self.uniform = np.array([self.rng.random()])
        scores = apply_transforms(self.options.get("transforms", ()), logits, [self.ids[: self.end]])
        is_exact = alone and self.past.n_exact == self.past.length
        if self.request.exact and not is_exact and near_tie(scores, self.uniform):
            self.past.cache.length = self.past.n_exact
            self.is_replayed = True
            return None
        chosen = choose(scores, self.uniform)
        self.uniform, self.is_replayed = None, False
        self.ids[self.end] = chosen[0]
        self.end += 1
        n_top = self.options.get("n_top")
        logprob, top = (None, ()) if n_top is None else most_likely(logits, chosen, n_top)[0]
        token, written = int(chosen[0]), self.ids[self.n_prompt : self.end]
        reason = finish_reason(token, written, self.end_tokens, self.options.get("stop"), self.end == self.n_end)
        return Token(0, token, reason, logprob, top)

    def done(self, token: Token | None) -> Done:
        """The end, after the last token if there was one."""
        reason = token.finish_reason if token else None
        return Done(reason or "length", self.n_prompt, self.n_cached, self.end - self.n_prompt)
