"""JSON as others can read it too, and shallow enough for whatever is done with it."""

import json
from typing import Any, NoReturn

MAX_DEPTH = 100


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, has NaN or an infinity, a number is too long, or values lie too deep in each other.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:  # raised at another depth by each version of Python
        _refuse_depth()
    # Without that many brackets it cannot be too deep, which spares most texts a second look.
    if text.count("[") + text.count("{") > MAX_DEPTH and isinstance(value, dict | list):
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        # Level by level, since a walk that calls itself would need the depth that it is to refuse.
        inner = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    _refuse_depth()


def _refuse_depth() -> NoReturn:
    raise ValueError(f"its values are nested more than {MAX_DEPTH} levels deep")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
