"""The report: what context does for a corpus, as one page to open in a browser."""

from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer

if TYPE_CHECKING:
    from cde_retrievers.report.findings import Findings
    from cde_retrievers.report.html import page
    from cde_retrievers.report.marking import marking_page
    from cde_retrievers.report.writer import report

_HOMES = {
    "Findings": "cde_retrievers.report.findings",
    "marking_page": "cde_retrievers.report.marking",
    "page": "cde_retrievers.report.html",
    "report": "cde_retrievers.report.writer",
}

__all__ = ["Findings", "marking_page", "page", "report"]


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
