"""The files of a plan."""

from pathlib import Path

PLAN_FILE = "plan.json"
CONTEXT, MODEL, INPUTS, SHARDS = "context", "model", "inputs", "shards"


def input_file(plan: Path, number: int) -> Path:
    """Return the path of a shard's rows."""
    return plan / INPUTS / f"{number:05d}.jsonl"


def shard_file(plan: Path, number: int) -> Path:
    """Return the path of an embedded shard."""
    return plan / SHARDS / f"{number:05d}.parquet"
