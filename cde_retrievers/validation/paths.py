"""Paths as callers give them, checked before anything is done with them."""

import os
from pathlib import Path

from cde_retrievers.errors import ConfigurationError


def checked_path(path: object) -> Path:
    """What was given as a path.

    Raises:
        ConfigurationError: it is not a path, or no file can have it.
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
