"""Checks of paths before they are used."""

import os
from pathlib import Path

from cde_retrievers.errors import ConfigurationError, shown


def checked_path(path: object, name: str = "path") -> Path:
    """Return `path` as a `Path`, or raise if it cannot be one.

    Args:
        path: the value that a caller gave.
        name: name of the argument in messages.

    Raises:
        ConfigurationError: it is not a path, is empty, or has a character that a file name cannot have.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(
            f"{name} must be a str or a pathlib.Path, found {type(path).__name__}; give one of these"
        )
    text = os.fspath(path)
    if not isinstance(text, str):
        raise ConfigurationError(f"{name} must be a str or a pathlib.Path, found bytes; decode it with os.fsdecode")
    if not text:
        raise ConfigurationError(f"{name} must be a path, found an empty string; '.' is the current directory")
    try:
        possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConfigurationError(
            f"{name} must be a path, found {shown(text)}, which has a character that a file name cannot have; give "
            f"another path"
        )
    return Path(text)
