"""Lazy imports, and optional packages that an extra installs."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from cde_retrievers.errors import MissingDependencyError


def require(module: str, what: str, extra: str | None = None, package: str | None = None) -> None:
    """Raise before work begins if it needs a module that is not installed. Nothing but its parents is imported.

    Args:
        module: the module that will be imported later, such as "llama_index.core".
        what: the feature that needs it, as the subject of the message.
        extra: the extra of this library that installs it; None if the package is to be installed by its own name.
        package: name of the package; if None, the first part of the module's name.

    Raises:
        MissingDependencyError: the module is not installed; the message has the line that installs it.
    """
    parts = module.split(".")
    if any(find_spec(".".join(parts[:end])) is None for end in range(1, len(parts) + 1)):
        package = parts[0] if package is None else package
        line = f"pip install {package}" if extra is None else f"pip install 'cde-retrievers[{extra}]'"
        raise MissingDependencyError(f"{what} needs {package}: {line}")


def imported(module: str, what: str, extra: str | None = None, package: str | None = None) -> ModuleType:
    """Import and return the module, or raise as `require` does if it is not installed."""
    require(module, what, extra, package)
    return import_module(module)


def imported_when_used(module: str) -> ModuleType:
    """Return a stand-in for a module, which is imported when the first of its names is read."""
    return _Later(module)


class _Later(ModuleType):
    def __getattr__(self, name: str) -> object:
        return getattr(import_module(self.__name__), name)


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
