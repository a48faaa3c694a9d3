"""Directories that appear on disk whole or not at all, and hashes of what is in them."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cde_retrievers.errors import PathInUseError

_CHUNK_BYTES = 1 << 20


def _nothing(_: Path) -> bool:
    return False


@contextmanager
def atomic_directory(
    path: str | Path, is_ours: Callable[[Path], bool], may_go: Callable[[Path], bool] = _nothing
) -> Iterator[Path]:
    """A new directory to write into, which takes the place of `path` only when the block ends without an error.

    An older directory of ours is replaced as a whole: a reader finds the old one, for an instant none, or the new one,
    never a mix. Nobody else's files are ever replaced.

    Args:
        path: where the directory shall be; through a symbolic link, where that points.
        is_ours: whether an older directory is of the same kind, and so may be replaced.
        may_go: whether something in the older directory may go even if the new one has nothing of that name.

    Raises:
        PathInUseError: there is something else at `path`.
    """
    target = Path(path).resolve()
    _refuse_to_replace(target, is_ours)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        _refuse_to_lose_files(target, new, may_go)
        _share_as_usual(new)
        _swap(new, target, aside=scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_to_replace(target: Path, is_ours: Callable[[Path], bool]) -> None:
    if target.exists() and not target.is_dir():
        raise PathInUseError(f"{target} is a file; give the path of a directory")
    if target == Path.cwd():
        raise PathInUseError(f"{target} is the current directory, which is not replaced; give a new one inside it")
    if target.exists() and any(target.iterdir()) and not is_ours(target):
        raise PathInUseError(
            f"{target} already holds other files; give a directory of its own, such as a new one inside"
        )


def _refuse_to_lose_files(target: Path, new: Path, may_go: Callable[[Path], bool]) -> None:
    if not target.exists():
        return
    kept = {entry.name for entry in new.iterdir()}
    lost = sorted(entry.name for entry in target.iterdir() if entry.name not in kept and not may_go(entry))
    if lost:
        raise PathInUseError(
            f"{target} already holds other files ({', '.join(lost[:5])}); give a directory of its own, such as a new "
            f"one inside"
        )


def _share_as_usual(directory: Path) -> None:
    """Give every file the permissions that new files have here; some writers make theirs private."""
    probe = directory / ".permissions"
    probe.touch()
    usual = probe.stat().st_mode
    probe.unlink()
    for entry in directory.iterdir():
        if entry.is_file():  # a directory without its execute bit could not be entered
            entry.chmod(usual)


def _swap(new: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as readable JSON with a stable order of keys."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def sha256_of_file(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """The text's SHA-256 as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_of_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: the same for equal values, whatever their order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
