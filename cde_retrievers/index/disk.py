"""Files that survive a power cut, and disk errors in words."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cde_retrievers.errors import CDEError, WriteError

_REASONS = {
    errno.ENOSPC: "there is no space left on the device; free some",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; use a place that can be written to",
    errno.EACCES: "you may not write there; change the permissions, or use a place where you may",
    errno.EPERM: "you may not write there; change the permissions, or use a place where you may",
}


@contextmanager
def disk_errors_explained(path: Path, state: str) -> Iterator[None]:
    """Turn an operating system's refusal to write into a WriteError; what is about other files passes as it is.

    Args:
        path: the index.
        state: what is still true of it, as the end of a sentence.
    """
    try:
        yield
    except CDEError:
        raise
    except OSError as error:
        if error.errno not in _REASONS or not _concerns(path, error):
            raise
        raise WriteError(f"cannot write to {path}: {_REASONS[error.errno]}, and try again; {state}") from error


def _concerns(path: Path, error: OSError) -> bool:
    """Whether it was about the index, as far as it says: what documents are read from may be forbidden too."""
    if not isinstance(error.filename, str | os.PathLike):
        return True
    found, home = Path(error.filename).resolve(), path.resolve()
    scratch = f".{home.name}-"  # as `atomic_directory` calls it
    inside = found.is_relative_to(home) or (
        found.is_relative_to(home.parent) and found.relative_to(home.parent).as_posix().startswith(scratch)
    )
    return inside or home.is_relative_to(found)


def replace_json(path: Path, value: dict[str, Any]) -> None:
    """Put `value` in the place of the file at `path`: at every moment the old or the new one is there, whole."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sync_file(scratch)
    scratch.replace(path)
    sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Return once the file's content is on the device."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Return once the directory's list of names is on the device, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
