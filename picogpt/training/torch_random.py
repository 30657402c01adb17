"""torch's random numbers without torch: those that notes and books print after `torch.manual_seed`, bit for bit.

    g = Generator(1337)                          torch.manual_seed(1337)
    g.randint(0, 10, (3, 2))                     torch.randint(0, 10, (3, 2))
    g.randn(4, 8, 2)                             torch.randn(4, 8, 2)
    g.linear(32, 16, bias=False)                 nn.Linear(32, 16, bias=False)
    g.multinomial(probs, 1)                      torch.multinomial(probs, num_samples=1)

Equal to torch 2.13 on x86 with AVX2 or more, where 16 or more normal numbers come from polynomials that are good to
about 1e-7. On other processors torch itself differs from that in the last bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from picogpt.errors import PicoGPTError
from picogpt.types import Array, Ids, Params

Float32 = npt.NDArray[np.floating[Any]] | np.floating[Any]

# the polynomials of Cephes' logf, sinf and cosf, the highest power first
LOG: Array = np.array(
    [
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    ],
    np.float32,
)
SIN: Array = np.array([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1], np.float32)
COS: Array = np.array([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2], np.float32)
LN_2: Array = np.array([0.693359375, -2.12194440e-4], np.float32)  # whose sum it is, nearer than one float32
QUARTER_PI: Array = np.array([0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8], np.float32)
BLOCK = 1 << 16  # numbers at a time, so that what is computed in between stays in the processor's cache


class Generator:
    """What torch's generator on the CPU is after `manual_seed(seed)`: a Mersenne Twister, and numbers from its bits."""

    def __init__(self, seed: int) -> None:
        self._twister = np.random.RandomState(seed & 0xFFFFFFFF)
        self._spare_normal: float | None = None

    def _bits32(self, n: int) -> npt.NDArray[np.uint64]:
        return self._twister.randint(0, 1 << 32, n, np.uint32).astype(np.uint64)

    def _bits64(self, n: int) -> npt.NDArray[np.uint64]:
        high, low = self._bits32(2 * n).reshape(n, 2).T
        return high << np.uint64(32) | low

    def _doubles(self, n: int) -> Array:
        """Uniform on [0, 1), with 53 bits."""
        return (self._bits64(n) & np.uint64((1 << 53) - 1)) * 2.0**-53

    def rand(self, *shape: int) -> Array:
        """Uniform on [0, 1), float32 with 24 bits."""
        bits = self._bits32(math.prod(shape)) & np.uint64((1 << 24) - 1)
        return (bits.astype(np.float32) * np.float32(2**-24)).reshape(shape)

    def uniform(self, bound: float, *shape: int) -> Array:
        """Uniform on [−bound, bound), float32: `tensor.uniform_(-bound, bound)`."""
        return np.float32(bound) * (2 * self.rand(*shape) - 1)

    def randint(self, low: int, high: int, shape: int | tuple[int, ...]) -> Ids:
        """Integers from `low` up to, not including, `high`."""
        if high <= low:
            raise PicoGPTError(f"there is no integer from {low} up to, not including, {high}; high must be above low")
        n, span = int(np.prod(shape)), high - low
        bits = self._bits64(n) if span >= 1 << 28 else self._bits32(n)
        return ((bits % np.uint64(span)).astype(np.int64) + low).reshape(shape)

    def randperm(self, n: int) -> Ids:
        """The integers below `n`, shuffled (Fisher and Yates)."""
        if not 0 <= n < (1 << 32) // 20:
            raise PicoGPTError(f"a permutation of {n} integers; it must be of 0 to {(1 << 32) // 20 - 1}")
        order = np.arange(n)
        steps = self._bits32(max(n - 1, 0)) % np.arange(n, 1, -1, dtype=np.uint64)
        for i, step in enumerate(steps.tolist()):
            order[i], order[i + step] = order[i + step], order[i]
        return order

    def randn(self, *shape: int) -> Array:
        """Normal with mean 0 and deviation 1, float32, by the method of Box and Muller (1958).

        Fewer than 16 numbers are made in double precision, two at a time: the second waits for the next such call.
        """
        n = math.prod(shape)
        if n < 16:
            return np.array([self._normal() for _ in range(n)], np.float32).reshape(shape)
        x = self.rand(n)
        whole = n // 16 * 16
        for start in range(0, whole, BLOCK):
            block = x[start : min(start + BLOCK, whole)]
            block[:] = box_muller(block)
        if n > whole:
            x[-16:] = box_muller(self.rand(16))  # the last 16 are made anew
        return x.reshape(shape)

    def _normal(self) -> float:
        if self._spare_normal is not None:
            value, self._spare_normal = self._spare_normal, None
            return value
        u1, u2 = self._doubles(2).tolist()
        radius, theta = math.sqrt(-2 * math.log1p(-u2)), 2 * math.pi * u1
        self._spare_normal = radius * math.sin(theta)
        return radius * math.cos(theta)

    def multinomial(self, probs: Array, n: int, replacement: bool = False) -> Ids:  # [..., n_vocab] -> [..., n]
        """`n` indices of each row, drawn with chances in proportion to `probs`, which need not sum to 1."""
        probs = np.asarray(probs, np.float32)
        if not (np.isfinite(probs).all() and (probs >= 0).all() and (probs.sum(axis=-1) > 0).all()):
            raise PicoGPTError("probs must be finite, none below 0, and of each row at least one above 0")
        if replacement and n > 1:  # of one draw torch takes the other way
            return self._with_replacement(probs, n)
        if n > probs.shape[-1]:
            raise PicoGPTError(f"{n} different ones of {probs.shape[-1]} cannot be drawn; ask for fewer")
        # p / q with q exponential is largest at i with the chance p[i] / sum(p)
        waits = -np.log1p(-self._doubles(probs.size)).astype(np.float32).reshape(probs.shape)
        return np.argsort(-(probs / waits), axis=-1, kind="stable")[..., :n]

    def _with_replacement(self, probs: Array, n: int) -> Ids:
        rows = probs.reshape(-1, probs.shape[-1])
        cumulative = np.cumsum(rows, axis=-1)
        cumulative /= cumulative[:, -1:]
        drawn = [np.searchsorted(row.astype(np.float64), self._doubles(n)) for row in cumulative]
        return np.array(drawn).reshape(*probs.shape[:-1], n)

    def embedding(self, n: int, n_embd: int) -> Array:  # -> [n, n_embd]
        """The table of a new `nn.Embedding(n, n_embd)`."""
        return self.randn(n, n_embd)

    def linear(self, n_in: int, n_out: int, bias: bool = True) -> Params:
        """A new `nn.Linear(n_in, n_out, bias)`, as `picogpt.model.linear` takes it: w is [n_in, n_out].

        torch keeps w transposed. Without bias b is zeros, and changes nothing. Bounds: He et al. 2015.
        """
        bound = 1 / math.sqrt(n_in)
        w = np.ascontiguousarray(self.uniform(bound, n_out, n_in).T)
        return {"w": w, "b": self.uniform(bound, n_out) if bias else np.zeros(n_out, np.float32)}


def box_muller(uniform: Array) -> Array:  # [16 n] -> [16 n]
    """Of every 16 uniform numbers the first eight give the radius, and the others the angle, of eight pairs."""
    u1, u2 = np.moveaxis(uniform.reshape(-1, 2, 8), 1, 0)
    radius = np.sqrt(-2 * log(1 - u1))
    sin, cos = sin_and_cos(np.float32(2 * math.pi) * u2)
    return np.stack([radius * cos, radius * sin], axis=1).ravel() + np.float32(0)  # no −0


def log(x: Array) -> Array:
    """The natural logarithm in float32, for x in (0, 1]."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < np.float32(math.sqrt(0.5))
    x = np.where(low, mantissa + mantissa, mantissa) - 1  # within √½ − 1 and √2 − 1
    e = (exponent - low).astype(np.float32)
    z = x * x
    y = fma(polynomial(LOG, x) * x, z, e * LN_2[1])
    return fma(e, LN_2[0], x + fma(z, np.float32(-0.5), y))


def sin_and_cos(x: Array) -> tuple[Array, Array]:
    """Both in float32, for x from 0 up; what is left of x after the nearest multiple of π/2 is within ±π/4."""
    octant = ((x * np.float32(4 / math.pi)).astype(np.int32) + 1) & ~1
    for part in QUARTER_PI:
        x = fma(octant.astype(np.float32), -part, x)
    z = x * x
    sin = fma(polynomial(SIN, z) * z, x, x)
    cos = fma(polynomial(COS, z) * z, z, z * np.float32(-0.5)) + 1
    swapped = octant & 2 != 0
    sin, cos = np.where(swapped, cos, sin), np.where(swapped, sin, cos)
    return np.where(octant & 4 != 0, -sin, sin), np.where((octant + 2) & 4 != 0, -cos, cos)


def polynomial(coefficients: Array, x: Array) -> Array:  # by Horner's rule
    y = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        y = fma(y, x, coefficient)
    return y


def fma(a: Array, b: Float32, c: Float32) -> Array:
    """a · b + c in float32, rounded once, as a processor's fused multiply-add does it.

    The product is exact in float64. Where the sum, rounded to float64, lies halfway between two float32, what was cut
    off decides.
    """
    product, c = np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)
    total = np.asarray(product + c)
    halfway = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    if halfway.any():
        added = total - product
        cut = (product - (total - added)) + (c - added)
        total = np.where(halfway & (cut != 0), np.nextafter(total, np.copysign(np.inf, cut)), total)
    return total.astype(np.float32)
