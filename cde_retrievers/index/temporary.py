"""An index that lasts as long as the object: its directory is removed with it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from cde_retrievers.index.contextual_index import ContextualIndex


def in_temporary_directory(make: Callable[[Path], ContextualIndex]) -> ContextualIndex:
    """The index that `make` makes in a new directory, which is removed when nobody holds the index any more.

    Args:
        make: is given the directory; if it fails, that is removed at once.
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
    """Remove it, unless this is a forked child that ends: its parent goes on using it."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
