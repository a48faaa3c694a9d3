"""Disk errors in words."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
