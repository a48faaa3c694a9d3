"""Scratch directories next to a target; the next save removes those whose process died.

    .cde-HASH-RANDOM/        HASH is of the target's name
        record.json          states that this library made it, and for which target; locked while its process lives
        new                  the new data, or after an exchange the old data
        old                  the old data, where the system cannot exchange

It is created exclusively under a random name, so a planted link is never written through. It is removed only if
it has this layout, belongs to this user, and its record is not locked and names the target, or was emptied by a
power cut.
"""

import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from tempfile import mkdtemp

from cde_retrievers.storage.renaming import rename_new
from cde_retrievers.storage.sync import sync_directory

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

NEW, OLD = "new", "old"
_RECORD = "record.json"
_LIBRARY = "cde_retrievers"
_NAME = re.compile(r"\.cde-[0-9a-f]{16}-[a-z0-9_]{8}")


def is_scratch(entry: Path) -> bool:
    """Whether an entry has the name of a scratch directory, of any target."""
    return _NAME.fullmatch(entry.name) is not None


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """Yield an empty scratch directory that is removed with its contents when the block ends.

    Before that, the names in the target's directory are synced to the device: old data is removed only when its
    replacement is safe.
    """
    folder, record = _claimed(target)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            _clear(folder)
        raise
    else:
        _clear(folder)
    finally:
        os.close(record)
        _remove_cleared(folder)


def sweep(target: Path) -> None:
    """Remove the scratch directories of earlier saves to the target whose processes died."""
    for folder in _of(target):
        with _abandoned(folder, target) as is_abandoned:
            if is_abandoned:
                logger.info("removing %s, which an interrupted save of %s left", folder, target)
                _clear(folder)
                if sys.platform != "win32":
                    # While it is locked: whoever made it and is about to lock it will see that it is gone.
                    _remove_cleared(folder)
        if is_abandoned and sys.platform == "win32":
            _remove_cleared(folder)


def recover(target: Path) -> None:
    """Move the new directory into place if a process died after moving the old one away."""
    if os.path.lexists(target):
        return
    for folder in _of(target):
        if not ((folder / OLD).is_dir() and (folder / NEW).is_dir()):
            continue
        # A live process is between two renames and soon done.
        with _abandoned(folder, target, wait=True) as is_abandoned:
            if is_abandoned and (folder / NEW).is_dir():
                logger.warning("finishing an interrupted save of %s", target)
                with suppress(FileExistsError):
                    rename_new(folder / NEW, target)
                sync_directory(target.parent)


def recover_all(directory: Path) -> None:
    """Recover every target in a directory, but one whose name a power cut took from its record."""
    with os.scandir(directory) as entries:
        folders = [
            directory / entry.name for entry in entries if is_scratch(Path(entry.name)) and _is_own_directory(entry)
        ]
    for folder in folders:
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = folder / _RECORD
            if S_ISREG(record.lstat().st_mode):
                recover(directory / Path(json.loads(record.read_bytes())["target"]).name)


def _claimed(target: Path) -> tuple[Path, int]:
    """Make a scratch directory; return it and the descriptor of its record, locked."""
    while True:
        folder = Path(mkdtemp(prefix=_prefix(target), dir=target.parent))
        with ExitStack() as on_failure:
            on_failure.callback(_remove_cleared, folder)
            try:
                record = _open(folder / _RECORD, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileNotFoundError:  # another save swept it while it was empty
                continue
            on_failure.callback(os.close, record)
            _lock(record, wait=True)
            if not _is_at(record, folder / _RECORD):
                continue
            os.write(record, json.dumps({"made_by": _LIBRARY, "target": target.name}).encode())
            on_failure.pop_all()
            return folder, record


@contextmanager
def _abandoned(folder: Path, target: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this is a scratch directory of the target without a writer; none can begin inside the block."""
    try:
        record = _open(folder / _RECORD, os.O_RDWR)
    except FileNotFoundError:
        # Killed before the record was made; or about to make it, and then its maker starts again.
        with suppress(OSError):
            folder.rmdir()
        yield False
        return
    except OSError:
        yield False
        return
    try:
        yield _lock(record, wait) and _is_at(record, folder / _RECORD) and _is_recorded(record, folder, target)
    finally:
        os.close(record)


def _is_recorded(record: int, folder: Path, target: Path) -> bool:
    try:
        entries = {entry.name for entry in folder.iterdir()}
        content = os.read(record, 1 << 16)
        # Not synced: after a power cut it may be empty, and only the directory's name shows the target.
        is_named = not content.strip(b"\0") or json.loads(content) == {"made_by": _LIBRARY, "target": target.name}
    except (OSError, ValueError):
        return False
    return is_named and entries <= {_RECORD, NEW, OLD}


def _of(target: Path) -> list[Path]:
    """List this user's directories that are named as scratch directories of the target."""
    prefix = _prefix(target)
    try:
        with os.scandir(target.parent) as entries:
            found = [entry for entry in entries if entry.name.startswith(prefix) and is_scratch(Path(entry.name))]
            return [target.parent / entry.name for entry in found if _is_own_directory(entry)]
    except OSError:  # a directory that may be written to but not listed
        return []


def _is_own_directory(entry: "os.DirEntry[str]") -> bool:
    owner = entry.stat(follow_symlinks=False).st_uid
    return entry.is_dir(follow_symlinks=False) and (sys.platform == "win32" or owner == os.geteuid())


def _prefix(target: Path) -> str:
    return f".cde-{sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _clear(folder: Path) -> None:
    """Remove the data but keep the record, so that after a kill the directory is still recognised."""
    sync_directory(folder.parent)
    for entry in (folder / NEW, folder / OLD):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _remove_cleared(folder: Path) -> None:
    """Remove the record and the directory if it holds nothing else. Windows needs the record closed first."""
    with suppress(OSError):  # for example, another save was quicker
        left = {entry.name for entry in folder.iterdir()} - {_RECORD}
        if left:
            logger.warning("%s is left over from a save and could not be removed", folder)
            return
        (folder / _RECORD).unlink(missing_ok=True)
        folder.rmdir()


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o600)


def _lock(record: int, wait: bool) -> bool:
    """Lock the record until the process dies; False if another process holds it or locks are unsupported."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(record, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(record, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _is_at(record: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(record), path.lstat())
    except OSError:
        return False
