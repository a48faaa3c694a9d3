"""The readers of whole documents by their file's ending."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from cde_retrievers.corpora.decoding import read_text
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.corpora.readers.epub import epub_as_markdown
from cde_retrievers.corpora.readers.html import html_as_markdown
from cde_retrievers.corpora.readers.html_encoding import read_page
from cde_retrievers.corpora.readers.notebook import notebook_as_markdown
from cde_retrievers.corpora.readers.pdf import pdf_as_markdown
from cde_retrievers.corpora.readers.restructured_text import rst_as_markdown
from cde_retrievers.corpora.readers.word import docx_as_markdown
from cde_retrievers.corpora.records import Markup
from cde_retrievers.errors import CDEError, CorpusFileError
from cde_retrievers.util.imports import require

# Of file names in lower case.
_PLAIN_TEXTS = (".txt", ".text")
TEXTS = (*_PLAIN_TEXTS, ".md", ".markdown")
_SOURCES = (".rst.txt", ".md.txt")  # as Sphinx keeps them beside its pages
CODE = (
    *(".py", ".pyi", ".js", ".mjs", ".ts", ".tsx", ".jsx", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp"),
    *(".cs", ".go", ".rs", ".rb", ".php", ".swift", ".lua", ".pl", ".r", ".jl", ".sh", ".sql"),
)

_PAGES = (".html", ".htm", ".xhtml")
_OF_TEXT: Mapping[str, tuple[str, Callable[[str], str]]] = {
    **dict.fromkeys(_PAGES, ("HTML", html_as_markdown)),
    ".ipynb": ("a notebook", notebook_as_markdown),
    ".rst": ("reStructuredText", rst_as_markdown),
}
_OF_BYTES: Mapping[str, tuple[str, Callable[[BinaryIO, int], str]]] = {
    ".pdf": ("PDF", pdf_as_markdown),
    ".docx": ("a Word document", docx_as_markdown),
    ".epub": ("EPUB", epub_as_markdown),
}
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_PAGES, ("selectolax",)),
    ".pdf": ("pypdf",),
    ".docx": ("mammoth", "selectolax"),
    ".epub": ("selectolax",),
}
DOCUMENTS = (*TEXTS, *_OF_TEXT, *_OF_BYTES)


def is_code(name: str) -> bool:
    """Whether the file is source code, where nothing is Markdown."""
    return name.lower().endswith(CODE)


def require_reader(ending: str) -> None:
    """Raise MissingDependencyError, which names the extra, if files of an ending need a package that is not there."""
    for package in _PACKAGES.get(ending, ()):
        what, _ = _OF_TEXT[ending] if ending in _OF_TEXT else _OF_BYTES[ending]
        require(package, f"reading {what}", extra="docs")


def markup_of(name: str) -> Markup:
    """Return what the text is that `read_document` returns for a file."""
    if is_code(name):
        return "code"
    return "text" if name.lower().endswith(_PLAIN_TEXTS) and not name.lower().endswith(_SOURCES) else "markdown"


def read_document(file: File, reading: ReadOptions) -> str:
    """Return a whole file: as Markdown, with `literal` texts, if it is of a kind that is converted; else as it is.

    Raises:
        CorpusFileError: it cannot be read or decoded, is damaged or too long.
        MissingDependencyError: its kind needs a package that is not installed; names the extra.
    """
    path, name = file.path, file.path.name.lower()
    ending = Path(name.removesuffix(".txt") if name.endswith(_SOURCES) else name).suffix
    if ending in _OF_BYTES:
        what, read = _OF_BYTES[ending]
        with file.opened() as content:
            return _explained(path, what, lambda: read(content, reading.record_limit))
    read_as_text = read_page if ending in _PAGES else read_text
    text = read_as_text(file, reading.encoding, reading.record_limit)
    if ending not in _OF_TEXT:
        return text
    what, convert = _OF_TEXT[ending]
    return _explained(path, what, lambda: convert(text))


def _explained(path: Path, what: str, read: Callable[[], str]) -> str:
    try:
        return read()
    except CDEError:
        raise
    except Exception as error:  # each library has many kinds for what damage does to a file
        reason = str(error) or type(error).__name__
        raise CorpusFileError(
            f"{path} cannot be read as {what}: {reason}; restore it from a copy, or leave files that cannot be read "
            f"out with skip_errors=True (--skip-errors)"
        ) from error
