"""Checks of whole-number settings."""

from numbers import Integral

from cde_retrievers.errors import ConfigurationError, shown


def check_whole(name: str, number: object, least: int) -> None:
    """Raise ConfigurationError unless the setting is a whole number of at least `least`."""
    if not isinstance(number, Integral) or isinstance(number, bool) or int(number) < least:
        raise ConfigurationError(f"{name} must be a whole number of at least {least}, found {shown(number)}")
