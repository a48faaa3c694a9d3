"""What pydantic found wrong, in one line that a person can read."""

from collections.abc import Iterable

from pydantic_core import ErrorDetails

from cde_retrievers.errors import shown

_SHOWN_PROBLEMS = 10


def readable(problems: Iterable[ErrorDetails], whole: str = "it") -> str:
    """Each problem's place, its rule and what was found there.

    Args:
        problems: as `ValidationError.errors()` gives them.
        whole: what to call the value itself where a problem is that of no single part.
    """
    lines = [f"{'.'.join(map(str, p['loc'])) or whole}: {p['msg']} (found {shown(p['input'])})" for p in problems]
    more = [f"and {len(lines) - _SHOWN_PROBLEMS} more"] if len(lines) > _SHOWN_PROBLEMS else []
    return "; ".join(lines[:_SHOWN_PROBLEMS] + more)
