"""Train in forked processes that kill themselves at random moments after their first checkpoint, until one finishes.

python killable_training.py BIENCODER FOLDER KILLS SEED    prints how often it was killed, KILLS at most

Each process goes on from the newest complete checkpoint, if there is one.
"""

import os
import random
import signal
import sys
from pathlib import Path

from dying import die_after
from runs import PAIRS, small_config
from transformers import TrainerCallback

from cde_retrievers.training.checkpoints import newest_complete
from cde_retrievers.training.run import train

LINES = 5_000  # of the library, from a checkpoint until a process is killed; a step takes some 4,000


class DieAfterSave(TrainerCallback):
    def __init__(self, lines):
        self.lines = lines

    def on_save(self, args, state, control, **_):
        die_after(self.lines)


def run(biencoder: str, folder: Path, callbacks: list[TrainerCallback]) -> None:
    config = small_config(folder, num_train_epochs=3, save_strategy="steps", save_steps=1, save_total_limit=1)
    settings = {"conditioning": "cached", "context_size": 16, "callbacks": callbacks}
    train(biencoder, PAIRS, config, resume_from_checkpoint=newest_complete(folder) is not None, **settings)


def killed_until_finished(biencoder: str, folder: str, kills: int, seed: int) -> int:
    chance = random.Random(seed)
    for killed in range(kills + 1):
        lines = chance.randrange(LINES)
        child = os.fork()
        if child == 0:
            run(biencoder, Path(folder), [DieAfterSave(lines)] if killed < kills else [])
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            return killed if status == 0 else -1
    return -1


if __name__ == "__main__":
    print(killed_until_finished(*sys.argv[1:3], *map(int, sys.argv[3:])))
