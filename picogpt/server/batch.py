"""The rows that are decoded side by side; between two steps any may join or leave."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from picogpt.errors import PicoGPTError
from picogpt.performance import project, ragged_hidden_states
from picogpt.performance.thresholds import QUERY_BLOCK
from picogpt.server.past import Past, PrefixCache, longest_common, n_common
from picogpt.server.requests import EngineError, Event, Failure
from picogpt.server.row import Row
from picogpt.types import Array, Params

LOG = logging.getLogger(__name__)
FEW = 16  # tokens for which a row does not wait until another has read them
NOBODY_WAITS = 4  # chunks in one pass while no row is decoding


@dataclass
class Counts:
    """Since the start; see `requests.Stats`."""

    n_finished: int = 0
    n_prompt: int = 0
    n_cached: int = 0
    n_generated: int = 0
    n_steps: int = 0
    n_again: int = 0
    n_hits: int = 0


class Batch:
    """A step gives every row that is decoding its next token, and reads at most `chunk` tokens of prompts beside."""

    def __init__(self, params: Params, n_head: int, chunk: int, cache_bytes: int) -> None:
        self.params, self.n_head, self.chunk = params, n_head, chunk
        self.prefixes = PrefixCache(cache_bytes)
        self.joining: list[Row] = []  # rows without a past
        self.rows: list[Row] = []
        self.counts = Counts()

    @property
    def n_rows(self) -> int:
        return len(self.joining) + len(self.rows)

    def join(self, row: Row) -> None:
        if row.ticket.is_cancelled:
            self.counts.n_finished += 1
        else:
            self.joining.append(row)

    def step(self) -> None:
        """One pass over all rows, and one over a row that reads again alone, if there is one."""
        for row in [row for row in [*self.joining, *self.rows] if row.ticket.is_cancelled]:
            self.attempt(row, self.leave, row)
        for row in [*self.joining]:
            if self.attempt(row, self.begin, row) == "copied":  # that takes time
                break
        company = [row for row in self.rows if not row.is_replayed]
        replayed = [row for row in self.rows if row.is_replayed][:1]
        for rows in (company, replayed):
            try:
                self.advance(rows)
            except Exception as error:  # whoever was in this pass has lost: too little memory, or a bug of ours
                for row in rows:
                    self.fail(row, error)
        self.counts.n_steps += 1

    def begin(self, row: Row) -> str | None:
        """Give the row a past: a copy of what is known of its prompt, or an empty one.

        It waits while another row is reading more of the same.
        """
        known = row.prompt[:-1]  # the last token is read in any case, for what comes next
        source, n = longest_common([*self.prefixes.pasts, *(other.past for other in self.rows)], known)
        if any(other.n_unread > 1 and n_common(other.prompt, known) > n + FEW for other in self.rows):
            return None
        row.begin(source.copied(row.ids, n) if source else Past(self.params, self.n_head, row.ids))
        self.joining.remove(row)
        self.rows.append(row)
        self.counts.n_prompt += row.n_prompt
        self.counts.n_cached += n
        if source is None:
            return None
        self.counts.n_hits += 1
        self.prefixes.use(source)
        return "copied"

    def advance(self, rows: Sequence[Row]) -> None:
        """One pass over these rows, after which those that can choose a token."""
        shares = self.shares(rows)
        scoring = [(row, n) for row, n in zip(rows, shares, strict=True) if n and row.n_unscored]
        reading = [(row, n) for row, n in zip(rows, shares, strict=True) if n and not row.n_unscored]
        if reading:
            self.read(reading)
        for row, n in scoring:
            self.attempt(row, self.score, row, n)
        ready = [row for row in rows if row.is_ready and row in self.rows]
        if ready:
            x = np.stack([row.past.hidden[row.past.length - 1] for row in ready])
            for row, logits in zip(ready, project(x, self.params["wte"])[:, None], strict=True):
                self.attempt(row, self.choose, row, logits, len(ready) == 1)

    def shares(self, rows: Sequence[Row]) -> list[int]:
        """Tokens that each row reads in the next pass, or scores: one if it is decoding, of a prompt a part."""
        left = self.chunk * (1 if any(row.is_decoding for row in self.rows) else NOBODY_WAITS)
        shares = [1 if row.is_decoding else self.piece_alone(row) if row.is_replayed else 0 for row in rows]
        prompts = [i for i, share in enumerate(shares) if not share]
        prompts.sort(key=lambda i: rows[i].n_unread)
        for n_done, i in enumerate(prompts):  # what a short one leaves, the longer ones share
            shares[i] = min(rows[i].n_unscored or rows[i].n_unread, -(-left // (len(prompts) - n_done)))
            left -= shares[i]
        return shares

    def piece_alone(self, row: Row) -> int:
        """What a row reads again in one pass: of its prompt whole blocks of queries, then token by token."""
        n_left = row.n_prompt - row.past.length
        piece = max(self.chunk // QUERY_BLOCK, 1) * QUERY_BLOCK
        return max(n_left, 1) if n_left <= piece + 1 else piece

    def read(self, reading: Sequence[tuple[Row, int]]) -> None:
        inputs = [row.ids[row.past.length : row.past.length + n] for row, n in reading]
        caches = [row.past.cache for row, _ in reading]
        xs = ragged_hidden_states(inputs, **self.params, n_head=self.n_head, caches=caches)
        for (row, n), x in zip(reading, xs, strict=True):
            row.read(x, alone=len(reading) == 1)
            self.counts.n_again += n if row.is_replayed else 0

    def score(self, row: Row, n: int) -> None:
        """Log-probabilities of the prompt's next n tokens, each from the hidden state of the one before it."""
        begin = len(row.logprob) - 1
        row.score(project(row.past.hidden[begin : begin + n], self.params["wte"]), self.params)

    def choose(self, row: Row, logits: Array, alone: bool) -> None:  # [1, n_vocab]
        if scores := row.prompt_scores():
            self.tell(row, scores)
        token = row.next_token(logits, self.params, alone) if row.end < row.n_end else None
        if token is not None:
            self.counts.n_generated += 1
            self.tell(row, token)
        if row.end == row.n_end or (token is not None and token.finish_reason):
            self.leave(row)
            self.tell(row, row.done(token))

    def tell(self, row: Row, event: Event) -> None:
        if not row.ticket.is_cancelled:
            row.request.receive(event)

    def attempt(self, row: Row, work: Callable[..., object], *args: object) -> object:
        """What concerns one row and fails, fails this row alone."""
        try:
            return work(*args)
        except Exception as error:
            self.fail(row, error)
            return None

    def leave(self, row: Row) -> None:
        """The row has ended; what it has read is remembered."""
        if row in self.joining:
            self.joining.remove(row)
        else:
            self.rows.remove(row)
            self.prefixes.add(row.past)
        self.counts.n_finished += 1

    def fail(self, row: Row, error: Exception) -> None:
        """The row has ended; what it has read may be what was wrong with it."""
        for rows in (self.joining, self.rows):
            if row in rows:
                rows.remove(row)
                self.counts.n_finished += 1
        if not isinstance(error, PicoGPTError):
            LOG.error("a request failed", exc_info=error)
            error = EngineError(f"the request failed: {error!r}")
        with suppress(Exception):  # there may be nobody to be told
            self.tell(row, Failure(error))
