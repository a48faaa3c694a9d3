"""Packages that only some users have, imported when they are needed."""

from importlib import import_module
from typing import Any

from cde_retrievers.errors import MissingDependencyError


def optional_module(name: str, package: str, reason: str) -> Any:
    """The module `name`, imported now.

    Args:
        name: such as "qdrant_client.models".
        package: what to install for it.
        reason: what needs it.

    Raises:
        MissingDependencyError: it is not installed; the message has the line that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"{reason} needs {package}: pip install {package}") from error
