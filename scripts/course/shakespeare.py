"""The notes on bigrams and attention over Tiny Shakespeare: of a study group, and of "GPT from scratch".

Both follow the same lecture, with the same seeds, so they share most of their figures.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from course.figure import Figure, text
from picogpt.tokenizers import CharTokenizer
from picogpt.training.backprop import cross_entropy
from picogpt.training.ideas import average_by_loops, average_by_matrix, average_by_softmax, self_attention
from picogpt.training.ladder import Bigram, generate
from picogpt.training.optimizer import adamw
from picogpt.training.torch_random import Generator
from picogpt.training.windows import inputs_and_targets, sliding_windows
from picogpt.types import Array, Ids, Params

BLOCK = 8  # the notes' block_size
BIGRAM = Bigram(65, BLOCK)


@cache
def encoder() -> CharTokenizer:
    return CharTokenizer.from_text(text("tinyshakespeare.txt"))


@cache
def data() -> Ids:
    return np.array(encoder().encode(text("tinyshakespeare.txt")))


@cache
def train_data() -> Ids:
    return data()[: int(0.9 * len(data()))]


def get_batch(generator: Generator, batch_size: int) -> tuple[Ids, Ids]:
    """The notes' windows: they draw where each one starts."""
    inputs, targets = sliding_windows(train_data(), BLOCK, stride=1)
    starts = generator.randint(0, len(inputs), (batch_size,))
    return inputs[starts], targets[starts]


@cache
def first_batch() -> tuple[Ids, Ids]:
    return get_batch(Generator(1337), 4)


def contexts(inputs: Ids, targets: Ids, line: str) -> str:
    """A line for every place of every row: the ids up to there, and the one that follows."""
    rows = zip(np.atleast_2d(inputs).tolist(), np.atleast_2d(targets).tolist(), strict=True)
    return "\n".join(line.format(x[: t + 1], y[t]) for x, y in rows for t in range(len(x)))


def first_contexts(line: str) -> str:
    return contexts(*inputs_and_targets(train_data()[: BLOCK + 1]), line)


def new_bigram() -> tuple[Generator, Params]:
    """The generator after it has made the notes' model, and the model."""
    generator = Generator(1337)
    return generator, {"table": generator.embedding(65, 65)}


def untrained() -> tuple[Array, float]:
    """Logits and loss of the notes' first batch."""
    logits = BIGRAM.forward(new_bigram()[1], first_batch()[0]).reshape(-1, 65)
    return logits, cross_entropy(logits, first_batch()[1].reshape(-1))[0]


def train(generator: Generator, params: Params, n_steps: int) -> float:
    """AdamW as torch has it, in place; the loss of the last batch."""
    mean, square = ({name: np.zeros_like(array) for name, array in params.items()} for _ in range(2))
    loss = math.nan
    for step in range(n_steps):
        loss, grads = BIGRAM.loss_and_grads(params, *get_batch(generator, 32))
        adamw(params, grads, mean, square, step, lr=1e-3, beta2=0.999, weight_decay=0.01)
    return loss


@cache
def written(prompt: str, n_steps: int, then: int) -> tuple[list[int], float, list[int]]:
    """The ids that follow the prompt; the loss after training; and `then` ids that follow the prompt after that."""
    generator, params = new_bigram()
    ids = encoder().encode(prompt)
    before = generate(BIGRAM, params, ids, 100, generator)
    loss = train(generator, params, n_steps)
    return before, loss, generate(BIGRAM, params, ids, then, generator)


def decoded(prompt: str, ids: list[int]) -> str:
    return prompt + encoder().decode(ids)


def x_4_8_2() -> Array:
    return Generator(1337).randn(4, 8, 2)


def averages() -> Array:
    return average_by_loops(x_4_8_2())


def means_of(b: Ids) -> list[Array]:
    """a, b and a @ b."""
    a = average_by_matrix(np.eye(3, dtype=np.float32))
    return [a, b.astype(np.float32), a @ b.astype(np.float32)]


@cache
def head() -> tuple[Array, Array]:
    """The example of Q, K and V: what comes out of the head, and its weights."""
    generator = Generator(1337)
    x = generator.randn(4, 8, 32)
    key, query, value = (generator.linear(32, 16, bias=False) for _ in range(3))
    query["w"] *= 4  # the notes do not divide by √16 yet
    seen: dict[str, Array] = {}
    out = self_attention(x, query, key, value, tap=lambda name, array: seen.setdefault(name, array))
    return out, seen["attn.pattern"]


def variances() -> str:
    """Of Q and K drawn with unit variance: of their products, before and after the division."""
    generator = Generator(1337)
    q, k = generator.randn(4, 8, 16), generator.randn(4, 8, 16)
    products = q @ k.swapaxes(-1, -2)
    return f"{products.var(ddof=1):.2f} before, {(products / 4).var(ddof=1):.2f} after"


def ends(x: Array) -> Array:
    """The three first and the three last of each axis, which is what torch prints of a long one."""
    return x[np.ix_(*[[0, 1, 2, -3, -2, -1]] * x.ndim)]


def allclose(average: Any) -> str:
    return str(np.allclose(averages(), average(x_4_8_2()), atol=1e-7))


def after_x() -> Ids:
    """What the generator gives after `x`."""
    generator = Generator(1337)
    generator.randn(4, 8, 2)
    return generator.randint(0, 10, (3, 2))


SENTENCE = "First Citizen, before we proceed any further..."
CHARACTERS = "!$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
XB = """[[24, 43, 58,  5, 57,  1, 46, 43],
        [44, 53, 56,  1, 58, 46, 39, 58],
        [52, 58,  1, 58, 46, 39, 58,  1],
        [25, 17, 27, 10,  0, 21,  1, 54]]"""
YB = """[[43, 58,  5, 57,  1, 46, 43, 39],
        [53, 56,  1, 58, 46, 39, 58,  1],
        [58,  1, 58, 46, 39, 58,  1, 46],
        [17, 27, 10,  0, 21,  1, 54, 39]]"""
ANOTHER_ORDER = "float32 sums are made in another order"
THEIR_FIRST_1000 = """
18, 47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52, 10, 0, 14, 43, 44, 53, 56, 43, 1, 61, 43, 1, 54, 56, 53, 41,
43, 43, 42, 1, 39, 52, 63, 1, 44, 59, 56, 58, 46, 43, 56, 6, 1, 46, 43, 39, 56, 1, 51, 43, 1, 57, 54, 43, 39,
49, 8, 0, 0, 13, 50, 50, 10, 0, 31, 54, 43, 39, 49, 6, 1, 57, 54, 43, 39, 49, 8, 0, 0, 18, 47, 56, 57, 58, 1,
15, 47, 58, 47, 64, 43, 52, 10, 0, 37, 53, 59, 1, 39, 56, 43, 1, 39, 50, 50, 1, 56, 43, 57, 53, 50, 60, 43, 42,
1, 56, 39, 58, 46, 43, 56, 1, 58, 53, 1, 42, 47, 43, 1, 58, 46, 39, 52, 1, 58, 53, 1, 44, 39, 51, 47, 57, 46,
12, 0, 0, 13, 50, 50, 10, 0, 30, 43, 57, 53, 50, 60, 43, 42, 8, 1, 56, 43, 57, 53, 50, 60, 43, 42, 8, 0, 0, 18,
47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52, 10, 0, 18, 47, 56, 57, 58, 6, 1, 63, 53, 59, 1, 49, 52, 53, 61,
1, 15, 39, 47, 59, 57, 1, 25, 39, 56, 41, 47, 59, 57, 1, 47, 57, 1, 41, 46, 47, 43, 44, 1, 43, 52, 43, 51, 63,
1, 58, 53, 1, 58, 46, 43, 1, 54, 43, 53, 54, 50, 43, 8, 0, 0, 13, 50, 50, 10, 0, 35, 43, 1, 49, 52, 53, 61, 5,
58, 6, 1, 61, 43, 1, 49, 52, 53, 61, 5, 58, 8, 0, 0, 18, 47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52, 10, 0,
24, 43, 58, 1, 59, 57, 1, 49, 47, 50, 50, 1, 46, 47, 51, 6, 1, 39, 52, 42, 1, 61, 43, 5, 50, 50, 1, 46, 39, 60,
43, 1, 41, 53, 56, 52, 1, 39, 58, 1, 53, 59, 56, 1, 53, 61, 52, 1, 54, 56, 47, 41, 43, 8, 0, 21, 57, 5, 58, 1,
39, 1, 60, 43, 56, 42, 47, 41, 58, 12, 0, 0, 13, 50, 50, 10, 0, 26, 53, 1, 51, 53, 56, 43, 1, 58, 39, 50, 49,
47, 52, 45, 1, 53, 52, 5, 58, 11, 1, 50, 43, 58, 1, 47, 58, 1, 40, 43, 1, 42, 53, 52, 43, 10, 1, 39, 61, 39, 63,
6, 1, 39, 61, 39, 63, 2, 0, 0, 31, 43, 41, 53, 52, 42, 1, 15, 47, 58, 47, 64, 43, 52, 10, 0, 27, 52, 43, 1, 61,
53, 56, 42, 6, 1, 45, 53, 53, 42, 1, 41, 47, 58, 47, 64, 43, 52, 57, 8, 0, 0, 18, 47, 56, 57, 58, 1, 15, 47, 58,
47, 64, 43, 52, 10, 0, 35, 43, 1, 39, 56, 43, 1, 39, 41, 41, 53, 59, 52, 58, 43, 42, 1, 54, 53, 53, 56, 1, 41,
47, 58, 47, 64, 43, 52, 57, 6, 1, 58, 46, 43, 1, 54, 39, 58, 56, 47, 41, 47, 39, 52, 57, 1, 45, 53, 53, 42, 8,
0, 35, 46, 39, 58, 1, 39, 59, 58, 46, 53, 56, 47, 58, 63, 1, 57, 59, 56, 44, 43, 47, 58, 57, 1, 53, 52, 1, 61,
53, 59, 50, 42, 1, 56, 43, 50, 47, 43, 60, 43, 1, 59, 57, 10, 1, 47, 44, 1, 58, 46, 43, 63, 0, 61, 53, 59, 50,
42, 1, 63, 47, 43, 50, 42, 1, 59, 57, 1, 40, 59, 58, 1, 58, 46, 43, 1, 57, 59, 54, 43, 56, 44, 50, 59, 47, 58,
63, 6, 1, 61, 46, 47, 50, 43, 1, 47, 58, 1, 61, 43, 56, 43, 0, 61, 46, 53, 50, 43, 57, 53, 51, 43, 6, 1, 61, 43,
1, 51, 47, 45, 46, 58, 1, 45, 59, 43, 57, 57, 1, 58, 46, 43, 63, 1, 56, 43, 50, 47, 43, 60, 43, 42, 1, 59, 57,
1, 46, 59, 51, 39, 52, 43, 50, 63, 11, 0, 40, 59, 58, 1, 58, 46, 43, 63, 1, 58, 46, 47, 52, 49, 1, 61, 43, 1,
39, 56, 43, 1, 58, 53, 53, 1, 42, 43, 39, 56, 10, 1, 58, 46, 43, 1, 50, 43, 39, 52, 52, 43, 57, 57, 1, 58, 46,
39, 58, 0, 39, 44, 44, 50, 47, 41, 58, 57, 1, 59, 57, 6, 1, 58, 46, 43, 1, 53, 40, 48, 43, 41, 58, 1, 53, 44, 1,
53, 59, 56, 1, 51, 47, 57, 43, 56, 63, 6, 1, 47, 57, 1, 39, 57, 1, 39, 52, 0, 47, 52, 60, 43, 52, 58, 53, 56,
63, 1, 58, 53, 1, 54, 39, 56, 58, 47, 41, 59, 50, 39, 56, 47, 57, 43, 1, 58, 46, 43, 47, 56, 1, 39, 40, 59, 52,
42, 39, 52, 41, 43, 11, 1, 53, 59, 56, 0, 57, 59, 44, 44, 43, 56, 39, 52, 41, 43, 1, 47, 57, 1, 39, 1, 45, 39,
47, 52, 1, 58, 53, 1, 58, 46, 43, 51, 1, 24, 43, 58, 1, 59, 57, 1, 56, 43, 60, 43, 52, 45, 43, 1, 58, 46, 47,
57, 1, 61, 47, 58, 46, 0, 53, 59, 56, 1, 54, 47, 49, 43, 57, 6, 1, 43, 56, 43, 1, 61, 43, 1, 40, 43, 41, 53, 51,
43, 1, 56, 39, 49, 43, 57, 10, 1, 44, 53, 56, 1, 58, 46, 43, 1, 45, 53, 42, 57, 1, 49, 52, 53, 61, 1, 21, 0, 57,
54, 43, 39, 49, 1, 58, 46, 47, 57, 1, 47, 52, 1, 46, 59, 52, 45, 43, 56, 1, 44, 53, 56, 1, 40, 56, 43, 39, 42,
6, 1, 52, 53, 58, 1, 47, 52, 1, 58, 46, 47, 56, 57, 58, 1, 44, 53, 56, 1, 56, 43, 60, 43, 52, 45, 43, 8, 0, 0
"""
THEIR_CONTEXTS = """
when input is [24] the target: 43
when input is [24, 43] the target: 58
when input is [24, 43, 58] the target: 5
when input is [24, 43, 58, 5] the target: 57
when input is [24, 43, 58, 5, 57] the target: 1
when input is [24, 43, 58, 5, 57, 1] the target: 46
when input is [24, 43, 58, 5, 57, 1, 46] the target: 43
when input is [24, 43, 58, 5, 57, 1, 46, 43] the target: 39
when input is [44] the target: 53
when input is [44, 53] the target: 56
when input is [44, 53, 56] the target: 1
when input is [44, 53, 56, 1] the target: 58
when input is [44, 53, 56, 1, 58] the target: 46
when input is [44, 53, 56, 1, 58, 46] the target: 39
when input is [44, 53, 56, 1, 58, 46, 39] the target: 58
when input is [44, 53, 56, 1, 58, 46, 39, 58] the target: 1
when input is [52] the target: 58
when input is [52, 58] the target: 1
when input is [52, 58, 1] the target: 58
when input is [52, 58, 1, 58] the target: 46
when input is [52, 58, 1, 58, 46] the target: 39
when input is [52, 58, 1, 58, 46, 39] the target: 58
when input is [52, 58, 1, 58, 46, 39, 58] the target: 1
when input is [52, 58, 1, 58, 46, 39, 58, 1] the target: 46
when input is [25] the target: 17
when input is [25, 17] the target: 27
when input is [25, 17, 27] the target: 10
when input is [25, 17, 27, 10] the target: 0
when input is [25, 17, 27, 10, 0] the target: 21
when input is [25, 17, 27, 10, 0, 21] the target: 1
when input is [25, 17, 27, 10, 0, 21, 1] the target: 54
when input is [25, 17, 27, 10, 0, 21, 1, 54] the target: 39
"""
THEIR_500_CHARACTERS = r"""
oTo.JUZ!!zqe!
xBP qbs$Gy'AcOmrLwwt
p$x;Seh-onQbfM?OjKbn'NwUAW -Np3fkz$FVwAUEa-wzWC -wQo-R!v -Mj?,SPiTyZ;o-opr$mOiPJEYD-CfigkzD3p3?zvS;ADz;.y?o,ivCuC'zqHxcVT cHA
rT'Fd,SBMZyOslg!NXeF$sBe,juUzLq?w-wzP-h
ERjjxlgJzPbHxf$ q,q,KCDCU fqBOQT
SV&CW:xSVwZv'DG'NSPypDhKStKzC -$hslxIVzoivnp ,ethA:NCCGoi
tN!ljjP3fwJMwNelgUzzPGJlgihJ!d?q.d
pSPYgCuCJrIFtb
jQXg
pA.P LP,SPJi
DBcuBM:CixjJ$Jzkq,OLf3KLQLMGph$O 3DfiPHnXKuHMlyjxEiyZib3FaHV-oJa!zoc'XSP :CKGUhd?lgCOF$;;DTHZMlvvcmZAm;:iv'MMgO&Ywbc;BLCUd&vZINLIzkuTGZa
D.?
"""  # noqa: E501

STUDY_GROUP = [
    Figure("length of the text", 1, "1115394", lambda: len(text("tinyshakespeare.txt"))),
    Figure("its characters", 1, CHARACTERS, lambda: "".join(encoder().vocab)),
    Figure("how many", 1, "65", lambda: encoder().n_vocab),
    Figure("`hii there`, encoded", 1, "[46, 47, 47, 1, 58, 46, 43, 56, 43]", lambda: encoder().encode("hii there")),
    Figure("and decoded", 1, "hii there", lambda: encoder().decode(encoder().encode("hii there"))),
    Figure("shape of the data", 2, "torch.Size([1115394])", lambda: data().shape),
    Figure("its type", 2, "torch.int64", lambda: f"torch.{data().dtype}"),
    Figure("the first 1000 ids", 2, THEIR_FIRST_1000, lambda: data()[:1000]),
    Figure("the first block and one more", 2, "tensor([18, 47, 56, 57, 58,  1, 15, 47, 58])", lambda: train_data()[:9]),
    Figure("its first examples", 2, "18 → 47", lambda: train_data()[:2]),
    Figure("", 2, "[18, 47] → 56", lambda: train_data()[:3]),
    Figure("", 2, "[18, 47, 56] → 57", lambda: train_data()[:4]),
    Figure(
        "its 8 examples",
        2,
        """when input is tensor([18]) the target: 47
when input is tensor([18, 47]) the target: 56
when input is tensor([18, 47, 56]) the target: 57
when input is tensor([18, 47, 56, 57]) the target: 58
when input is tensor([18, 47, 56, 57, 58]) the target: 1
when input is tensor([18, 47, 56, 57, 58,  1]) the target: 15
when input is tensor([18, 47, 56, 57, 58,  1, 15]) the target: 47
when input is tensor([18, 47, 56, 57, 58,  1, 15, 47]) the target: 58""",
        lambda: first_contexts("when input is tensor({}) the target: {}"),
    ),
    Figure("`xb.shape`, seed 1337", 2, "torch.Size([4, 8])", lambda: first_batch()[0].shape),
    Figure("`xb`", 2, XB, lambda: first_batch()[0]),
    Figure("`yb.shape`", 2, "torch.Size([4, 8])", lambda: first_batch()[1].shape),
    Figure("`yb`", 2, YB, lambda: first_batch()[1]),
    Figure("its 32 examples", 2, THEIR_CONTEXTS, lambda: contexts(*first_batch(), "when input is {} the target: {}")),
    Figure("shape of the bigram's logits", 3, "torch.Size([32, 65])", lambda: untrained()[0].shape),
    Figure("its loss before training", 3, "4.8786", lambda: untrained()[1]),
    Figure(
        "100 characters from it",
        3,
        "SKIcLT;AcELMoTbvZv C?nq-QE33:CJqkOKH-q;:la!oiywkHjgChzbQ?u!3bLIgwevmyFJGUGpwnYWmnxKWWev-tDqXErVKLgJ",
        lambda: decoded("", written("\n", 100, 500)[0]),
    ),
    Figure("loss after 100 steps", 3, "4.65630578994751", lambda: written("\n", 100, 500)[1], 4, ANOTHER_ORDER),
    Figure("500 characters after them", 3, THEIR_500_CHARACTERS, lambda: decoded("", written("\n", 100, 500)[2])),
    Figure("`x.shape`", 4, "torch.Size([4, 8, 2])", lambda: x_4_8_2().shape),
    Figure(
        "`a`, seed 42",
        4,
        """[[1.0000, 0.0000, 0.0000],
        [0.5000, 0.5000, 0.0000],
        [0.3333, 0.3333, 0.3333]]""",
        lambda: means_of(Generator(42).randint(0, 10, (3, 2)))[0],
    ),
    Figure(
        "`b`",
        4,
        """[[2., 7.],
        [6., 4.],
        [6., 5.]]""",
        lambda: means_of(Generator(42).randint(0, 10, (3, 2)))[1],
    ),
    Figure(
        "`c`, their means",
        4,
        """[[2.0000, 7.0000],
        [4.0000, 5.5000],
        [4.6667, 5.3333]]""",
        lambda: means_of(Generator(42).randint(0, 10, (3, 2)))[2],
    ),
    Figure(
        "`xbow2` is `xbow`",
        4,
        "torch.allclose(xbow, xbow2) # True",
        lambda: f"torch.allclose(xbow, xbow2) # {allclose(average_by_matrix)}",
    ),
    Figure(
        "`xbow3` is `xbow`",
        4,
        "torch.allclose(xbow, xbow3) # True",
        lambda: f"torch.allclose(xbow, xbow3) # {allclose(average_by_softmax)}",
    ),
]

SCRATCH = [
    Figure("length of the text", 1, "1115394", lambda: len(text("tinyshakespeare.txt"))),
    Figure("its characters", 1, CHARACTERS, lambda: "".join(encoder().vocab)),
    Figure("how many", 1, "65", lambda: encoder().n_vocab),
    Figure("`tomas`, encoded", 1, "[58, 53, 51, 39, 57]", lambda: encoder().encode("tomas")),
    Figure("and decoded", 1, "tomas", lambda: encoder().decode(encoder().encode("tomas"))),
    Figure("shape of the data", 2, "torch.Size([1115394])", lambda: data().shape),
    Figure(
        "the first 1000 ids, of which the note has 219",
        2,
        ", ".join(THEIR_FIRST_1000.replace("\n", " ").split(", ")[:219]),
        lambda: data()[:219],
    ),
    Figure("the first block and one more", 2, "tensor([18, 47, 56, 57, 58,  1, 15, 47, 58])", lambda: train_data()[:9]),
    Figure(
        "its 8 examples",
        2,
        """When input is tensor([18]) the target is 47
When input is tensor([18, 47]) the target is 56
When input is tensor([18, 47, 56]) the target is 57
When input is tensor([18, 47, 56, 57]) the target is 58
When input is tensor([18, 47, 56, 57, 58]) the target is 1
When input is tensor([18, 47, 56, 57, 58,  1]) the target is 15
When input is tensor([18, 47, 56, 57, 58,  1, 15]) the target is 47
When input is tensor([18, 47, 56, 57, 58,  1, 15, 47]) the target is 58""",
        lambda: first_contexts("When input is tensor({}) the target is {}"),
    ),
    Figure("`xb`, seed 1337", 2, XB, lambda: first_batch()[0]),
    Figure("`yb`", 2, YB, lambda: first_batch()[1]),
    Figure("shape of the bigram's logits", 3, "torch.Size([32, 65])", lambda: untrained()[0].shape),
    Figure("its loss before training", 3, "4.8786", lambda: untrained()[1]),
    Figure("shape of a sentence's ids", 3, "torch.Size([1, 47])", lambda: (1, len(encoder().encode(SENTENCE)))),
    Figure(
        "the same in the comment beside it",
        3,
        "torch.Size([1, 45])",
        lambda: (1, len(encoder().encode(SENTENCE))),
        why="the comment is wrong; what the cell prints is right",
    ),
    Figure(
        "the logits",
        3,
        """tensor([[-1.5101, -0.0948,  1.0927,  ..., -0.6126, -0.6597,  0.7624],
        [ 0.3323, -0.0872, -0.7470,  ..., -0.6716, -0.9572, -0.9594],
        [ 0.2475, -0.6349, -1.2909,  ...,  1.3064, -0.2256, -1.8305],
        ...,
        [-2.1910, -0.7574,  1.9656,  ..., -0.3580,  0.8585, -0.6161],
        [ 0.5978, -0.0514, -0.0646,  ..., -1.4649, -2.0555,  1.8275],
        [-0.6787,  0.8662, -1.6433,  ...,  2.3671, -0.7775, -0.2586]]""",
        lambda: ends(untrained()[0]),
    ),
    Figure(
        "`First` and 100 ids more",
        3,
        """tensor([[18, 47, 56, 57, 58, 7, 23, 21, 41, 24, 32, 11, 13, 41, 17, 24, 25, 53, 32, 40, 60, 38, 60,
1, 15, 12, 52, 55, 7, 29, 17, 9, 9, 10, 15, 22, 55, 49, 27, 23, 20, 7, 55, 11, 10, 50, 39, 2, 53,
47, 63, 61, 49, 20, 48, 45, 15, 46, 64, 40, 29, 12, 59, 2, 9, 40, 24, 21, 45, 61, 43, 60, 51, 63,
18, 22, 19, 33, 19, 54, 0, 61, 52, 37, 35, 51, 52, 62, 23, 35, 35, 43, 60, 7, 58, 16, 55, 36, 17,
56, 34, 23, 24, 45, 22]])""",
        lambda: encoder().encode("First") + written("First", 10000, 100)[0],
    ),
    Figure(
        "the same, decoded",
        3,
        """First-KIcLT;AcELMoTbvZv C?nq-QE33:CJqkOKH-q;:la!oiywkHjgChzbQ?u!3bLIgwevmyFJGUGp
wnYWmnxKWWev-tDqXErVKLgJ""",
        lambda: decoded("First", written("First", 10000, 100)[0]),
    ),
    Figure(
        "loss after 10,000 steps", 3, "2.382369041442871", lambda: written("First", 10000, 100)[1], 4, ANOTHER_ORDER
    ),
    Figure(
        "100 characters after them",
        3,
        "Firsthin br. ave aviasurf my, yxMPZI ivee iuedrd whar ksth y h bora s be hese, woweee; the! KI 'de, ulsee",
        lambda: decoded("First", written("First", 10000, 100)[2]),
    ),
    Figure("`x.shape`", 4, "torch.Size([4, 8, 2])", lambda: x_4_8_2().shape),
    Figure(
        "`xbow[0]`",
        4,
        """[[ 0.1808, -0.0700],
        [-0.0894, -0.4926],
        [ 0.1490, -0.3199],
        [ 0.3504, -0.2238],
        [ 0.3525,  0.0545],
        [ 0.0688, -0.0396],
        [ 0.0927, -0.0682],
        [-0.0341,  0.1332]]""",
        lambda: averages()[0],
    ),
    Figure(
        "`x[0]`",
        4,
        """[[ 0.1808, -0.0700],
        [-0.3596, -0.9152],
        [ 0.6258,  0.0255],
        [ 0.9545,  0.0643],
        [ 0.3612,  1.1679],
        [-1.3499, -0.5102],
        [ 0.2360, -0.2398],
        [-0.9211,  1.5433]]""",
        lambda: x_4_8_2()[0],
    ),
    Figure(
        "`A`",
        4,
        """[[1.0000, 0.0000, 0.0000],
        [0.5000, 0.5000, 0.0000],
        [0.3333, 0.3333, 0.3333]]""",
        lambda: means_of(after_x())[0],
    ),
    Figure(
        "`B`, drawn after x",
        4,
        """[[8., 6.],
        [5., 2.],
        [4., 4.]]""",
        lambda: means_of(after_x())[1],
    ),
    Figure(
        "`C`, their means",
        4,
        """[[8.0000, 6.0000],
        [6.5000, 4.0000],
        [5.6667, 4.0000]]""",
        lambda: means_of(after_x())[2],
    ),
    Figure(
        "`wei`, the means of 8",
        4,
        """tensor([[1.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.5000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.3333, 0.3333, 0.3333, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.2500, 0.2500, 0.2500, 0.2500, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.2000, 0.2000, 0.2000, 0.2000, 0.2000, 0.0000, 0.0000, 0.0000],
        [0.1667, 0.1667, 0.1667, 0.1667, 0.1667, 0.1667, 0.0000, 0.0000],
        [0.1429, 0.1429, 0.1429, 0.1429, 0.1429, 0.1429, 0.1429, 0.0000],
        [0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250]])""",
        lambda: average_by_matrix(np.eye(8)),
    ),
    Figure("`xbow3` is `xbow`", 4, "True", lambda: allclose(average_by_softmax)),
    Figure("shape of the head's output", 5, "torch.Size([4, 8, 16])", lambda: head()[0].shape),
    Figure(
        "`wei`, of which the note has the first rows",
        5,
        """tensor([[[1.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.1574, 0.8426, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.2088, 0.1646, 0.6266, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.5792, 0.1187, 0.1889, 0.1131, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.0294, 0.1052, 0.0469, 0.0276, 0.7909, 0.0000, 0.0000, 0.0000],
         [0.0176, 0.2689, 0.0215, 0.0089, 0.6812, 0.0019, 0.0000, 0.0000],
         [0.1691, 0.4066, 0.0438, 0.0416, 0.1048, 0.2012, 0.0329, 0.0000],
         [0.0210, 0.0843, 0.0555, 0.2297, 0.0573, 0.0709, 0.2423, 0.2391]],

        [[1.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.1687, 0.8313, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.2477, 0.0514, 0.7008, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.4410, 0.0957, 0.3747, 0.0887, 0.0000, 0.0000, 0.0000, 0.0000],
         [0.0069, 0.0456, 0.0300, 0.7748, 0.1427, 0.0000, 0.0000, 0.0000],""",
        lambda: head()[1].reshape(-1, 8)[:13],
    ),
    Figure(
        "variance of `wei`, when Q and K have unit variance",
        5,
        "wei will be unit variance too",
        variances,
        why="said and not printed; ours is of Q and K that seed 1337 draws",
    ),
]
