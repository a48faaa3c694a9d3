"""Public names that are imported at their first use: torch alone takes a second, a Trainer several."""

from collections.abc import Callable, Mapping
from importlib import import_module


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
