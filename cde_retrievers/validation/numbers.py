"""Checks of numbers."""

from numbers import Integral, Real
from typing import TypeGuard

from cde_retrievers.errors import ConfigurationError, shown


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number of Python or numpy; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number of Python or numpy; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_whole(name: str, number: object, least: int) -> None:
    """Raise ConfigurationError unless the setting is a whole number of at least `least`."""
    if not is_whole(number) or number < least:
        raise ConfigurationError(f"{name} must be a whole number of at least {least}, found {shown(number)}")
