"""SHA-256 checksums of the files in a directory: damage, loss and additions are found before anything is read.

A directory that this library writes keeps them in `checksums.json`.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cde_retrievers.errors import CDEError
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.hashing import sha256_of_file, write_json

CHECKSUMS_FILE = "checksums.json"
FORMAT_VERSION = 1
# Files that a reader of models looks for by itself: one without a checksum must not be there.
WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".index.json")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _inside(name: str) -> str:
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("the name of a file in the directory, or below it, is expected")
    return name


FileName = Annotated[str, AfterValidator(_inside), Field(max_length=1_000)]


class _Checksums(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: dict[FileName, Sha256]


def write_checksums(directory: Path) -> None:
    """Write the checksums of all files in the directory; this must be the last file written there."""
    content = {"files": sha256_of_files(directory, leave_out=(CHECKSUMS_FILE,))}
    write_json(directory / CHECKSUMS_FILE, sealed(content, FORMAT_VERSION))


def read_checksums(directory: Path, error: type[CDEError], remedy: str) -> dict[str, str]:
    """Read what `write_checksums` wrote: SHA-256 by name.

    Raises:
        FileNotFoundError: there is no such file.
        CDEError: it is damaged or was edited.
    """
    path = directory / CHECKSUMS_FILE
    content = read_checksummed(path, error, remedy, FORMAT_VERSION)
    try:
        return _Checksums(**content).files
    except ValidationError as reason:
        raise error(f"{path} is not a list of checksums ({reason.error_count()} wrong entries); {remedy}") from reason


def sha256_of_files(directory: Path, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of each regular file in and below the directory, by relative name."""
    names = (name for name in _names(directory) if name not in leave_out and (directory / name).is_file())
    return {name: sha256_of_file(directory / name) for name in names}


def _names(directory: Path) -> list[str]:
    """List all entries but directories and hidden ones, which are scratch or the system's and never read."""
    names = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir())
    return sorted(name for name in names if "/." not in f"/{name}")


def check_files(
    directory: Path, expected: Mapping[str, str], error: type[CDEError], remedy: str, read: Collection[str] = ()
) -> None:
    """Raise unless the files that are read from the directory are the expected ones.

    Args:
        directory: the directory to check; links in it are followed, since only the content counts.
        expected: SHA-256 by name; another file may lie there only if it is never read.
        error: what to raise.
        remedy: the way out, as the end of a sentence.
        read: names of further files that are read if present, in addition to weights.

    Raises:
        CDEError: a file is missing, damaged or not the expected one, or there is one too many.
    """
    for name, sha256 in expected.items():
        _check_file(directory / name, sha256, error, remedy)
    for name in _names(directory):
        if name not in expected and (name in read or name.endswith(WEIGHT_ENDINGS)):
            raise error(
                f"{directory / name} was added: it is not one of the files that belong there; remove it, or {remedy}"
            )


def _check_file(path: Path, sha256: str, error: type[CDEError], remedy: str) -> None:
    if not os.path.isfile(path):
        found = "not a regular file" if os.path.exists(path) else "missing"
        raise error(f"{path} is {found}; {remedy}")
    try:
        found = sha256_of_file(path)
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror}); {remedy}") from reason
    if found != sha256:
        raise error(f"{path} is damaged or not the expected file: its sha256 is {found}, expected {sha256}; {remedy}")
