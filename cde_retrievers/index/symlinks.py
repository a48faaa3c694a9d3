"""Files and directories of an index, handled without following symbolic links, which may lead to files of others."""

import stat
from pathlib import Path
from typing import BinaryIO

from cde_retrievers.errors import ConfigurationError, IndexFileError, shown
from cde_retrievers.storage.atomic import recovered
from cde_retrievers.storage.sync import sync_directory
from cde_retrievers.validation.paths import checked_path


def index_directory(path: object) -> Path:
    """Return a caller's directory as an absolute path; links to it are followed, links inside it never.

    It is restored first if its replacement was interrupted between two renames: otherwise it would look empty.

    Raises:
        ConfigurationError: it is not a path, or not one that this system can have.
    """
    checked = checked_path(path)
    try:
        directory = recovered(checked).resolve()
        _mode(directory)
    except PermissionError:
        return directory  # the first access reports it
    except (RuntimeError, OSError) as error:  # RuntimeError: a circle of links
        raise ConfigurationError(f"{shown(path)} cannot be the path of an index: {error}; give another path") from error
    return directory


def obstacle(root: Path, *parts: str) -> str | None:
    """Describe why `parts`, below `root`, is not a file that is reached without a link; None if it is."""
    path = root
    for part in parts[:-1]:
        path = path / part
        if not is_directory(path):
            return _named(path, "directory")
    path = path / parts[-1]
    return None if is_file(path) else _named(path, "file")


def is_file(path: Path) -> bool:
    """Whether there is a file that is not a link."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_directory(path: Path) -> bool:
    """Whether there is a directory that is not a link."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def is_there(path: Path) -> bool:
    """Whether there is anything, including a broken link."""
    return _mode(path) is not None


def own_folder(path: Path) -> Path:
    """Return the directory at `path`, created if missing; its name is then on the device.

    Raises:
        IndexFileError: there is a link or a file.
    """
    if not is_there(path):
        path.mkdir()
        sync_directory(path.parent)
    elif not is_directory(path):
        raise IndexFileError(_named(path, "directory"))
    return path


def new_file(path: Path) -> BinaryIO:
    """Open a new file for writing; neither a file nor a link may exist there."""
    return path.open("xb")


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have that name
        return None


def _named(path: Path, wanted: str) -> str:
    mode = _mode(path)
    if mode is None:
        return f"{path} is missing"
    if stat.S_ISLNK(mode):
        return f"{path} is a link, which an index does not follow; put the {wanted} itself in its place"
    return f"{path} is not a {wanted}"
