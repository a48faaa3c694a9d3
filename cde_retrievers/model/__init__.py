"""The contextual model: both stages, their checkpoints, and the released and built-in models."""
