"""Which beginnings are remembered, and for how long."""

from __future__ import annotations

import numpy as np

from picogpt.performance import hidden_states
from picogpt.server import past
from picogpt.server.past import Past, PrefixCache, longest_common, n_common
from tests.random_model import N_CTX, N_HEAD, random_params

PARAMS = random_params(np.random.default_rng(11))


def read(*ids: int, room: int = 0) -> Past:
    known = Past(PARAMS, N_HEAD, np.array([*ids, *[0] * room]))
    known.cache.length = len(ids)
    return known


ONE = read(1).nbytes  # bytes of a token


def texts(cache: PrefixCache) -> list[list[int]]:
    return [known.ids[: known.length].tolist() for known in cache.pasts]


def test_common_beginnings() -> None:
    for a, b, n in (([], [], 0), ([1], [], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 5, 3], 1), ([4], [5], 0)):
        assert n_common(np.array(a), np.array(b)) == n_common(np.array(b), np.array(a)) == n


def test_the_longest_is_found_and_only_what_was_read_counts() -> None:
    pasts = [read(1, 2), read(1, 2, 3, 9), read(1, room=5), read(7)]
    pasts[2].ids[1:] = 2, 3, 4, 5, 6
    assert longest_common(pasts, np.array([1, 2, 3, 4, 5])) == (pasts[1], 3)
    assert longest_common(pasts, np.array([8])) == (None, 0)


def test_the_text_that_was_used_longest_ago_is_forgotten_first() -> None:
    cache = PrefixCache(6 * ONE)
    for ids in ([1, 2], [3, 4], [5, 6]):
        cache.add(read(*ids))
    cache.use(cache.pasts[0])
    cache.add(read(7, 8, 9))
    assert texts(cache) == [[1, 2], [7, 8, 9]]
    cache.use(read(1, 2))  # a row that is still running: not one of these
    assert cache.nbytes == 5 * ONE
    cache.add(read(*range(7)))
    assert texts(cache) == []
    assert cache.nbytes == 0


def test_a_text_is_remembered_once() -> None:
    """With the beginnings that it contains; and one that is known already is now of use."""
    cache = PrefixCache(1 << 20)
    for ids in ([1], [1, 2, 3], [9], [1, 2]):
        cache.add(read(*ids))
    assert texts(cache) == [[9], [1, 2, 3]]
    assert cache.nbytes == 4 * ONE


def test_memory_that_a_row_did_not_need_is_given_back() -> None:
    cache = PrefixCache(1 << 20)
    cache.add(read(1, 2, room=N_CTX - 2))
    assert cache.nbytes == cache.pasts[0].nbytes == 2 * ONE
    assert texts(cache) == [[1, 2]]


def test_so_many_texts_are_enough() -> None:
    cache = PrefixCache(1 << 30)
    for i in range(past.MAX_TEXTS + 3):
        cache.add(read(i))
    assert texts(cache) == [[i] for i in range(3, past.MAX_TEXTS + 3)]


def test_a_copy_knows_what_the_other_knew_and_changes_nothing_of_it() -> None:
    ids = np.arange(9)
    known = Past(PARAMS, N_HEAD, ids)
    known.add(hidden_states(ids[:7], **PARAMS, n_head=N_HEAD, cache=known.cache))
    before = known.cache.kv[..., :7, :].copy()
    copy = known.copied(np.array([0, 1, 2, 3, 21, 22]), 4)
    x = hidden_states([21, 22], **PARAMS, n_head=N_HEAD, cache=copy.cache)
    copy.add(x)
    expected = hidden_states([0, 1, 2, 3, 21, 22], **PARAMS, n_head=N_HEAD)
    np.testing.assert_allclose(copy.hidden, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(known.cache.kv[..., :7, :], before)
