"""Learn a byte-level BPE vocabulary from text, as GPT-2's was.

Start from the 256 bytes, and again and again make the most frequent pair of neighbours within a word a token of its
own. Of pairs that are equally frequent the one with the smaller ids is taken, left before right, and a pair must occur
twice: these are the rules of Hugging Face tokenizers, so the merges are the same. (minbpe takes the pair that it met
first, which depends on the order of the text.)

Source: Sennrich et al. 2016, algorithm 1, with the pairs' counts kept up to date instead of counted anew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from operator import add

import regex

from picogpt.errors import PicoGPTError
from picogpt.tokenizers.base import check_special_tokens, without_surrogates
from picogpt.tokenizers.bpe import ByteLevelBPE, words
from picogpt.tokenizers.bpe_files import byte_characters

MIN_COUNT = 2


def train_bpe(
    texts: Iterable[str], n_vocab: int, special_tokens: Sequence[str] = (), *, progress: bool = False
) -> ByteLevelBPE:
    """A tokenizer of `n_vocab` tokens: 256 bytes, the merges learned from `texts`, and last the special tokens.

    The texts may come one by one from a generator: what is kept of them is their words and how often each occurs. A
    text that is too small for `n_vocab` gives fewer tokens. Special tokens inside the texts are not learned from.
    Raises `PicoGPTError` when there is no text, or `n_vocab` or a special token cannot be.
    """
    n_merges = n_vocab - 256 - len(special_tokens)
    if n_merges < 0:
        raise PicoGPTError(
            f"n_vocab must be at least {256 + len(special_tokens)}, for the bytes and special tokens; it is {n_vocab}"
        )
    check_special_tokens(special_tokens)
    counts = count_words(texts, special_tokens, progress)
    if not counts:
        raise PicoGPTError("there is no text to learn from")
    tokens = [bytes([byte]) for byte in byte_characters().values()]
    merges = learn_merges(counts, n_merges, progress)
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
    """At most `n_merges` pairs of ids, in the order in which they are learned; merge number m makes id 256 + m.

    A word is spelled as a string with the character chr(id) for each id, so that Python's own string methods, which
    also go from left to right, do the merging.
    """
    from tqdm import tqdm

    order = list(byte_characters().values())
    id_of_byte = bytes(order.index(byte) for byte in range(256))
    spelled = [word.encode().translate(id_of_byte).decode("latin-1") for word in counts]
    n_of_word = list(counts.values())
    n_of_pair: Counter[str] = Counter()
    words_with: defaultdict[str, list[int]] = defaultdict(list)
    for w, (word, n) in enumerate(zip(spelled, n_of_word, strict=True)):
        for pair in map(add, word, word[1:]):
            n_of_pair[pair] += n
            words_with[pair].append(w)
    frequent = [(-n, pair) for pair, n in n_of_pair.items()]
    heapify(frequent)
    merges: list[tuple[int, int]] = []
    bar = tqdm(total=n_merges, desc="merging", unit="merge", disable=not progress)
    while frequent and len(merges) < n_merges:
        minus_n, pair = heappop(frequent)
        n = n_of_pair[pair]
        if n < MIN_COUNT:
            continue
        if n != -minus_n:  # other merges took some away since it was put in
            heappush(frequent, (-n, pair))
            continue
        merged = chr(256 + len(merges))
        merges.append((ord(pair[0]), ord(pair[1])))
        bar.update()
        new_pairs = set()
        for w in set(words_with.pop(pair)):
            rests = spelled[w].split(pair)
            spelled[w] = merged.join(rests)
            # Only the rests' ends have new neighbours. A rest's two ends are no neighbours, but count for nothing:
            # once less and once more.
            ends = [rest[:1] + rest[-1:] for rest in rests]
            old, new = pair.join(ends), merged.join(ends)
            for p in map(add, old, old[1:]):
                n_of_pair[p] -= n_of_word[w]
            for p in map(add, new, new[1:]):
                n_of_pair[p] += n_of_word[w]
                if merged in p:
                    words_with[p].append(w)
                    new_pairs.add(p)
        for p in new_pairs:
            heappush(frequent, (-n_of_pair[p], p))
    bar.close()
    return merges
