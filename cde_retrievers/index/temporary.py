"""Indexes in temporary directories, which are removed with the index object."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from cde_retrievers.index.contextual_index import ContextualIndex


def in_temporary_directory(make: Callable[[Path], ContextualIndex]) -> ContextualIndex:
    """Make an index in a new directory, which is removed when the index object is no longer used.

    Args:
        make: makes the index in the directory it is given; if it fails, the directory is removed at once.
    """
    folder = Path(mkdtemp(prefix="cde-retrievers-"))
    try:
        index = make(folder)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finalize(index, _remove, folder, os.getpid())
    return index


def _remove(folder: Path, maker: int) -> None:
    """Remove the directory, unless this is a forked child that ends: its parent still uses it."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
