"""Word documents (DOCX) as Markdown, through mammoth's HTML."""

from typing import BinaryIO

from cde_retrievers.corpora.readers.archive import opened, refuse_declarations
from cde_retrievers.corpora.readers.html import html_as_markdown
from cde_retrievers.util.imports import imported


def docx_as_markdown(file: BinaryIO, limit: int) -> str:
    """Return the text of a document with its headings, lists and tables; pictures are left out.

    Raises:
        MissingDependencyError: a package is not installed; names the extra.
        Exception: it is damaged, or larger than `limit` bytes when unpacked.
    """
    mammoth = imported("mammoth", "reading Word documents", extra="docs")
    with opened(file, limit) as archive:
        refuse_declarations(archive)
    file.seek(0)
    return html_as_markdown(mammoth.convert_to_html(file, convert_image=lambda image: []).value)
