"""What happens on the disk while something is saved: every call that changes a file or a name, before it is made."""

import builtins
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cde_retrievers.storage import renaming
from cde_retrievers.storage.scratch import is_scratch

_CALLS = ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "chmod", "truncate", "fsync")
# These are known by the file that is put in their place: whoever finds it relies on everything beside it.
_RELIED_ON = {"index.json", "next.json", "complete.json"}


@contextmanager
def watched(before: Callable[[str, tuple[Any, ...], dict[str, Any]], None]) -> Iterator[None]:
    """Call `before(name, arguments, named arguments)` before every change; writers in C or Rust go unseen."""
    with pytest.MonkeyPatch.context() as patch:

        def watch(module: Any, name: str, is_change: Callable[..., bool] = lambda *_, **__: True) -> None:
            original = getattr(module, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                if is_change(*args, **kwargs):
                    before(name, args, kwargs)
                return original(*args, **kwargs)

            patch.setattr(module, name, call)

        for name in _CALLS:
            watch(os, name)
        watch(os, "open", lambda path, flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
        for module in (io, builtins):
            watch(module, "open", lambda file, mode="r", *_, **__: bool(set(mode) & set("wax+")))
        found = renaming._system_call()
        if found is not None:

            def rename(source: bytes, target: bytes, how: int) -> int:
                before("rename", (source, target), {})
                return found(source, target, how)

            patch.setattr(renaming, "_system_call", lambda: rename)
        yield


@contextmanager
def no_exchange() -> Iterator[None]:
    """A system without renames that exchange, or that never replace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renaming, "_system_call", lambda: None)
        yield


class Recorder:
    """Says what was relied on before it was on the device.

    A file is safe if it was synced with the content that it has, a name if its directory was synced when it had it. New
    directories and manifests must be safe, with all that is in them, when they get their names, and everything that can
    be seen must be safe when something is deleted.

    Attributes:
        faults: what was not safe when it should have been.
    """

    def __init__(self, root: Path, ignored: frozenset[str] = frozenset()) -> None:
        if sys.platform != "linux":
            pytest.skip("the paths of open files are read from /proc")
        self.faults: list[str] = []
        self._root = root
        self._ignored = ignored | {"writer.lock", "writer.json"}
        self._contents: dict[int, str] = {}
        self._names: dict[int, set[tuple[str, int]]] = {}
        self._note(root)

    def before(self, call: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if call == "fsync":
            self._note(Path(os.readlink(f"/proc/self/fd/{args[0]}")))
        elif call in ("rename", "replace"):
            self._rename(Path(os.fsdecode(args[0])), Path(os.fsdecode(args[1])))
        elif call in ("unlink", "remove", "rmdir"):
            self._delete(_whole_path(args[0], kwargs.get("dir_fd")))

    def unsafe(self, folder: Path | None = None) -> list[str]:
        """What is not on the device, of all that can be seen in the folder; of everything if None."""
        return [str(path.relative_to(self._root)) for path in self._unsafe(folder or self._root)]

    def _rename(self, source: Path, target: Path) -> None:
        if is_scratch(target.parent):  # the old one moves out of the way
            return
        unsafe = self.unsafe(source) if source.is_dir() else [] if self._is_safe(source) else [str(source)]
        if target.name in _RELIED_ON:
            unsafe += self.unsafe(target.parent)
        self._blame(f"{target.name} took its place", unsafe)

    def _delete(self, path: Path) -> None:
        if is_scratch(path) or (is_scratch(path.parent) and path.name == "record.json") or path.name in self._ignored:
            return
        if self._root in path.parents:
            self._blame(f"{path.relative_to(self._root)} was deleted", self.unsafe())

    def _blame(self, moment: str, unsafe: list[str]) -> None:
        if unsafe:
            self.faults.append(f"{moment} while these were not on the device: {unsafe}")

    def _note(self, path: Path) -> None:
        if path.is_dir():
            self._names[path.stat().st_ino] = {(entry.name, entry.lstat().st_ino) for entry in path.iterdir()}
        elif path.is_file():
            self._contents[path.stat().st_ino] = _digest(path)

    def _is_safe(self, path: Path) -> bool:
        return self._contents.get(path.stat().st_ino) == _digest(path)

    def _unsafe(self, folder: Path) -> Iterator[Path]:
        synced = self._names.get(folder.stat().st_ino, set())
        for entry in folder.iterdir():
            if is_scratch(entry) or entry.name in self._ignored or entry.suffix == ".lock":
                continue
            if (entry.name, entry.lstat().st_ino) not in synced:
                yield entry
            elif entry.is_dir():
                yield from self._unsafe(entry)
            elif not self._is_safe(entry):
                yield entry


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _whole_path(path: Any, folder: int | None) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{folder}") if folder is not None else "", os.fsdecode(path))


class Killed(BaseException):
    """Nothing is changed on the disk any more, by no cleaning up either."""


def killed_at(number: int, work: Callable[[], None]) -> bool:
    """Do the work, and nothing from its change of that number on; whether it came that far."""
    left = number

    def before(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    gc.freeze()  # there is much that need not be looked through below
    with watched(before):
        try:
            work()
        except Killed:
            was_killed = True
        else:
            was_killed = False
    gc.collect()  # what was not let go of, as locks
    gc.unfreeze()
    assert was_killed or left >= 0, "the kill was swallowed"
    return was_killed
