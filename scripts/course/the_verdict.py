"""The notes on chapter 2 of Raschka's book, over "The Verdict"."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from course.figure import Figure, text
from picogpt.errors import PicoGPTError
from picogpt.model import embed, linear
from picogpt.tokenizers import ByteLevelBPE, WordTokenizer
from picogpt.training.torch_random import Generator
from picogpt.training.windows import batches, sliding_windows
from picogpt.types import Array, Ids

SPECIAL = ["<|endoftext|>", "<|unk|>"]
HELLO = "Hello, world. This, is a test."
TEA = "Hello, do you like tea?"
BOTH = " <|endoftext|> ".join([TEA, "In the sunlit terraces of the palace."])
UNKNOWN_PLACE = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
PAINTED = """"It's the last he painted, you know,"
           Mrs. Gisburn said with pardonable pride."""
IDS = np.array([2, 3, 1])


def story() -> str:
    return text("the-verdict.txt")


@cache
def words(*special: str) -> WordTokenizer:
    return WordTokenizer.from_text(story(), special)


@cache
def gpt2() -> ByteLevelBPE:
    return ByteLevelBPE.gpt2()


@cache
def ids() -> list[int]:
    return gpt2().encode(story())


def without_the_unknown() -> str:
    try:
        return str(words().encode("Hello, do you like tea. Is this-- a test?"))
    except PicoGPTError as error:
        return str(error)


def continuations(shown: str) -> str:
    """A line for each of the first four places after the fiftieth."""
    lines = []
    for i in range(1, 5):
        context, desired = ids()[50 : 50 + i], ids()[50 + i]
        if shown == "text":
            lines.append(f"{gpt2().decode(context)} ----> {gpt2().decode([desired])}")
        else:
            lines.append(f"{context} ----> {desired}")
    return "\n".join(lines)


def batch(size: int, stride: int, number: int = 0) -> tuple[Ids, Ids]:
    """Inputs and targets of one batch, in order."""
    inputs, targets = sliding_windows(ids(), max_length=4, stride=stride)
    return list(batches(inputs, targets, size, drop_last=True))[number]


@cache
def table(n: int, n_embd: int) -> Array:
    return Generator(123).embedding(n, n_embd)


@cache
def layers() -> tuple[Array, Array]:
    """Embeddings of GPT-2's size, and of four positions."""
    generator = Generator(123)
    return generator.embedding(50257, 256), generator.embedding(4, 256)


THEIR_VOCABULARY = """('!', 0)
('"', 1)
("'", 2)
('(', 3)
(')', 4)
(',', 5)
('--', 6)
('.', 7)
(':', 8)
(';', 9)
('?', 10)
('A', 11)
('Ah', 12)
('Among', 13)
('And', 14)
('Are', 15)
('Arrt', 16)
('As', 17)
('At', 18)
('Be', 19)
('Begin', 20)
('Burlington', 21)
('But', 22)
('By', 23)
('Carlo', 24)
('Chicago', 25)
('Claude', 26)
('Come', 27)
('Croft', 28)
('Destroyed', 29)
('Devonshire', 30)
('Don', 31)
('Dubarry', 32)
('Emperors', 33)
('Florence', 34)
('For', 35)
('Gallery', 36)
('Gideon', 37)
('Gisburn', 38)
('Gisburns', 39)
('Grafton', 40)
('Greek', 41)
('Grindle', 42)
('Grindles', 43)
('HAD', 44)
('Had', 45)
('Hang', 46)
('Has', 47)
('He', 48)
('Her', 49)
('Hermia', 50)"""
THEIR_INPUTS = """tensor([[   40,   367,  2885,  1464],
        [ 1807,  3619,   402,   271],
        [10899,  2138,   257,  7026],
        [15632,   438,  2016,   257],
        [  922,  5891,  1576,   438],
        [  568,   340,   373,   645],
        [ 1049,  5975,   284,   502],
        [  284,  3285,   326,    11]])"""
THEIR_TABLE = """tensor([[ 0.3374, -0.1778, -0.3035, -0.5880,  1.5810],
        [ 1.3010,  1.2753, -0.2010, -0.1606, -0.4015],
        [ 0.6957, -1.8061, -1.1589,  0.3255, -0.6315],
        [-2.8400, -0.7849, -1.4096, -0.4076,  0.7953]]"""
THEIR_ROWS = """tensor([[ 0.6957, -1.8061, -1.1589,  0.3255, -0.6315],
        [-2.8400, -0.7849, -1.4096, -0.4076,  0.7953],
        [ 1.3010,  1.2753, -0.2010, -0.1606, -0.4015]]"""
NOT_OURS = "the version of a program that is not used here"

THE_VERDICT = [
    Figure("torch", None, "torch version: 2.5.1", why=NOT_OURS),
    Figure("tiktoken", None, "tiktoken version: 0.7.0", why=NOT_OURS),
    Figure("length of the text", 1, "Total number of character:  20479", lambda: len(story())),
    Figure(
        "its beginning",
        1,
        "I HAD always thought Jack Gisburn rather a cheap genius--though a good fellow enough--so it was no ",
        lambda: story()[:99],
    ),
    Figure(
        "split at white space",
        1,
        """['Hello,', ' ', 'world.', ' ', 'This,', ' ', 'is', ' ', 'a', ' ', 'test.']""",
        lambda: str(re.split(r"(\s)", HELLO)),
    ),
    Figure(
        "and at commas and full stops",
        1,
        """['Hello', ',', '', ' ', 'world', '.', '', ' ', 'This', ',', '', ' ', 'is', ' ', 'a', ' ', 'test', '.', '']""",  # noqa: E501
        lambda: str(re.split(r"([,.]|\s)", HELLO)),
    ),
    Figure(
        "without what is empty",
        1,
        """['Hello', ',', 'world', '.', 'This', ',', 'is', 'a', 'test', '.']""",
        lambda: str(WordTokenizer.split(HELLO)),
    ),
    Figure(
        "and at all punctuation",
        1,
        """['Hello', ',', 'world', '.', 'Is', 'this', '--', 'a', 'test', '?']""",
        lambda: str(WordTokenizer.split("Hello, world. Is this-- a test?")),
    ),
    Figure(
        "the text's first 30 words",
        1,
        """['I', 'HAD', 'always', 'thought', 'Jack', 'Gisburn', 'rather', 'a', 'cheap', 'genius', '--', 'though', 'a', 'good', 'fellow', 'enough', '--', 'so', 'it', 'was', 'no', 'great', 'surprise', 'to', 'me', 'to', 'hear', 'that', ',', 'in']""",  # noqa: E501
        lambda: str(WordTokenizer.split(story())[:30]),
    ),
    Figure("how many words", 1, "4690", lambda: len(WordTokenizer.split(story()))),
    Figure("how many different ones", 1, "1130", lambda: words().n_vocab),
    Figure(
        "the first 51 of the vocabulary",
        1,
        THEIR_VOCABULARY,
        lambda: "\n".join(str((token, i)) for i, token in enumerate(words().vocab[:51])),
    ),
    Figure(
        "a sentence, encoded",
        1,
        "[1, 56, 2, 850, 988, 602, 533, 746, 5, 1126, 596, 5, 1, 67, 7, 38, 851, 1108, 754, 793, 7]",
        lambda: words().encode(PAINTED),
    ),
    Figure(
        "and decoded",
        1,
        """" It' s the last he painted, you know," Mrs. Gisburn said with pardonable pride.""",
        lambda: words().decode(words().encode(PAINTED)),
    ),
    Figure(
        "a word that is not in it", 1, "KeyError: 'Hello'", without_the_unknown, why="the same error, as a sentence"
    ),
    Figure("the vocabulary with two special tokens", 1, "1132", lambda: words(*SPECIAL).n_vocab),
    Figure(
        "its last five",
        1,
        """('younger', 1127)
('your', 1128)
('yourself', 1129)
('<|endoftext|>', 1130)
('<|unk|>', 1131)""",
        lambda: "\n".join(str((words(*SPECIAL).vocab[i], i)) for i in range(1127, 1132)),
    ),
    Figure(
        "two texts joined",
        1,
        "Hello, do you like tea? <|endoftext|> In the sunlit terraces of the palace.",
        lambda: BOTH,
    ),
    Figure(
        "and encoded",
        1,
        "[1131, 5, 355, 1126, 628, 975, 10, 1130, 55, 988, 956, 984, 722, 988, 1131, 7]",
        lambda: words(*SPECIAL).encode(BOTH, allowed_special="all"),
    ),
    Figure(
        "and decoded",
        1,
        "<|unk|>, do you like tea? <|endoftext|> In the sunlit terraces of the <|unk|>.",
        lambda: words(*SPECIAL).decode(words(*SPECIAL).encode(BOTH, allowed_special="all")),
    ),
    Figure(
        "`unfamiliarword` by GPT-2",
        1,
        "[unfam, iliar, word]",
        lambda: ", ".join(gpt2().decode([i]) for i in gpt2().encode("unfamiliarword")),
        why="the note's is made up, as an illustration; ours is GPT-2's",
    ),
    Figure("tiktoken", None, "tiktoken version: 0.7.0", why=NOT_OURS),
    Figure(
        "a text in GPT-2's ids",
        1,
        "[15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250, 8812, 2114, 1659, 617, 34680, 27271, 13]",  # noqa: E501
        lambda: gpt2().encode(UNKNOWN_PLACE, allowed_special="all"),
    ),
    Figure(
        "and decoded",
        1,
        UNKNOWN_PLACE,
        lambda: gpt2().decode(gpt2().encode(UNKNOWN_PLACE, allowed_special="all")),
    ),
    Figure("the text in GPT-2's tokens", 2, "5145", lambda: len(ids())),
    Figure("`x` after the fiftieth", 2, "x: [290, 4920, 2241, 287]", lambda: ids()[50:54]),
    Figure("`y`", 2, "y:      [4920, 2241, 287, 257]", lambda: ids()[51:55]),
    Figure(
        "what follows what, in ids",
        2,
        """[290] ----> 4920
[290, 4920] ----> 2241
[290, 4920, 2241] ----> 287
[290, 4920, 2241, 287] ----> 257""",
        lambda: continuations("ids"),
    ),
    Figure(
        "and in words",
        2,
        """and ---->  established
 and established ---->  himself
 and established himself ---->  in
 and established himself in ---->  a""",
        lambda: continuations("text"),
    ),
    Figure("torch", None, "PyTorch version: 2.5.1+cu124", why=NOT_OURS),
    Figure(
        "the first batch of one, stride 1",
        2,
        "[tensor([[  40,  367, 2885, 1464]]), tensor([[ 367, 2885, 1464, 1807]])]",
        lambda: batch(1, 1),
    ),
    Figure(
        "and the second",
        2,
        "[tensor([[ 367, 2885, 1464, 1807]]), tensor([[2885, 1464, 1807, 3619]])]",
        lambda: batch(1, 1, 1),
    ),
    Figure("inputs of a batch of eight, stride 4", 2, THEIR_INPUTS, lambda: batch(8, 4)[0]),
    Figure(
        "and its targets",
        2,
        """tensor([[  367,  2885,  1464,  1807],
        [ 3619,   402,   271, 10899],
        [ 2138,   257,  7026, 15632],
        [  438,  2016,   257,   922],
        [ 5891,  1576,   438,   568],
        [  340,   373,   645,  1049],
        [ 5975,   284,   502,   284],
        [ 3285,   326,    11,   287]])""",
        lambda: batch(8, 4)[1],
    ),
    Figure(
        "`nn.Embedding(6, 3)`, seed 123",
        2,
        """tensor([[ 0.3374, -0.1778, -0.1690],
        [ 0.9178,  1.5810,  1.3010],
        [ 1.2753, -0.2010, -0.1606],
        [-0.4015,  0.9666, -1.1481],
        [-1.1589,  0.3255, -0.6315],
        [-2.8400, -0.7849, -1.4096]]""",
        lambda: table(6, 3),
    ),
    Figure("`nn.Embedding(4, 5)`, seed 123", 2, THEIR_TABLE, lambda: table(4, 5)),
    Figure("its row 1", 2, "tensor([[ 1.3010,  1.2753, -0.2010, -0.1606, -0.4015]]", lambda: table(4, 5)[1]),
    Figure("its row 2", 2, "tensor([[ 0.6957, -1.8061, -1.1589,  0.3255, -0.6315]]", lambda: table(4, 5)[2]),
    Figure("its rows 2, 3 and 1", 2, THEIR_ROWS, lambda: table(4, 5)[IDS]),
    Figure(
        "the same ids, one-hot",
        2,
        """tensor([[0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 1, 0, 0]])""",
        lambda: np.eye(4, dtype=int)[IDS],
    ),
    Figure(
        "`nn.Linear(4, 5, bias=False)`, seed 123",
        2,
        """tensor([[-0.2039,  0.0166, -0.2483,  0.1886],
        [-0.4260,  0.3665, -0.3634, -0.3975],
        [-0.3159,  0.2264, -0.1847,  0.1871],
        [-0.4244, -0.3034, -0.1836, -0.0983],
        [-0.3814,  0.3274, -0.1179,  0.1605]]""",
        lambda: Generator(123).linear(4, 5, bias=False)["w"].T,
    ),
    Figure(
        "one-hot rows through a linear layer of the table",
        2,
        THEIR_ROWS,
        lambda: linear(np.eye(4, dtype=np.float32)[IDS], table(4, 5), np.zeros(5, np.float32)),
    ),
    Figure("the same rows, looked up", 2, THEIR_ROWS, lambda: table(4, 5)[IDS]),
    Figure("GPT-2's vocabulary", 1, "50,257", lambda: gpt2().n_vocab),
    Figure("the batch of eight again", 2, THEIR_INPUTS, lambda: batch(8, 4)[0]),
    Figure("its shape", 2, "torch.Size([8, 4])", lambda: batch(8, 4)[0].shape),
    Figure("shape of its embeddings", 2, "torch.Size([8, 4, 256])", lambda: layers()[0][batch(8, 4)[0]].shape),
    Figure("shape of the positions' embeddings", 2, "torch.Size([4, 256])", lambda: layers()[1].shape),
    Figure("shape of their sum", 2, "torch.Size([8, 4, 256])", lambda: embed(batch(8, 4)[0], *layers()).shape),
]
