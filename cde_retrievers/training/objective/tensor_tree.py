"""Tensors inside of values: dataclasses and tuples taken apart and put together again."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

Tree = TypeVar("Tree")


def tensors_of(tree: Any) -> list[Tensor]:
    """Every tensor in a nest of dataclasses and tuples, in a fixed order; anything else holds none."""
    if isinstance(tree, Tensor):
        return [tree]
    return [tensor for part in _parts(tree) for tensor in tensors_of(part)]


def with_tensors(tree: Tree, tensors: Iterator[Tensor]) -> Tree:
    """The same nest with other tensors, in the order of `tensors_of`."""
    changed: Tree = _mapped(tree, lambda _: next(tensors))
    return changed


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple):
        return tuple(_mapped(part, change) for part in tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: _mapped(getattr(tree, f.name), change) for f in fields(tree)})
    return tree


def _parts(tree: Any) -> list[Any]:
    if isinstance(tree, tuple):
        return list(tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, f.name) for f in fields(tree)]
    return []
