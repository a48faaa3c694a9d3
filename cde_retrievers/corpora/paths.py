"""Checks of what is at a path, without opening it."""

import os
import stat
from pathlib import Path

from cde_retrievers.errors import CorpusFileError

_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_file(path: Path) -> bool:
    """Return whether there is a regular file, possibly through a link.

    Raises:
        CorpusFileError: it cannot be looked at, or is a pipe, a socket or a device.
    """
    refuse_special(path)
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether there is a folder, possibly through a link.

    Raises:
        CorpusFileError: it cannot be looked at.
    """
    return stat.S_ISDIR(_mode(path))


def refuse_special(path: Path) -> None:
    """Raise CorpusFileError for a pipe, a socket or a device: to open one may wait for ever, or do something."""
    special = special_kind(_mode(path))
    if special is not None:
        raise CorpusFileError(f"{path} is {special}, which cannot be read more than once; write its contents to a file")


def special_kind(mode: int) -> str | None:
    """Return the name of a special file's kind; None for a regular file or a folder."""
    return _SPECIAL.get(stat.S_IFMT(mode))


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether the path leads out of the folder, through links."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def refuse_link_out(path: Path, folder: Path) -> None:
    """Raise CorpusFileError if the path, which should be in the folder, leads out of it."""
    if leads_out(path, folder):
        raise CorpusFileError(
            f"{path} is a link that leads out of {folder}; replace it with a copy of the file, or, where the option "
            f"exists, follow links with follow_links=True (--follow-links)"
        )


def _mode(path: Path) -> int:
    """Return the kind of file and its permissions; 0 if it does not exist."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no file has a NUL in its name
        return 0
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> CorpusFileError:
    """Return the error that says why nothing can be read there."""
    reason = getattr(error, "strerror", None) or str(error)
    return CorpusFileError(f"{path} cannot be read: {reason}; change its permissions, or restore it from a copy")
