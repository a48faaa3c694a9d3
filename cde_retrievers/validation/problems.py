"""pydantic's validation errors as one readable line."""

from collections.abc import Iterable

from pydantic_core import ErrorDetails

from cde_retrievers.errors import shown

_SHOWN_PROBLEMS = 10


def readable(problems: Iterable[ErrorDetails], whole: str = "it") -> str:
    """Describe each problem in one line: its place, the rule, and the value found.

    Args:
        problems: as `ValidationError.errors()` gives them.
        whole: name of the value, for problems that concern no single part of it.
    """
    known = list(problems)
    lines = [
        f"{'.'.join(map(str, p['loc'])) or whole}: {p['msg']} (found {shown(p['input'])})"
        for p in known[:_SHOWN_PROBLEMS]
    ]
    more = [f"and {len(known) - _SHOWN_PROBLEMS} more"] if len(known) > _SHOWN_PROBLEMS else []
    return "; ".join(lines + more)
