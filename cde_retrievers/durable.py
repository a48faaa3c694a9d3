"""Files that survive a power cut."""

import json
import os
from pathlib import Path
from typing import Any


def replace_json(path: Path, value: dict[str, Any]) -> None:
    """Put `value` in the place of the file at `path`, as `replace_bytes`."""
    replace_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file at `path`: at every moment the old or the new one is there, whole."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_bytes(content)
        sync_file(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)  # there only if the disk was full
    sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Return once the file's content is on the device."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Return once the directory's list of names is on the device, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
