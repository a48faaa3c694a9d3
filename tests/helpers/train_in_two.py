"""A training run for torchrun: every process saves the weights it ends with.

torchrun --nproc_per_node R train_in_two.py MODEL OUTPUT PAIRS_PER_PROCESS BEIR
"""

import sys
from pathlib import Path

from runs import PAIRS, small_config

from cde_retrievers.training.run import train

if __name__ == "__main__":
    output = Path(sys.argv[2])
    config = small_config(
        output / "run",
        per_device_train_batch_size=int(sys.argv[3]),
        train_first_stage=True,
        optim="sgd",  # Adam makes whole steps of the rounding errors in gradients that should be zero
        learning_rate=0.1,
        save_strategy="steps",
        save_steps=4,
        evaluation=(sys.argv[4],),
        ddp_backend="gloo",
    )
    result = train(sys.argv[1], PAIRS, config)
    result.encoder.model.save(output / f"process-{config.process_index}")
