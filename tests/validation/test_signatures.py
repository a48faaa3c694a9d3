"""Arguments of wrong types are refused by name, before any work, and nothing else about a function changes."""

import inspect
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, InvalidTextError
from cde_retrievers.validation.signatures import described, validated


@validated
def example(
    path: str | Path = "here",
    size: int | None = None,
    /,
    strategy: str = "random",
    *rest: int,
    seed: int = 0,
    share: float = 0.5,
    described: bool | None = None,
    kind: Literal["flat", "ivf"] = "flat",
    sizes: Sequence[int] = (),
    context: CorpusContext | None = None,
    texts: Iterable[str] = (),
    query: str = "",
    model: Iterable[int] | str | Path = "minilm",
    anything: Any = None,
    **more: int,
) -> tuple[Any, ...]:
    """What it does."""
    return path, size, strategy, rest, seed, share, described, kind, sizes, context, texts, query, model, anything, more


def named(**given):
    parameters = list(inspect.signature(example).parameters)
    return dict(zip(parameters, example(**given), strict=True))


def test_signature_and_docstring_stay():
    assert example.__doc__ == "What it does."
    assert list(inspect.signature(example).parameters)[:3] == ["path", "size", "strategy"]
    assert inspect.signature(example).parameters["seed"].annotation is int


RIGHT = {
    "seed": [3, -3, np.int64(3), np.uint8(3), 2**62],
    "share": [0.5, 1, np.float32(0.5), float("nan")],
    "described": [True, False, None, np.True_],
    "kind": ["flat", "ivf"],
    "sizes": [(), [1, 2], (np.int32(1),), range(3)],
    "context": [None],
    "texts": [5, "text", None, iter("ab")],
    "model": ["minilm", Path("model"), 5, [1]],
    "anything": [b"bytes", object()],
    "more": [5, "text"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_right_types_arrive(name, value):
    arrived = named(**{name: value})[name]
    assert arrived in ({name: value}, value) or arrived is value


@pytest.mark.parametrize("path", ["here", Path("here"), os.fsdecode(b"na\xefve")])
def test_paths_arrive_as_they_are(path):
    assert example(path)[0] is path


def test_whole_numbers_become_pythons_own():
    assert type(example("here", np.int32(5))[1]) is int
    assert type(named(described=np.True_)["described"]) is bool


def test_iterators_and_large_lists_are_neither_read_nor_copied():
    numbers, large = iter([1, 2]), list(range(10))
    assert named(texts=numbers)["texts"] is numbers
    assert next(numbers) == 1
    assert named(sizes=large)["sizes"] is large


WRONG = {
    "seed": [None, "0", 1.0, 1.5, True, np.float64(2), [0], np.array([1])],
    "share": [None, "0.5", True, 1j],
    "described": [0, 1, "yes"],
    "kind": ["hnsw", [], None, b"flat"],
    "sizes": [5, None, "12", [1, "2"], [True], {1, 2}],
    "context": ["context", {}, 5],
    "strategy": [[], None, 5, b"random", Path("random")],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_types_are_refused_by_name(name, value):
    with pytest.raises(ConfigurationError, match=rf"{name} must be .*, found .*\(\w+\)$"):
        named(**{name: value})


@pytest.mark.parametrize("value", [5, None, b"here", [], 1.5, object, "", "a\0b", Path("a\0b"), "a\ud800b"])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(ConfigurationError, match="path must be a path"):
        example(value)


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b", ""])
def test_a_path_is_checked_where_other_things_may_be_given_too(value):
    with pytest.raises(ConfigurationError, match="model must be a path"):
        named(model=value)


def test_numbers_that_no_file_can_hold_are_refused():
    for number in (2**63, -(2**70), 10**5_000):
        with pytest.raises(ConfigurationError, match=r"seed must be a whole number of at most 63 bits, found \d+"):
            named(seed=number)


def test_a_text_that_is_none_is_an_error_about_a_text():
    with pytest.raises(InvalidTextError, match=r"query must be a string, found 5 \(int\)"):
        named(query=5)


def test_pythons_own_errors_stay():
    with pytest.raises(TypeError, match="strategy"):
        example("here", 5, "random", strategy="random")

    @validated
    def needs(path: str) -> None: ...

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'path'"):
        needs()


def test_a_message_stays_short():
    assert len(described("x" * 10_000)) < 120
    assert len(described(list(range(10_000)))) < 120
    assert described(10**5_000).startswith("a value of type int") or len(described(10**5_000)) < 120

    class Unspeakable:
        def __repr__(self):
            raise RuntimeError

    assert "Unspeakable" in described(Unspeakable())


def test_methods_of_every_kind_are_checked():
    class Example:
        @classmethod
        @validated
        def made(cls, size: int) -> type:
            return cls

        @validated
        def asked(self, size: int) -> int:
            return size

    assert Example.made(5) is Example
    assert Example().asked(size=5) == 5
    for call in (Example.made, Example().asked):
        with pytest.raises(ConfigurationError, match="size must be a whole number"):
            call("5")
