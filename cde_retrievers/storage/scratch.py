"""A directory beside a target, to write in before the target changes; the next save removes one whose process died.

    .cde-HASH-RANDOM/        HASH is of the target's name
        record.json          says that this library made it, and for which target; locked while its process lives
        new                  what is being written, or after an exchange what was there before
        old                  what was there before, where the system cannot exchange

It is made exclusively under a random name, so nothing that lies in wait can be written through. It is removed only if
it is of this shape, belongs to this user, and its record is not locked and names the target, or lost its content in a
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
    """Whether what lies in a directory has the name of a scratch directory, of whichever target."""
    return _NAME.fullmatch(entry.name) is not None


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """An empty scratch directory for as long as the block lasts; then it is removed, with all that is in it.

    Before that, the names in the target's directory are brought onto the device: what was there before goes only when
    what has taken its place is safe.
    """
    folder, record = _claimed(target)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
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
        if is_abandoned:
            _remove_cleared(folder)


def recover(target: Path) -> None:
    """Put the new directory in its place where a process died between moving the old one away and that."""
    if os.path.lexists(target):
        return
    for folder in _of(target):
        if not ((folder / OLD).is_dir() and (folder / NEW).is_dir()):
            continue
        # Whoever is alive is between two renames, and soon done.
        with _abandoned(folder, target, wait=True) as is_abandoned:
            if is_abandoned and (folder / NEW).is_dir():
                logger.warning("finishing an interrupted save of %s", target)
                with suppress(FileExistsError):
                    rename_new(folder / NEW, target)
                sync_directory(target.parent)


def _claimed(target: Path) -> tuple[Path, int]:
    """A new scratch directory, and its record, open and locked."""
    while True:
        folder = Path(mkdtemp(prefix=_prefix(target), dir=target.parent))
        with ExitStack() as on_failure:
            on_failure.callback(_remove_cleared, folder)
            try:
                record = _open(folder / _RECORD, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileNotFoundError:  # another save swept it, since it was still empty
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
    """Whether this is a scratch directory of the target that nobody is writing in; nobody begins to in the block."""
    try:
        record = _open(folder / _RECORD, os.O_RDWR)
    except FileNotFoundError:
        # Killed before the record was made; or it is about to be, and then its maker begins again.
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
        # It is not synced: a power cut leaves it empty, and then the directory's name alone tells the target.
        is_named = not content.strip(b"\0") or json.loads(content) == {"made_by": _LIBRARY, "target": target.name}
    except (OSError, ValueError):
        return False
    return is_named and entries <= {_RECORD, NEW, OLD}


def _of(target: Path) -> list[Path]:
    """This user's directories beside the target that have the name of a scratch directory for it."""
    prefix = _prefix(target)
    try:
        with os.scandir(target.parent) as entries:
            found = [entry for entry in entries if entry.name.startswith(prefix) and is_scratch(Path(entry.name))]
            return [target.parent / entry.name for entry in found if _is_own_directory(entry)]
    except OSError:  # a directory that may be written to and not listed
        return []


def _is_own_directory(entry: "os.DirEntry[str]") -> bool:
    owner = entry.stat(follow_symlinks=False).st_uid
    return entry.is_dir(follow_symlinks=False) and (sys.platform == "win32" or owner == os.geteuid())


def _prefix(target: Path) -> str:
    return f".cde-{sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _clear(folder: Path) -> None:
    """Remove what was written, or was there before; the record stays, so that what a kill leaves is still known."""
    sync_directory(folder.parent)
    for entry in (folder / NEW, folder / OLD):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _remove_cleared(folder: Path) -> None:
    """Remove the record and the directory, if there is nothing else in it. Windows wants the record closed."""
    with suppress(OSError):  # another save was quicker, say
        left = {entry.name for entry in folder.iterdir()} - {_RECORD}
        if left:
            logger.warning("%s is left over from a save and could not be removed", folder)
            return
        (folder / _RECORD).unlink(missing_ok=True)
        folder.rmdir()


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o600)


def _lock(record: int, wait: bool) -> bool:
    """Lock the record, which the system unlocks when the process dies; False where another has it or none can."""
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
