"""The report: what context does for a corpus, as one page to open in a browser."""

from typing import TYPE_CHECKING

from cde_retrievers.lazy import importer

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


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
