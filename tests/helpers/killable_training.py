"""A training run that goes on from its newest complete checkpoint, if there is one.

python killable_training.py BIENCODER FOLDER
"""

import sys
from pathlib import Path

from runs import PAIRS, small_config

from cde_retrievers.training.checkpoints import newest_complete
from cde_retrievers.training.run import train

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    config = small_config(folder, num_train_epochs=10, save_strategy="steps", save_steps=1, save_total_limit=1)
    resume = newest_complete(folder) is not None
    train(sys.argv[1], PAIRS, config, conditioning="cached", context_size=16, resume_from_checkpoint=resume)
