"""Lazy imports, and optional packages that an extra installs."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from cde_retrievers.errors import MissingDependencyError


def require(package: str, what: str, extra: str) -> None:
    """Raise before work begins if it needs a package that is missing.

    Args:
        package: the package that will be imported later.
        what: the feature that needs it, as the subject of the message.
        extra: the extra of this library that installs it.

    Raises:
        MissingDependencyError: the package is not installed; the message names the extra.
    """
    if find_spec(package) is None:
        raise MissingDependencyError(f"{what} needs {package}: pip install 'cde-retrievers[{extra}]'")


def imported(module: str, what: str, extra: str) -> ModuleType:
    """Import and return the module, or raise as `require` does for its package."""
    require(module.partition(".")[0], what, extra)
    return import_module(module)


def importer(module: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a `__getattr__` for a module whose names are defined elsewhere.

    Args:
        module: name of the module.
        homes: the defining module of each name.
    """

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find
