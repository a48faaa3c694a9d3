"""The files of a plan, and the refusal of paths that are not on a file system."""

import re
from pathlib import Path

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.paths import checked_path

PLAN_FILE = "plan.json"
CONTEXT, MODEL, INPUTS, SHARDS = "context", "model", "inputs", "shards"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")  # more than one letter: "C:/" is a Windows drive


def input_file(plan: Path, number: int) -> Path:
    """Return the path of a shard's rows."""
    return plan / INPUTS / f"{number:05d}.jsonl"


def shard_file(plan: Path, number: int) -> Path:
    """Return the path of an embedded shard."""
    return plan / SHARDS / f"{number:05d}.parquet"


def file_system_path(path: object, name: str) -> Path:
    """Return the path, or raise ConfigurationError if it is a URL or not a path."""
    checked = checked_path(path, name)
    if _SCHEME.match(str(path)):
        raise ConfigurationError(
            f"{name} must be a directory or file of a file system that all workers see (a local disk, NFS, Lustre and "
            f"the like), found {str(path)!r}; work there, and copy the result to the object store afterwards"
        )
    return checked
