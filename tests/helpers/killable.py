"""Build or refit an index in forked processes that kill themselves at random moments, until one of them finishes.

python killable.py build|refit PATH KILLS SEED    prints how often it was killed, KILLS at most

A moment is a number of lines of the library that were run, so that a busy machine is killed where an idle one is.
"""

import os
import random
import sys

from bag_of_words import BagOfWords
from dying import die_after

from cde_retrievers.index import ContextualIndex

DOCUMENTS = [f"document number {i} of {i % 7} kinds" for i in range(400)]
LINES = 20_000  # of which a process runs fewer until it is killed; the whole work takes some 50,000


def build(path: str) -> None:
    ContextualIndex.build(DOCUMENTS, BagOfWords(), path, batch_size=7)


def refit(path: str) -> None:
    ContextualIndex.open(path, BagOfWords()).refit(seed=1, batch_size=7)


def killed_until_finished(work, path: str, kills: int, seed: int) -> int:
    chance = random.Random(seed)
    for killed in range(kills + 1):
        lines = chance.randrange(LINES)
        child = os.fork()
        if child == 0:
            if killed < kills:
                die_after(lines)
            work(path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return killed if os.WEXITSTATUS(status) == 0 else -1
    return -1


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    print(killed_until_finished({"build": build, "refit": refit}[sys.argv[1]], *sys.argv[2:3], *map(int, sys.argv[3:])))
