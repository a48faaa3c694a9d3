"""The report: what context does for a corpus, as one page to open in a browser."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cde_retrievers.report.findings import Findings
    from cde_retrievers.report.rendering import page
    from cde_retrievers.report.writing import report

_HOMES = {
    "Findings": "cde_retrievers.report.findings",
    "page": "cde_retrievers.report.rendering",
    "report": "cde_retrievers.report.writing",
}

__all__ = ["Findings", "page", "report"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
