"""Checks of public functions' arguments against their annotations."""

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeGuard, TypeVar, Union, cast, get_args, get_origin

import numpy as np

from cde_retrievers.errors import ConfigurationError, InvalidTextError, shown
from cde_retrievers.validation.numbers import is_number, is_whole
from cde_retrievers.validation.paths import checked_path

P = ParamSpec("P")
R = TypeVar("R")

_TEXTS = frozenset({"query", "text"})  # a wrong type here raises InvalidTextError
_LONGEST_WHOLE = 63  # bits: what files, numpy and faiss can hold


def validated(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function to check its arguments against its annotations; signature and docstring stay.

    Checked are numbers, booleans, strings, paths, choices (`Literal`), None, classes of this package, and sequences
    of these. numpy integers become Python's. Other collections and objects are neither read nor copied: the
    function checks them itself.

    Returns:
        The function. It raises ConfigurationError for an argument of another type, a whole number of more than 63 bits
        or an impossible path, and InvalidTextError for a text to embed of another type.
    """
    parameters = signature(function).parameters
    rules = {name: rule for name, parameter in parameters.items() if (rule := _rule_of(parameter)) is not None}
    positional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]

    def check(name: str, value: object) -> object:
        rule = rules.get(name)
        return value if rule is None else rule.checked(name, value)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = tuple(map(check, positional, args)) + args[len(positional) :]
        named = {name: check(name, value) for name, value in kwargs.items()}
        return cast(Callable[..., R], function)(*given, **named)

    return checked


def is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value can be iterated over; arrays and tensors of no dimensions only look like it."""
    return isinstance(value, Iterable) and getattr(value, "ndim", None) != 0


@dataclass(frozen=True, slots=True)
class _Rule:
    """The rule for the values of one parameter.

    Attributes:
        kinds: allowed types, from `_KINDS` or classes of this package.
        choices: the allowed values, if the parameter is a choice.
        items: rule for each item of a sequence; None if a sequence is not allowed.
        is_whole: whether the rule is complete; otherwise the function checks other types itself.
    """

    kinds: tuple[type, ...]
    choices: tuple[object, ...]
    items: "_Rule | None"
    is_whole: bool

    def checked(self, name: str, value: Any) -> object:
        """Return the value, with a whole number as Python's `int`.

        Raises:
            ConfigurationError, InvalidTextError: the value is not allowed.
        """
        if Path in self.kinds and isinstance(value, str | os.PathLike) and not isinstance(os.fspath(value), bytes):
            checked_path(value, name)
            return value
        for kind in self.kinds:
            if _KINDS[kind](value) if kind in _KINDS else isinstance(value, kind):
                return _checked_whole(name, value) if kind is int else bool(value) if kind is bool else value
        if any(type(value) is type(choice) and value == choice for choice in self.choices):
            return value
        if self.items is not None and isinstance(value, Sequence) and not isinstance(value, str | bytes):
            for item in value:
                self.items.checked(f"each of {name}", item)
            return value
        if not self.is_whole:
            return value
        error = InvalidTextError if name in _TEXTS else ConfigurationError
        raise error(f"{name} must be {self}, found {described(value)}")

    def __str__(self) -> str:
        kinds = [kind for kind in self.kinds if not (kind is str and Path in self.kinds)]
        words = [_WORDS.get(kind, f"a {kind.__name__}") for kind in kinds if kind is not NoneType]
        words += [repr(choice) for choice in self.choices]
        words += [] if self.items is None else [f"a sequence, each item {self.items}"]
        words += ["None"] if NoneType in kinds else []
        return " or ".join(words)


def described(value: object) -> str:
    """Describe a value and its type for an error message."""
    return f"{shown(value)} ({type(value).__name__})"


_KINDS: Mapping[type, Callable[[object], bool]] = {
    bool: lambda value: isinstance(value, bool | np.bool_),
    int: is_whole,
    float: is_number,
    str: lambda value: isinstance(value, str),
    Path: lambda value: False,  # checked before
    NoneType: lambda value: value is None,
}
_WORDS: Mapping[type, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path (str or pathlib.Path)",
}


def _rule_of(parameter: Parameter) -> _Rule | None:
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        return None
    return _rule(parameter.annotation)


def _rule(annotation: Any) -> _Rule | None:
    """Return the rule of an annotation, or None if there is nothing to check."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds: list[type] = []
    choices: list[object] = []
    items, is_whole = None, True
    for member in members:
        if get_origin(member) is Literal:
            choices += get_args(member)
        elif member is None or member in _KINDS or _is_ours(member):
            kinds.append(NoneType if member is None else member)
        elif get_origin(member) is Sequence and (found := _rule(get_args(member)[0])) is not None and found.is_whole:
            items = found
        else:
            is_whole = False
    if not (kinds or choices or items) or not (is_whole or Path in kinds):
        return None
    return _Rule(tuple(kinds), tuple(choices), items, is_whole)


def _is_ours(member: Any) -> bool:
    """Whether it is a class of this package that isinstance can check, so not a protocol."""
    return (
        isinstance(member, type)
        and member.__module__.startswith("cde_retrievers.")
        and not getattr(member, "_is_protocol", False)
    )


def _checked_whole(name: str, value: Any) -> int:
    number = operator.index(value)
    if number.bit_length() > _LONGEST_WHOLE:
        raise ConfigurationError(
            f"{name} must be a whole number of at most {_LONGEST_WHOLE} bits, found {number.bit_length()}"
        )
    return number
