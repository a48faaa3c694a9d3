"""Renames that `os.rename` lacks: exchanging two names in one instant, and never replacing an existing one."""

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_Rename = Callable[[bytes, bytes, int], int]
_AT_FDCWD = -100
# <linux/fs.h> RENAME_NOREPLACE and RENAME_EXCHANGE; <sys/stdio.h> RENAME_EXCL and RENAME_SWAP.
_WITHOUT_REPLACING, _EXCHANGING = (4, 2) if sys.platform == "darwin" else (1, 2)
# Error numbers of kernels, file systems and container filters without these renames.
_UNAVAILABLE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}


def exchange(one: Path, other: Path) -> bool:
    """Exchange two existing names in one instant; False if the system or the file system cannot."""
    return _renamed(one, other, _EXCHANGING)


def rename_new(source: Path, target: Path) -> None:
    """Rename a directory to an unused name.

    If the system cannot guarantee that the name is unused, at most an empty directory is replaced.

    Raises:
        FileExistsError: the name is taken.
    """
    if _renamed(source, target, _WITHOUT_REPLACING):
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise


def _renamed(source: Path, target: Path, how: int) -> bool:
    rename = _system_call()
    if rename is None:
        return False
    if rename(os.fsencode(source), os.fsencode(target), how) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNAVAILABLE:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


@cache
def _system_call() -> _Rename | None:
    """Return `renameat2` on Linux, `renamex_np` on macOS, or None."""
    if sys.platform not in ("linux", "darwin"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        swap: _Rename | None = getattr(library, "renamex_np", None)
        return swap
    call = getattr(library, "renameat2", None)
    if call is None:
        return None
    return lambda source, target, how: int(call(_AT_FDCWD, source, _AT_FDCWD, target, how))
