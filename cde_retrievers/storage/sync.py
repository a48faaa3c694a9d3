"""Syncing of bytes and names to the device, so that they survive a power cut."""

import os
from pathlib import Path

try:
    from fcntl import F_FULLFSYNC, fcntl  # type: ignore[attr-defined,unused-ignore]  # macOS alone has it
except ImportError:
    F_FULLFSYNC = None


def sync_file(path: Path) -> None:
    """Return once the file's content is on the device."""
    # Windows syncs only files that are open for writing.
    _sync(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Return once the directory's list of names is on the device, if the system supports that."""
    if os.name != "nt":
        _sync(path, os.O_RDONLY)


def sync_tree(folder: Path) -> None:
    """Return once every file and name in the directory is on the device; its own name belongs to its parent."""
    for entry in folder.iterdir():
        if entry.is_symlink():
            continue
        if entry.is_dir():
            sync_tree(entry)
        elif entry.is_file():
            sync_file(entry)
    sync_directory(folder)


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, and sync their names to the device."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        flush(descriptor)
    except OSError as error:
        error.filename = str(path)  # the system does not set it
        raise
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Sync an open file to the device; on macOS also through the drive's cache."""
    if F_FULLFSYNC is not None:
        try:
            fcntl(descriptor, F_FULLFSYNC)
        except OSError:  # a file system without it
            os.fsync(descriptor)
    else:
        os.fsync(descriptor)
