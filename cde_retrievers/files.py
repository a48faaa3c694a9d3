"""Directories that appear on disk whole or not at all, and hashes of what is in them."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """A new directory to write into, which takes the place of `path` only when the block ends without an error.

    An older directory is replaced as a whole, and only if the new one has a file for each of its files: a reader
    finds the old one, for an instant none, or the new one, never a mix, and nobody else's files are lost.

    Raises:
        FileExistsError: `path` is a file, or a directory with other files in it.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; give the path of a directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        _refuse_to_lose_files(target, new)
        _swap(new, target, aside=scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_to_lose_files(target: Path, new: Path) -> None:
    if not target.exists():
        return
    lost = sorted({entry.name for entry in target.iterdir()} - {entry.name for entry in new.iterdir()})
    if lost:
        raise FileExistsError(
            f"{target} already holds other files ({', '.join(lost[:5])}); give a directory of its own, which may "
            f"be a new one inside it"
        )


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


def sha256_of_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: the same for equal values, whatever their order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
