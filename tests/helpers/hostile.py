"""What callers hand over by mistake, drawn by hypothesis."""

import copy
import datetime
import decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np
from hypothesis import strategies as st

HUGE = 10**5_000


class Size(IntEnum):
    LARGE = 3


class Named:
    """What hypothesis writes by its type alone, since it cannot be shown, or not in a line."""

    def _repr_pretty_(self, printer, cycle):
        printer.text(f"<{type(self).__name__}>")


class Unprintable(Named):
    """Fails when it is shown."""

    def __repr__(self):
        raise RuntimeError("never shown")

    __str__ = __repr__


class HugeFraction(Named, Fraction):
    """More digits than Python writes."""


class Deep(Named, dict):
    """Nested so deep that it cannot be shown."""


def nested(depth: int) -> dict:
    """A value so many levels deep."""
    inner = 0
    for level in range(1, depth):
        inner = [inner] if level % 2 else {"a": inner}
    return Deep(a=inner)


def made(*makers):
    """One of the values, made when it is drawn: hypothesis shows what it draws from, and some of these cannot be."""
    return st.sampled_from(makers).map(lambda make: make())


whole_numbers = st.one_of(
    st.integers(-3, 30),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**70]),
    made(lambda: HUGE, lambda: -HUGE),
)
numbers = st.one_of(
    whole_numbers,
    st.floats(),
    st.sampled_from([Fraction(1, 3), decimal.Decimal("1.5"), decimal.Decimal("NaN"), 1j, True, False]),
    made(lambda: HugeFraction(HUGE), lambda: HugeFraction(1, HUGE)),
    st.sampled_from([np.int64(3), np.float32(1.5), np.float64("nan"), np.bool_(True), Size.LARGE]),
)
texts = st.one_of(
    st.sampled_from(
        ["", " ", "a red cat", "\0", "a\0b", "\ud800", "$gt", "../x", "x" * 5_000, "\n", "\x1b[31m", "a/b"]
    ),
    st.text(st.characters(codec=None), max_size=8),
)
_arrays = made(
    lambda: np.array(3),
    lambda: np.array("text"),
    lambda: np.array([]),
    lambda: np.array([1.0, np.nan]),
    lambda: np.array(["a", "b"]),
    lambda: np.eye(3),
    lambda: np.array([[1], ["a"]], dtype=object),
    lambda: np.zeros((2, 3, 4)),
)
_objects = st.sampled_from(
    [
        None,
        Ellipsis,
        b"bytes",
        bytearray(b"bytes"),
        object,
        list,
        len,
        datetime.date(9999, 12, 31),
        datetime.timedelta(1),
        range(3),
        frozenset(["a"]),
        Path("relative"),
        Path("a\0b"),
        MappingProxyType({"a": 1}),
        np.dtype("float32"),
    ]
)
_fresh = made(
    Unprintable,
    lambda: (text for text in ("one", "two")),
    lambda: iter([1, None]),
    lambda: {"a", "b"},
    lambda: {1: 2, None: 3},
    object,
)
scalars = st.one_of(numbers, texts, _objects)
_keys = st.one_of(texts, st.sampled_from([None, 1, 1.5, (1, 2), True, b"k"]), made(lambda: HUGE))


def _containers(parts):
    return st.one_of(
        st.lists(parts, max_size=3),
        st.lists(parts, max_size=3).map(tuple),
        st.dictionaries(_keys, parts, max_size=3),
    )


_deep = made(lambda: nested(70), lambda: nested(900), lambda: nested(5_000), lambda: [nested(900)])
anything = st.one_of(scalars, _arrays, _fresh, _deep, st.recursive(scalars, _containers, max_leaves=6))


_ODD_BYTES = [
    b"\0",
    b"\xff",
    b"\n",
    b'"',
    b"{",
    b"[" * 200,
    b"9" * 5_000,
    b"\xed\xa0\x80",
    b"NaN",
    b"1e999",
    b",",
    b"\\",
]


@st.composite
def mutated_bytes(draw, valid: bytes) -> bytes:
    """The bytes with up to three changes, or others altogether."""
    if draw(st.integers(0, 7)) == 0:
        return draw(st.binary(max_size=40))
    content = valid
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        until = draw(st.one_of(st.just(at), st.integers(at, min(at + 4, len(content))), st.just(len(content))))
        new = draw(st.one_of(st.just(b""), st.sampled_from(_ODD_BYTES), st.binary(max_size=4)))
        content = content[:at] + new + content[until:]
    return content


ODD_JSON = [
    None, True, -1, 0, 1, 3, 41, 10**6, 2**53, 2**70, 1.5, 1e308, "", "x", "../../secret", "/etc/passwd", "\ud800",
    "0" * 64, "vectors.safetensors", [], {}, ["x"], [1.5], {"a": 1}, [[[]]],
]  # fmt: skip


def _places(value, place=()):
    if place:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from _places(part, (*place, key))


@st.composite
def mutated_json(draw, content: dict) -> dict:
    """The content with up to two values that are changed, missing or new."""
    changed = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(list(_places(changed))))
        holder = changed
        for key in above:
            holder = holder[key]
        how = draw(st.sampled_from(["odd", "odd", "gone", "near", "more"]))
        if how == "gone" and len(changed) > 1:
            del holder[last]
        elif how == "near" and isinstance(holder[last], int):
            holder[last] += draw(st.sampled_from([-1, 1, 7]))
        elif how == "more" and isinstance(holder, dict):
            holder["another"] = copy.deepcopy(draw(st.sampled_from(ODD_JSON)))
        else:
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD_JSON)))
    return changed
