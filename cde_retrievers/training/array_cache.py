"""A cache of arrays on disk, by a hash of everything they depend on.

An entry is a directory with one `.npy` file per array and `cache.json`, which holds the inputs and the SHA-256 of every
file. An entry is complete or absent.
"""

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cde_retrievers.storage.atomic import atomic_directory, recovered
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.storage.hashing import sha256_of_file, sha256_of_json, write_json
from cde_retrievers.storage.scratch import sweep
from cde_retrievers.storage.sync import make_directory

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
MANIFEST = "cache.json"
_NAME_DIGITS = 32


def cached_arrays(folder: str | Path, kind: str, made_from: dict[str, Any], write: Callable[[Path], None]) -> Arrays:
    """The arrays of one entry, mapped from disk; computed first if they are missing or damaged.

    One of several processes computes them; the others wait.

    Args:
        folder: of all entries; created if it does not exist.
        kind: of the entry; its directory's name begins with it.
        made_from: everything the arrays depend on, as JSON values; its hash ends the name.
        write: writes `NAME.npy` files into the directory it is given.

    Returns:
        Read-only arrays by name.

    Raises:
        PathInUseError: there is something else at the entry's path.
        WriteError: the disk is full, or the folder cannot be written to.
    """
    entry = Path(folder) / f"{kind}-{sha256_of_json(made_from)[:_NAME_DIGITS]}"
    found = _read(entry, made_from)
    if found is not None:
        sweep(entry)
        return found
    with disk_errors_explained(entry, "earlier entries are unharmed"):
        make_directory(entry.parent)
        with FileLock(entry.parent / f".{entry.name}.lock"):
            return _read(entry, made_from) or _make(entry, made_from, write)


def write_rows(path: Path, shape: tuple[int, int], blocks: Iterable[NDArray[np.float32]]) -> None:
    """Write float32 rows as a `.npy` file, with one block in memory at a time.

    Args:
        path: of the new file.
        shape: of all blocks together.
        blocks: arrays (rows, width).
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    # Not through a memory map: a full disk would kill the process instead of raising an error.
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=np.float32).data)


def _make(entry: Path, made_from: dict[str, Any], write: Callable[[Path], None]) -> Arrays:
    if entry.exists():
        logger.warning("%s is damaged and is computed again", entry)
    with atomic_directory(entry, lambda directory: (directory / MANIFEST).is_file()) as new:
        write(new)
        digests = {path.name: sha256_of_file(path) for path in sorted(new.glob("*.npy"))}
        write_json(new / MANIFEST, {"made_from": made_from, "sha256": digests})
    return _mapped(entry, digests)


def _read(entry: Path, made_from: dict[str, Any]) -> Arrays | None:
    """The arrays of an undamaged entry with these inputs, or None."""
    try:
        manifest = json.loads((recovered(entry) / MANIFEST).read_text(encoding="utf-8"))
        whole = manifest["made_from"] == made_from and all(
            sha256_of_file(entry / name) == digest for name, digest in manifest["sha256"].items()
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _mapped(entry, manifest["sha256"]) if whole else None


def _mapped(entry: Path, names: Iterable[str]) -> Arrays:
    return {Path(name).stem: np.load(entry / name, mmap_mode="r", allow_pickle=False) for name in names}
