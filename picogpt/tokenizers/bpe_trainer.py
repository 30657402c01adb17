"""Learn a byte-level BPE vocabulary from text, as GPT-2's was.

Start from the 256 bytes, and again and again make the most frequent pair of neighbours within a word a token of its
own. Of pairs that are equally frequent the one with the smaller ids is taken, left before right, and a pair must occur
twice: these are the rules of Hugging Face tokenizers, so the merges are the same. (minbpe takes the pair that it met
first, which depends on the order of the text.)

Source: Sennrich et al. 2016, algorithm 1, with the pairs' counts kept up to date instead of counted anew.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from operator import add

import regex

from picogpt.errors import PicoGPTError
from picogpt.tokenizers.base import check_special_tokens, without_surrogates
from picogpt.tokenizers.bpe import ByteLevelBPE, words
from picogpt.tokenizers.bpe_files import byte_characters

MIN_COUNT = 2
MAX_VOCAB = sys.maxunicode + 1  # an id is a character while merges are learned


def train_bpe(
    texts: str | Iterable[str], n_vocab: int, special_tokens: Sequence[str] = (), *, progress: bool = False
) -> ByteLevelBPE:
    """A tokenizer of `n_vocab` tokens: 256 bytes, the merges learned from `texts`, and last the special tokens.

    The texts may come one by one from a generator: what is kept of them is their words and how often each occurs. A
    text that is too small for `n_vocab` gives fewer tokens. Special tokens inside the texts are not learned from.
    Raises `PicoGPTError` when there is no text, or `n_vocab` or a special token cannot be.
    """
    check_special_tokens(special_tokens)
    n_fixed = 256 + len(special_tokens)
    if not n_fixed <= n_vocab <= MAX_VOCAB:
        raise PicoGPTError(
            f"n_vocab must be at least {n_fixed}, for the bytes and the special tokens, and at most {MAX_VOCAB}; "
            f"it is {n_vocab}"
        )
    counts = count_words([texts] if isinstance(texts, str) else texts, special_tokens, progress)
    if not counts:
        raise PicoGPTError("there is no text to learn from")
    tokens = [bytes([byte]) for byte in byte_characters().values()]
    merges = learn_merges(counts, n_vocab - n_fixed, progress)
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    special = {token: len(tokens) + i for i, token in enumerate(special_tokens)}
    return ByteLevelBPE([*tokens, *map(str.encode, special_tokens)], merges, special)


def count_words(texts: Iterable[str], special_tokens: Sequence[str] = (), progress: bool = False) -> Counter[str]:
    """How often each word occurs in the texts."""
    from tqdm import tqdm

    between = regex.compile("|".join(map(regex.escape, special_tokens)) or r"(?!)")
    counts: Counter[str] = Counter()
    with tqdm(desc="reading", unit="char", unit_scale=True, disable=not progress) as bar:
        for text in texts:
            for part in between.split(without_surrogates(text)):
                for chunk in words(part):
                    counts.update(chunk)
            bar.update(len(text))
    return counts


def learn_merges(counts: Counter[str], n_merges: int, progress: bool = False) -> list[tuple[int, int]]:
    """At most `n_merges` pairs of ids, in the order in which they are learned; merge number m makes id 256 + m."""
    from tqdm import tqdm

    pairs = Pairs(counts)
    merges: list[tuple[int, int]] = []
    with tqdm(total=n_merges, desc="merging", unit="merge", disable=not progress) as bar:
        while len(merges) < n_merges and (pair := pairs.most_frequent()):
            pairs.merge(pair, chr(256 + len(merges)))
            merges.append((ord(pair[0]), ord(pair[1])))
            bar.update()
    return merges


class Pairs:
    """The pairs of neighbours in a corpus of words, and how often each occurs.

    A word is spelled as a string with the character chr(id) for each id, so that Python's own string methods, which
    also go from left to right, do the merging.
    """

    def __init__(self, counts: Counter[str]) -> None:
        order = list(byte_characters().values())
        id_of_byte = bytes(order.index(byte) for byte in range(256))
        self.spelled = [word.encode().translate(id_of_byte).decode("latin-1") for word in counts]
        self.n_of_word = list(counts.values())
        self.n_of_pair: Counter[str] = Counter()
        self.words_with: defaultdict[str, list[int]] = defaultdict(list)  # a word may be there twice, or no longer
        for w, (word, n) in enumerate(zip(self.spelled, self.n_of_word, strict=True)):
            for pair in neighbours(word):
                self.n_of_pair[pair] += n
                self.words_with[pair].append(w)
        self.queue = [(-n, pair) for pair, n in self.n_of_pair.items()]
        heapify(self.queue)

    def most_frequent(self) -> str | None:
        """Take the most frequent pair out of the queue; None when no pair is frequent enough."""
        while self.queue:
            minus_n, pair = heappop(self.queue)
            n = self.n_of_pair[pair]
            if n == -minus_n and n >= MIN_COUNT:
                return pair
            if n >= MIN_COUNT:  # merges have taken some away since it was put in
                heappush(self.queue, (-n, pair))
        return None

    def merge(self, pair: str, merged: str) -> None:
        """Write `merged` for `pair` in all words, and keep the counts right."""
        new_pairs = set()
        for w in set(self.words_with.pop(pair)):
            n = self.n_of_word[w]
            rests = self.spelled[w].split(pair)
            self.spelled[w] = merged.join(rests)
            # Only the ends of the rests have new neighbours. That the two ends of a rest look like neighbours here
            # does no harm: such a pair is taken away once and added once.
            ends = [rest[:1] + rest[-1:] for rest in rests]
            for old in neighbours(pair.join(ends)):
                self.n_of_pair[old] -= n
            for new in neighbours(merged.join(ends)):
                self.n_of_pair[new] += n
                if merged in new:
                    self.words_with[new].append(w)
                    new_pairs.add(new)
        for new in new_pairs:
            heappush(self.queue, (-self.n_of_pair[new], new))


def neighbours(word: str) -> Iterator[str]:
    return map(add, word, word[1:])
