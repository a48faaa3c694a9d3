"""A training run that goes on from its newest complete checkpoint, if there is one.

python killable_training.py BIENCODER FOLDER [LINES]    dies so many lines of the library after its first checkpoint
"""

import sys
from pathlib import Path

from dying import die_after
from runs import PAIRS, small_config
from transformers import TrainerCallback

from cde_retrievers.training.checkpoints import newest_complete
from cde_retrievers.training.run import train


class DieAfterSave(TrainerCallback):
    def __init__(self, lines):
        self.lines = lines

    def on_save(self, args, state, control, **_):
        die_after(self.lines)


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    config = small_config(folder, num_train_epochs=10, save_strategy="steps", save_steps=1, save_total_limit=1)
    resume = newest_complete(folder) is not None
    callbacks = [DieAfterSave(int(lines)) for lines in sys.argv[3:]]
    settings = {"conditioning": "cached", "context_size": 16, "callbacks": callbacks}
    train(sys.argv[1], PAIRS, config, resume_from_checkpoint=resume, **settings)
