"""Prompt-lookup decoding: guess the next tokens from what followed the same tokens earlier, check them in one pass.

The model decides every token as it would have without guesses, so the text is the same; a right guess has only been
read already (Saxena 2023, "Prompt Lookup Decoding"; Leviathan et al. 2023 for the check). A pass over several tokens
costs a few plain ones, so guesses must earn their pass: see `Predictor` and `Budget`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from picogpt.decoding.rows import Rows
from picogpt.types import Array, Params

N_GRAM = 3  # tokens that must have stood together before, for what followed them to be a guess
MIN_RIGHT = 3  # guesses that must have come true, for nothing, before the next ones are checked in a pass
MAX_DRAFT = 63  # guesses checked in one pass
MAX_COST = 0.05  # of the time that plain decoding takes
SURE = 8  # guesses right in a row, after which the next ones are checked on credit


class Predictor:
    """Follows an earlier passage for as long as the text repeats it."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids: list[int] = []
        self.n_right = 0  # how many tokens the earlier passage has foretold in a row
        self._source: int | None = None  # the place in ids of what should come next
        self._followers: dict[tuple[int, ...], int] = {}  # n-gram -> the place after its last occurrence
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        if self._source is not None and self.ids[self._source] == token:
            self._source += 1
            self.n_right += 1
        else:
            self._source, self.n_right = None, 0
        self.ids.append(token)
        n_gram = tuple(self.ids[-N_GRAM:])
        if self._source is None:
            self._source = self._followers.get(n_gram)
        self._followers[n_gram] = len(self.ids)

    def draft(self, n: int) -> list[int]:
        """What should come next: as many tokens as have come true in a row, at most n."""
        if self._source is None or self.n_right < MIN_RIGHT or n < 1:
            return []
        n = min(n, self.n_right, MAX_DRAFT)
        known = self.ids[self._source : self._source + n]
        return (known * -(-n // len(known)))[:n]  # where the passage reaches the end of the text, it goes round


class Budget:
    """Keeps what is lost by wrong guesses below MAX_COST of the time, by the clock of this very run."""

    def __init__(self) -> None:
        self.plain_seconds = 0.0  # of a pass over one token, smoothed
        self.check_seconds = 0.0  # of the last pass over guesses
        self.balance = 0.0  # seconds that may be lost

    def allows_a_check(self, n_right: int) -> bool:
        """Whether guesses may be checked now, after n_right that were right in a row."""
        loss = (self.check_seconds or 4 * self.plain_seconds) - self.plain_seconds  # if the first guess is wrong
        return 0 < loss <= self.balance or (n_right >= SURE and self.balance >= 0)

    def add(self, seconds: float, n_tokens: int, *, checked: bool) -> None:
        """Note a pass: how long it took, how many tokens it gave, and whether guesses were checked in it."""
        if checked:
            self.check_seconds = seconds
        else:
            self.plain_seconds += (seconds - self.plain_seconds) * (0.1 if self.plain_seconds else 1.0)
        plain = n_tokens * self.plain_seconds
        self.balance += MAX_COST * plain + (plain - seconds if checked else 0.0)


class LookupRows(Rows):
    """One row that reads ahead of its text; its next logits are there already for as long as guesses are right."""

    def __init__(self, prompts: Sequence[Sequence[int]], params: Params, n_head: int, n_tokens: int) -> None:
        super().__init__(prompts, params, n_head, n_tokens)
        self.predictor = Predictor(self.ids[0, : self.end - 1].tolist())
        self.budget = Budget()
        self.draft: list[int] = []
        self.n_right = 0  # guesses of the draft that have come true
        self.ahead: Array  # [1 + n_draft, n_vocab], the last pass's logits
        self.seconds = 0.0  # that the last pass took
        self.n_exact = 0  # positions of the cache that are, bit for bit, what plain decoding has there

    @property
    def exact(self) -> bool:
        """Whether the logits are bit for bit those of plain decoding: as long as no pass has read several tokens."""
        return self.n_exact == self.end - self.origin

    def next_logits(self) -> Array:  # [1, n_vocab]
        newest = int(self.ids[0, self.end - 1])
        self.predictor.add(newest)
        if self.n_right < len(self.draft) and newest == self.draft[self.n_right]:
            self.n_right += 1
        else:
            self.next_pass()
        return self.ahead[None, self.n_right]

    def next_pass(self) -> None:
        """Read what has not been read, and as many guesses after it as are worth their time."""
        if self.seconds:
            self.budget.add(self.seconds, self.n_right + 1, checked=bool(self.draft))
        self.cache.length = min(self.cache.length, self.end - 1 - self.origin)  # after it are wrong guesses
        self.make_room()
        self.n_exact = min(self.n_exact, self.cache.length)
        is_step = self.cache.length > 0  # and not the pass over a prompt or a new window
        room = min(self.n_end - self.end - 1, self.n_ctx - (self.end - self.origin))
        self.draft = (
            self.predictor.draft(room) if is_step and self.budget.allows_a_check(self.predictor.n_right) else []
        )
        self.n_right = 0
        self.write(np.array([self.draft], np.int64))
        was_exact = self.n_exact == self.cache.length
        started = time.perf_counter()
        self.ahead = self.read(self.end + len(self.draft), 1 + len(self.draft))[0]
        self.seconds = time.perf_counter() - started if is_step else 0.0
        if was_exact and not self.draft:
            self.n_exact = self.cache.length

    def exact_logits(self) -> Array:  # [1, n_vocab]
        """The next logits as plain decoding has them: what was read several tokens at a time is read again one by one.

        A pass over several tokens sums in another order, so its logits differ in the last digits. That matters
        where two tokens are as good as equal. Each position is read again at most once.
        """
        started = time.perf_counter()
        self.cache.length = self.n_exact
        for end in range(self.origin + self.n_exact + 1, self.end + 1):
            logits = self.read(end)[:, 0]
        self.n_exact = self.cache.length
        self.draft = self.draft[: self.n_right]
        self.budget.balance -= time.perf_counter() - started
        return logits
