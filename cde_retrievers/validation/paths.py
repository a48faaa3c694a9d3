"""Checks of paths before they are used."""

import os
import re
from pathlib import Path

from cde_retrievers.errors import ConfigurationError, shown

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")  # more than one letter: "C:/" is a Windows drive


def checked_path(path: object, name: str = "path") -> Path:
    """Return `path` as a `Path`, or raise if it cannot be one.

    Args:
        path: the value that a caller gave.
        name: name of the argument in messages.

    Raises:
        ConfigurationError: it is not a path, is empty, has a character that a file name cannot have, or is a URL, which
            would become a local directory named "s3:" and the like.
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
    if _SCHEME.match(text):
        raise ConfigurationError(
            f"{name} must be a directory or file of a file system (a local disk, NFS, Lustre and the like), found "
            f"{text!r}; work there, and copy the result to the object store afterwards. A local directory of that name "
            f"is given by its absolute path"
        )
    return Path(text)
