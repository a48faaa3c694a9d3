"""Where a file is to be written after long work."""

import tempfile
from pathlib import Path

from cde_retrievers.atomic import checked_file
from cde_retrievers.disk_errors import disk_errors_explained
from cde_retrievers.durable import make_directory


def checked_target(path: str | Path) -> Path:
    """The path, once it is known that a file can be written there; its folder is made.

    Raises:
        PathInUseError: there is something else than a file.
        WriteError: nothing can be written there.
        ConfigurationError: it is not a path.
    """
    target = checked_file(path)
    with disk_errors_explained(target, "nothing was computed yet"):
        make_directory(target.parent)
        with tempfile.TemporaryFile(dir=target.parent):
            return target
