"""Atomic writes: files and directories appear whole or not at all, even after a kill or a power cut.

New data is written to a scratch directory next to its target, synced to the device, and moved into place in one
instant. The old data is removed only when that move is on the device too.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cde_retrievers.errors import PathInUseError, WriteError
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.storage.renaming import exchange, rename_new
from cde_retrievers.storage.scratch import NEW, OLD, recover, recover_all, scratch_beside, sweep
from cde_retrievers.storage.sync import flush, make_directory, sync_directory, sync_tree
from cde_retrievers.validation.paths import checked_path

_STATE = "nothing that was there before is lost"
_ATTEMPTS = 5
_WAY_OUT = "give a directory of its own, such as a new one inside"


def _nothing(_: Path) -> bool:
    return False


@contextmanager
def atomic_directory(
    path: str | Path, is_ours: Callable[[Path], bool], may_go: Callable[[Path], bool] = _nothing
) -> Iterator[Path]:
    """Yield a new directory to write into, which replaces `path` when the block ends without an error.

    An older directory of ours is replaced as a whole: a reader of `recovered(path)` finds the old one or the
    new one, never a mix. Files of others are never replaced.

    Args:
        path: where the directory will be; a symbolic link is followed.
        is_ours: whether an older directory is of the same kind and may be replaced.
        may_go: whether an entry of the older directory may be lost if the new one has none of that name.

    Raises:
        PathInUseError: there is something else at `path`, or a part of it is a file or leads nowhere.
        WriteError: the disk is full, or `path` cannot be written to.
        ConfigurationError: it is not a path.
    """
    target = _resolved(path)
    with disk_errors_explained(target, _STATE):
        recover(target)
        _refuse_to_replace(target, is_ours)
        make_directory(target.parent)
        sweep(target)
        with scratch_beside(target) as scratch:
            new = scratch / NEW
            new.mkdir()
            yield new
            _share_as_usual(new)
            sync_tree(new)
            _put_in_place(scratch, target, is_ours, may_go)
            sync_directory(scratch)


def recovered(path: str | Path) -> Path:
    """Return the path of a directory to read, restored first if its replacement was interrupted between two renames."""
    with suppress(OSError, RuntimeError, ValueError):  # reading it reports what is wrong with the path
        recover(Path(path).resolve())
    return Path(path)


def recovered_all(directory: str | Path) -> Path:
    """Return the path of a directory, after restoring whatever in it was interrupted so."""
    with suppress(OSError):
        recover_all(Path(directory))
    return Path(directory)


def replace_json(path: str | Path, value: dict[str, Any]) -> None:
    """Write `value` as JSON to the file at `path`, as `replace_bytes` does."""
    replace_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def replace_bytes(path: str | Path, content: bytes) -> None:
    """Replace the file at `path` by `content`: at every moment the old or the new one is there, whole.

    A symbolic link at `path` is itself replaced, never written through.

    Raises:
        PathInUseError: there is something else than a file at `path`, or a part of it is a file or leads nowhere.
        WriteError: the disk is full, `path` cannot be written to, or its directory does not exist.
        ConfigurationError: it is not a path.
    """
    target = checked_file(path)
    with disk_errors_explained(target, _STATE):
        if not target.parent.is_dir():
            raise WriteError(f"cannot write to {target}: its directory does not exist; make it, and try again")
        sweep(target)
        with scratch_beside(target) as scratch:
            with (scratch / NEW).open("xb") as file:
                file.write(content)
                file.flush()
                flush(file.fileno())
            (scratch / NEW).replace(target)


def checked_file(path: str | Path) -> Path:
    """Return the path, or raise if a directory, device or pipe is in the way of a file.

    Raises:
        PathInUseError, ConfigurationError: as `replace_bytes`.
    """
    target = checked_path(path)
    _resolved(target.parent)
    with disk_errors_explained(target, _STATE):
        if target.is_dir():
            raise PathInUseError(f"{target} is a directory; give the path of a file, which may be inside it")
        if target.exists() and not target.is_file():
            raise PathInUseError(f"{target} is a device or a pipe; give the path of a file")
    return target


def checked_target(path: str | Path) -> Path:
    """Return the path after checking that a file can be written there; its folder is made.

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


def checked_directory(path: str | Path, is_ours: Callable[[Path], bool]) -> Path:
    """Return the path after checking that `atomic_directory` can put a directory there; nothing is made.

    Raises:
        PathInUseError, WriteError, ConfigurationError: as `atomic_directory`.
    """
    target = _resolved(path)
    with disk_errors_explained(target, "nothing was computed yet"):
        _refuse_to_replace(target, is_ours)
        outermost_new = next(path for path in (target, *target.parents) if path.parent.is_dir())
        with scratch_beside(outermost_new):
            return target


def _resolved(path: str | Path) -> Path:
    """Return the path with symbolic links resolved."""
    checked = checked_path(path)
    with disk_errors_explained(checked, _STATE):
        try:
            target = checked.resolve()
        except RuntimeError as error:
            raise PathInUseError(f"{path} leads in a circle of symbolic links; remove them") from error
        for part in (checked.absolute(), *checked.absolute().parents):
            if part.is_symlink() and not part.exists():
                raise PathInUseError(
                    f"{part} is a symbolic link to {part.readlink()}, which does not exist; make that, or remove the "
                    f"link"
                )
            if part.exists() and not part.is_dir():
                raise PathInUseError(f"{part} is a file; give the path of a directory")
    return target


def _refuse_to_replace(target: Path, is_ours: Callable[[Path], bool]) -> None:
    if _is_current(target):
        raise PathInUseError(f"{target} is the current directory, which cannot be replaced; give a new one inside it")
    if target.exists() and any(target.iterdir()) and not is_ours(target):
        raise PathInUseError(f"{target} already holds other files; {_WAY_OUT}")


def _is_current(target: Path) -> bool:
    """Whether the process works in the directory or below it."""
    with suppress(FileNotFoundError):  # the current directory was removed
        return Path.cwd().is_relative_to(target)
    return False


def _share_as_usual(directory: Path) -> None:
    """Give every file the default permissions of new files; some writers make theirs private."""
    usual = directory.stat().st_mode & 0o666  # a new directory has the permissions of a new file, plus execute
    for folder, _, names in os.walk(directory):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink() and path.stat().st_mode & 0o777 != usual:
                path.chmod(usual)


def _put_in_place(scratch: Path, target: Path, is_ours: Callable[[Path], bool], may_go: Callable[[Path], bool]) -> None:
    new = scratch / NEW
    for _ in range(_ATTEMPTS):
        # Checked again, since others may have written there meanwhile.
        _refuse_to_replace(target, is_ours)
        _refuse_to_lose_files(target, new, may_go)
        with suppress(FileExistsError, FileNotFoundError):  # it appeared or vanished after that check
            if not target.exists():
                rename_new(new, target)
            elif not exchange(new, target):
                _exchange_in_two_steps(new, target, scratch / OLD)
            return
    raise PathInUseError(f"{target} is being written by another process; give another path")


def _exchange_in_two_steps(new: Path, target: Path, old: Path) -> None:
    """Move the old one away and the new one in; `recover` finishes this after a kill in between."""
    target.rename(old)
    try:
        rename_new(new, target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise


def _refuse_to_lose_files(target: Path, new: Path, may_go: Callable[[Path], bool]) -> None:
    lost = sorted(str(path.relative_to(target)) for path in _lost(target, new, may_go))
    if lost:
        raise PathInUseError(f"{target} already holds other files ({', '.join(lost[:5])}); {_WAY_OUT}")


def _lost(old: Path, new: Path, may_go: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the entries of the old directory that have no counterpart in the new one and may not be lost."""
    for entry in old.iterdir() if old.is_dir() else ():
        counterpart = new / entry.name
        if may_go(entry):
            continue
        if not counterpart.exists():
            yield entry
        elif entry.is_dir() and not entry.is_symlink():
            yield from _lost(entry, counterpart, may_go)
