"""One pass over the files of a corpus: every document is checked, and what is worth recording is noted."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.records import Record
from cde_retrievers.errors import CDEError, ConfigurationError, CorpusFileError, DuplicateIdError
from cde_retrievers.retrieval.document import Document, checked_document

if TYPE_CHECKING:
    from cde_retrievers.corpora.corpus import Corpus


@dataclass(frozen=True, slots=True)
class FilesRead:
    """What the files of a source held when they were read.

    Attributes:
        hashes: SHA-256 of each file, by its name.
        ids: ids of the documents of each of them, by its name.
        unread: why files and folders that are there were not read, by name.
    """

    hashes: Mapping[str, str] = field(repr=False)
    ids: Mapping[str, tuple[str, ...]] = field(repr=False)
    unread: Mapping[str, str] = field(repr=False)


def why_unread(name: str, unread: Mapping[str, str]) -> str | None:
    """Return why a file was not read that is there, or may be; None if it was, or is gone.

    Args:
        name: of the file.
        unread: files and folders that were not read, with the reason.
    """
    return next(
        (unread[str(each)] for each in (PurePosixPath(name), *PurePosixPath(name).parents) if str(each) in unread), None
    )


class CheckedPass:
    """One pass over a corpus, in which every file is opened once; iterate it once.

    Ids and hashes stay in memory, texts do not.

    Args:
        corpus: to read.
        taken: ids that no document may have.

    Attributes:
        seen: ids of the documents so far.
        left_out: number of records without text so far, which are left out.
        repeated: number of documents so far that have the text of an earlier one.

    Raises:
        ConfigurationError: `taken` can hold no ids.
    """

    def __init__(self, corpus: "Corpus", taken: Container[object] = ()) -> None:
        if not isinstance(taken, Container):
            raise ConfigurationError(
                f"taken must be a collection of ids, found a {type(taken).__name__}; give a set, or an index"
            )
        self._corpus = corpus
        self._taken = taken
        self.seen: set[str] = set()
        self._hashes: dict[str, str] = {}
        self._ids: dict[str, tuple[str, ...]] = {}
        self._texts: set[int] = set()
        self.left_out = 0
        self.repeated = 0

    @property
    def documents(self) -> int:
        """Number of documents so far."""
        return len(self.seen)

    @property
    def read(self) -> FilesRead:
        """What was read so far."""
        return FilesRead(self._hashes, self._ids, self._corpus.unread)

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents, each once it is checked.

        Raises:
            DuplicateIdError: an id comes twice, or is taken.
            CorpusFileError, InvalidTextError, InvalidDocumentError: as in the iteration of the corpus; or there are no
                documents.
        """
        for file in self._corpus.source.files:
            yield from self._documents_of(file)
        if not self.seen:
            raise CorpusFileError(f"{self._corpus.path} holds no documents; give a source that does")

    def _documents_of(self, file: File) -> Iterator[Document]:
        ids = []
        for record in self._corpus.records_of(replace(file, on_hash=partial(self._hashes.__setitem__, file.name))):
            if self._corpus.is_left_out(record):
                self.left_out += 1
                continue
            document = self._checked(record)
            ids.append(str(document.id))
            self.seen.add(str(document.id))
            self._note_text(document.text)
            yield document
        if file.name in self._corpus.unreadable:
            self._hashes.pop(file.name, None)
        else:
            self._ids[file.name] = tuple(ids)

    def _note_text(self, text: str) -> None:
        before = len(self._texts)
        self._texts.add(hash(text))
        self.repeated += len(self._texts) == before

    def _checked(self, record: Record) -> Document:
        identity = record.document.id
        if identity in self.seen:
            raise DuplicateIdError(
                f"{record.place} has the id {identity!r}, which {self._corpus.place_of(identity)} already has; give "
                f"each its own, or name another column with id= (--id)"
            )
        if identity in self._taken:
            raise DuplicateIdError(
                f"{record.place} has the id {identity!r}, which is already in the index; replace that document with "
                f"upsert() (--upsert), or tell sources apart with id_prefix= (--id-prefix)"
            )
        try:
            return checked_document(record.document, len(self.seen))
        except CDEError as error:
            raise type(error)(f"{record.place}: {error}; columns are chosen with metadata= (--metadata)") from error
