"""Zip archives that a document is, opened within limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from zipfile import ZipFile

from cde_retrievers.corpora.decoding import too_long

_DECLARATIONS = [
    mark.encode(name) for mark in ("<!DOCTYPE", "<!ENTITY") for name in ("ascii", "utf-16-le", "utf-16-be")
]
_XML = (".xml", ".rels", ".opf")


@contextmanager
def opened(file: BinaryIO, limit: int) -> Iterator[ZipFile]:
    """Open an archive whose files, unpacked, have at most `limit` bytes together; zipfile reads no more than they say.

    Raises:
        CorpusFileError: they have more.
        BadZipFile, OSError: it is damaged, or cannot be read.
    """
    with ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > limit:
            raise too_long(f"{file.name}, unpacked,", limit)
        yield archive


def refuse_declarations(archive: ZipFile) -> None:
    """Raise ValueError if an XML file declares entities, which could grow without bounds or name other files."""
    for member in archive.infolist():
        if member.filename.lower().endswith(_XML):
            content = archive.read(member)
            if any(mark in content for mark in _DECLARATIONS):
                raise ValueError(f"{member.filename} has a document type declaration, which is never expanded")
