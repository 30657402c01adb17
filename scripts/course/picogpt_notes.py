"""The notes on picoGPT, and the first week of learnGPT."""

from __future__ import annotations

import inspect
import math
from functools import cache

import numpy as np

from course.figure import Figure
from course.the_verdict import gpt2 as gpt2_tokenizer
from picogpt.checkpoints import nest, param_shapes
from picogpt.errors import PicoGPTError
from picogpt.model import gpt2, softmax
from picogpt.tokenizers import WhitespaceTokenizer, WordTokenizer
from picogpt.training.ideas import count_bigrams
from picogpt.training.trainer import init_params
from picogpt.types import Array

HEROES = "Not all heroes wear capes."
APPLE = "The apple doesn't fall far from the"
SIZES_124M = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
WEIGHTS = "needs GPT-2's weights, 500 MB: `tests/test_published.py` computes it where they are"
THEIR_WTE = """array([[-0.11010301, -0.03926672,  0.03310751, ..., -0.1363697 ,
         0.01506208,  0.04531523],
       [ 0.04034033, -0.04861503,  0.04624869, ...,  0.08605453,
         0.00253983,  0.04318958],
       [-0.12746179,  0.04793796,  0.18410145, ...,  0.08991534,
        -0.12972379, -0.08785918],
       ...,
       [-0.04453601, -0.05483596,  0.01225674, ...,  0.10435229,
         0.09783269, -0.06952604],
       [ 0.1860082 ,  0.01665728,  0.04611587, ..., -0.09625227,
         0.07847701, -0.02245961],
       [ 0.05135201, -0.02768905,  0.0499369 , ...,  0.00704835,
         0.15519823,  0.12067825]]"""
LIKE = ["like", "apple"] * 8 + ["like", "orange"] * 2


@cache
def heroes() -> WhitespaceTokenizer:
    return WhitespaceTokenizer(["all", "not", "heroes", "the", "wear", ".", "capes"])


def encoded(text: str) -> str:
    """The ids, or what is wrong with the text."""
    try:
        return str(heroes().encode(text))
    except PicoGPTError as error:
        return str(error).partition(" (")[0]


def tokens(text: str) -> str:
    """GPT-2's, as they are in its vocabulary."""
    return str([gpt2_tokenizer().decoder[i] for i in gpt2_tokenizer().encode(text)])


def after_like() -> Array:
    """How often "apple" and "orange" follow "like"."""
    encoder = WhitespaceTokenizer(["apple", "orange", "like"])
    return count_bigrams(np.array(encoder.encode(" ".join(LIKE))), encoder.n_vocab)[2, :2]


def n_params() -> int:
    return sum(math.prod(shape) for shape in param_shapes(SIZES_124M).values())


def trees() -> str:
    """The names at the top of the parameter tree."""
    tree = nest({name: np.empty(0, np.float32) for name in param_shapes(SIZES_124M)})
    return f"dict_keys({sorted(tree)})"


def signature() -> str:
    return f"gpt2({', '.join(name for name in inspect.signature(gpt2).parameters)})"


def likeliest() -> str:
    """Of the notes' example of an output, after all of "not all heroes wear"."""
    next_id = int(np.argmax([0.0, 0.0, 0.0, 0.1, 0.0, 0.05, 0.85]))
    return str((next_id, heroes().vocab[next_id]))


def shape_of_logits() -> tuple[int, ...]:
    """Of a narrow GPT-2 with GPT-2's vocabulary: their shape does not depend on its width."""
    params = init_params(SIZES_124M | {"n_embd": 12, "n_layer": 1}, np.random.default_rng(0))
    return gpt2(gpt2_tokenizer().encode(APPLE), **params, n_head=12).shape


PICOGPT = [
    Figure(
        "five ids, looked up",
        1,
        """not
all
heroes
wear
capes""",
        lambda: heroes().decode([1, 0, 2, 4, 6]),
    ),
    Figure(
        "encoded and decoded",
        1,
        "([1, 0, 2, 4], 'not all heroes wear')",
        lambda: str(((ids := heroes().encode("not all heroes wear")), heroes().decode(ids))),
    ),
    Figure(
        "the tokens",
        1,
        "['not', 'all', 'heroes', 'wear']",
        lambda: str([heroes().vocab[i] for i in heroes().encode("not all heroes wear")]),
    ),
    Figure(
        "a word that is not in it",
        1,
        "KeyError : 'shoes'",
        lambda: encoded("not all heroes wear shoes"),
        why="the same error, as a sentence",
    ),
    Figure(
        "several spaces",
        1,
        "KeyError : ''",
        lambda: encoded("not all heroes    wear"),
        why='ours takes any white space as one; `text.split(" ")`, as there, finds empty words',
    ),
    Figure("no text", 1, "KeyError : ''", lambda: encoded(""), why="ours has no words to look up, and so no ids"),
    Figure(
        "a word with its mark",
        1,
        "KeyError : 'capes!'",
        lambda: encoded("not all heroes wear capes!"),
        why="the same error, as a sentence",
    ),
    Figure(
        "an output",
        7,
        "output[-1] =  [0.0     0.0     0.0     0.1     0.0    0.05  0.85  ]",
        why="made up, as an illustration; notebook 7 prints a real one",
    ),
    Figure("its likeliest next token", 7, "(6, 'capes')", likeliest),
    Figure("what 124M writes", 7, "output # ' the most powerful machines on the planet.'", why=WEIGHTS),
    Figure(
        "a sentence in GPT-2's ids, and back",
        1,
        "([3673, 477, 10281, 5806, 1451, 274, 13], 'Not all heroes wear capes.')",
        lambda: str(((ids := gpt2_tokenizer().encode(HEROES)), gpt2_tokenizer().decode(ids))),
    ),
    Figure("its tokens", 1, "['Not', 'Ġall', 'Ġheroes', 'Ġwear', 'Ġcap', 'es', '.']", lambda: tokens(HEROES)),
    Figure("a word that nobody has seen", 1, "['z', 'j', 'q', 'fl']", lambda: tokens("zjqfl")),
    Figure("how many tokens there are", 1, "50257", lambda: len(gpt2_tokenizer().decoder)),
    Figure(
        "the sizes of 124M",
        6,
        "{'n_vocab': 50257, 'n_ctx': 1024, 'n_embd': 768, 'n_head': 12, 'n_layer': 12}",
        why="stands in its files, and is taken from here for the rows below; `picogpt info 124M` prints it",
    ),
    Figure("the top of its parameters", 6, "dict_keys(['blocks', 'ln_f', 'wpe', 'wte'])", trees),
    Figure(
        "its `wte`",
        7,
        THEIR_WTE,
        why=WEIGHTS,
    ),
    Figure("how many numbers its parameters are", 6, "124439808", n_params),
    Figure(
        "the signature",
        6,
        "gpt2(inputs, wte, wpe, blocks, ln_f, n_head)",
        signature,
        why="the same; then what ours can do besides: a cache, pads, a tap",
    ),
    Figure(
        "a prompt's ids", 7, "[464, 17180, 1595, 470, 2121, 1290, 422, 262]", lambda: gpt2_tokenizer().encode(APPLE)
    ),
    Figure("shape of its logits", 6, "(8, 50257)", shape_of_logits),
    Figure("the likeliest next id", 7, "5509", why=WEIGHTS),
    Figure("its token", 7, "'Ġtree'", lambda: str([gpt2_tokenizer().decoder[5509]]).strip("[]")),
    Figure(
        "how fast 124M writes",
        7,
        "8/8 [00:05<00:00,  1.60it/s]",
        why="the time of another machine; notebook 7 has ours",
    ),
    Figure("what it writes", 7, "' the most powerful machines on the planet.'", why=WEIGHTS),
]

LEARNGPT = [
    Figure("Python", None, "Python 3.9.12", why="the version of a program; picogpt needs 3.11"),
    Figure("libraries", None, "torch==1.13.1 pytest==7.2.1 pyyaml==6.0", why="programs that are not used here"),
    Figure(
        "six exercises with tests",
        None,
        "pytest tests/test_1.py",
        why="the tests are not in the note; the notebooks' exercises have their own checks",
    ),
    Figure(
        "ways to take *don't* apart",
        1,
        "don / t",
        lambda: " / ".join(WordTokenizer.split("don't")),
        why="one of three in the note, to show that there is a choice; ours is one more",
    ),
    Figure("how a BPE vocabulary grows", 1, "img/BPE.png", why="a picture without numbers; notebook 1 draws ours"),
    Figure("P(apple after like)", 3, "0.8", lambda: after_like()[0]),
    Figure("P(orange after like)", 3, "0.2", lambda: after_like()[1]),
    Figure("`softmax([0, 0, -inf, -inf])`", 4, "[0.5, 0.5, 0, 0]", lambda: softmax(np.array([0, 0, -np.inf, -np.inf]))),
    Figure(
        "variance of `wei`",
        5,
        "wei will be unit variance too",
        why="said and not printed; see the last row of “GPT from scratch”",
    ),
]
