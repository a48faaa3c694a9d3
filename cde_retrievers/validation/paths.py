"""Checks of paths before they are used."""

import os
from pathlib import Path

from cde_retrievers.errors import ConfigurationError


def checked_path(path: object) -> Path:
    """Return `path` as a `Path`, or raise if it cannot be one.

    Raises:
        ConfigurationError: it is not a path, or has a character that a file name cannot have.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(
            f"a path must be a str or a pathlib.Path, found {type(path).__name__}; give one of these"
        )
    name = os.fspath(path)
    if not isinstance(name, str):
        raise ConfigurationError("a path must be a str or a pathlib.Path, found bytes; decode it with os.fsdecode")
    try:
        possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConfigurationError(f"{name[:100]!r} has a character that a file name cannot have; give another path")
    return Path(name)
