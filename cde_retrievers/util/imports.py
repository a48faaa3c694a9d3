"""Imports at first use, and packages that an extra installs."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from cde_retrievers.errors import MissingDependencyError


def require(package: str, what: str, extra: str) -> None:
    """Refuse work for which a package is missing, before it begins.

    Args:
        package: to be imported later.
        what: needs it.
        extra: of this library that installs it.

    Raises:
        MissingDependencyError: it is not installed; names the extra.
    """
    if find_spec(package) is None:
        raise MissingDependencyError(f"{what} needs {package}: pip install 'cde-retrievers[{extra}]'")


def imported(module: str, what: str, extra: str) -> ModuleType:
    """The module, or an error as of `require` on its package."""
    require(module.partition(".")[0], what, extra)
    return import_module(module)


def importer(module: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` for a module whose names live elsewhere.

    Args:
        module: its name.
        homes: module of each name.
    """

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find
