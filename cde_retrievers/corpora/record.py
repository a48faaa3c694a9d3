"""What lies between a file and a document."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cde_retrievers.index.document import Document


@dataclass(frozen=True, slots=True)
class File:
    """A file of a source.

    Attributes:
        path: where it is.
        name: its path relative to the source, with "/", so that ids are the same on every machine.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file with columns.

    Attributes:
        file: that it is in.
        number: of the line it begins in, or of the row where a format has no lines; counted from 1.
        values: by column.
    """

    file: File
    number: int
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.file.path}:{self.number}"


@dataclass(frozen=True, slots=True)
class Record:
    """A document and where it was read, for messages."""

    place: str
    document: Document
