"""Corpora: records in, rows out, in this process, in several, or on several machines.

`records` reads files, a `Job` (see `jobs`) says what is done with a batch of their records, and `loop` does it batch by
batch and in order. `tables` has the cells and lines of what is written.
"""
