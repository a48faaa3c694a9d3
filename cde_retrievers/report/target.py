"""Where a file is to be written after long work."""

import tempfile
from pathlib import Path

from cde_retrievers.errors import PathInUseError
from cde_retrievers.index.disk import disk_errors_explained


def checked_target(path: str | Path) -> Path:
    """The path, once it is known that a file can be written there; its folder is made.

    Raises:
        PathInUseError: it is a directory.
        WriteError: nothing can be written there.
    """
    target = Path(path)
    if target.is_dir():
        raise PathInUseError(f"{target} is a directory; give the path of a file, which may be inside it")
    with disk_errors_explained(target, "nothing was computed yet"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            return target
