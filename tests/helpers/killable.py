"""Build or refit an index in forked processes that are killed at random moments, until one of them finishes.

python killable.py build|refit PATH KILLS SEED    prints how often it was killed
"""

import os
import random
import signal
import sys
import time

from bag_of_words import BagOfWords

from cde_retrievers.index import ContextualIndex

DOCUMENTS = [f"document number {i} of {i % 7} kinds" for i in range(400)]


class Slow(BagOfWords):
    """Takes a hundredth of a second for a batch."""

    def encode_documents(self, texts, context, show_progress=None):
        time.sleep(0.01)
        return super().encode_documents(texts, context)


def build(path: str) -> None:
    ContextualIndex.build(DOCUMENTS, Slow(), path, batch_size=7)


def refit(path: str) -> None:
    ContextualIndex.open(path, Slow()).refit(seed=1, batch_size=7)


def killed_until_finished(work, path: str, kills: int, seed: int) -> int:
    chance = random.Random(seed)
    for killed in range(kills + 1):
        child = os.fork()
        if child == 0:
            work(path)
            os._exit(0)
        if killed < kills:
            time.sleep(chance.uniform(0, 0.12))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return killed if os.WEXITSTATUS(status) == 0 else -1
    return -1


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    print(killed_until_finished({"build": build, "refit": refit}[sys.argv[1]], *sys.argv[2:3], *map(int, sys.argv[3:])))
