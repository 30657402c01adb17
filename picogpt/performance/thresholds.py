"""The sizes at which one way of computing takes over from another, and what each was measured at.

All were measured with two threads on 124M's shape, each against its neighbours in turns; `docs/performance.md` has
the figures. None of them changes a result beyond rounding.
"""

from __future__ import annotations

ROW_BLOCK = 128  # rows of a long prompt in one part; 64, 256 and 512 were within 10 %
GELU_BLOCK = 32  # rows of a hidden layer in one part: four times as long, they just stay in the cache
QUERY_BLOCK = 64  # queries of a long prompt in one part of attention; their scores just stay in the cache
FEW_ROWS = 256  # up to here a pass was faster in BLAS's own threads, beyond it in ours (512 tokens: 846 -> 759 ms)
VOCABULARY_BLOCK = 128  # positions projected to the vocabulary at once in scoring (64: 9 % slower)
LONG_CACHE = 512  # positions from which on a cache lies in memory as [d_head, n_ctx] (at 900: 2 to 4 % a token)
MANY_TOKENS = 64  # tokens to decode that win back, each a tenth of its time, what arranging the weights takes
INT8_PART = 400_000  # int8 weights made float32 at a time: 1.6 MB, which stay in the cache (4 MB: up to three times)
INT8_FEW_PARTS = 12  # up to here one thread was faster, as in all layers of 124M and 355M
