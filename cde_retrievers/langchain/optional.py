"""Packages of LangChain that only some users have, imported when they are needed."""

from importlib import import_module
from typing import Any

from cde_retrievers.errors import MissingDependencyError


def optional_module(name: str, package: str, reason: str) -> Any:
    """Import and return a module.

    Args:
        name: name of the module, such as "qdrant_client.models".
        package: the package to install for it.
        reason: the feature that needs it.

    Raises:
        MissingDependencyError: the module cannot be imported; the message has the line that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"{reason} needs {package}: pip install {package}") from error
