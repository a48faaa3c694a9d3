"""A whole run: its settings, the trainer, checkpoints, evaluation."""
