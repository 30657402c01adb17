"""Downloads a model again and again, each time in a fork that is killed with SIGKILL after a random while.

A process of its own, so that pytest's threads are not forked with it. Arguments: a base address and a directory on the
server's side that holds what is right, the directory to download into, the number of kills.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from picogpt.download import Collection, File, RetryPolicy, download

NAMES = ("hparams.json", "checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001")


def main() -> None:
    url, source, target, n_kills = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    collection = Collection("model", tuple(File(name, (f"{url}/{name}",)) for name in NAMES))
    policy = RetryPolicy(backoff=0, chunk_size=1 << 14)
    start = time.monotonic()
    download(collection, target, policy=policy)
    duration = time.monotonic() - start
    shutil.rmtree(target)
    rng = random.Random(0)
    kills = resumed = 0
    while kills < n_kills:
        resumed += any(target.glob("*.part"))
        child = os.fork()
        if not child:
            download(collection, target, policy=policy)
            os._exit(0)
        time.sleep(rng.uniform(0, duration))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        for path in target.iterdir() if target.is_dir() else []:
            if path.name in NAMES:
                assert path.read_bytes() == (source / path.name).read_bytes(), f"{path.name} is wrong"
        if os.WIFSIGNALED(status):
            kills += 1
        else:
            shutil.rmtree(target)  # it was faster; begin anew
    download(collection, target, policy=policy)
    sys.stdout.write(f"{kills} {resumed}\n")


if __name__ == "__main__":
    main()
