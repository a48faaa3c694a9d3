"""The documents of a file or folder, as a stream that can be iterated repeatedly."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.corpora.discovery import Source, find_source
from cde_retrievers.corpora.formats import csv_rows, json_rows, parquet_rows, text_records
from cde_retrievers.corpora.options import Format, ReadOptions
from cde_retrievers.corpora.records import File, Record, Row, to_record
from cde_retrievers.corpora.splitting import split_record
from cde_retrievers.errors import CDEError, ConfigurationError, CorpusFileError, DuplicateIdError, InvalidTextError
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.validation.paths import checked_path
from cde_retrievers.validation.signatures import validated


class Corpus:
    """Documents in files, never all in memory; every `iter()` reads them from the beginning.

    Text files: one document each, called by its path. Rows: `text`, `id` and what else they have as metadata. Every
    document's metadata names its `file` and, where there is one, its `row`; BEIR folders have what they bring.

    Example:
        ```python
        corpus = Corpus("docs", Reading(split="headings")).check()
        index = ContextualIndex.build(corpus, encoder, "docs_index")
        ```

    Args:
        path: a file or a folder.
        reading: choices, such as the columns.

    Raises:
        CorpusFileError: there is nothing to read, or it is not clear how.
        ConfigurationError: a choice says nothing about files of that format.
    """

    @validated
    def __init__(self, path: str | Path, reading: ReadOptions | None = None) -> None:
        self.path = checked_path(path)
        self.reading = ReadOptions() if reading is None else reading
        if not isinstance(self.reading, ReadOptions):
            raise ConfigurationError(f"reading must be a Reading, found a {type(reading).__name__}; give Reading(...)")
        self._source: Source = find_source(self.path, self.reading)
        self.reading.check_format(self._source.format)

    @property
    def format(self) -> Format:
        """Of its files."""
        return self._source.format

    @property
    def files(self) -> int:
        """The number of documents."""
        return len(self._source.files)

    def __iter__(self) -> Iterator[Document]:
        """The documents, in the order of file names and rows.

        Raises:
            CorpusFileError: a file cannot be read or decoded, is not what its format asks for, or lacks a column.
            InvalidTextError: a text is empty or none.
            InvalidDocumentError: an id is not a text.
        """
        return (record.document for record in self._records() if not self._is_left_out(record))

    def texts(self) -> Iterator[str]:
        """The text of every document."""
        return (document.text for document in self)

    def check(self, taken: Container[object] = ()) -> "CheckedCorpus":
        """Read everything once, so that every fault is found before the first document is embedded.

        Args:
            taken: ids that must not come, such as those of the index that the documents are for.

        Raises:
            DuplicateIdError: an id comes twice, or is taken.
            ConfigurationError: `taken` can hold no ids.
            CorpusFileError, InvalidTextError, InvalidDocumentError: as the iteration; or there are no documents.
        """
        if not isinstance(taken, Container):
            raise ConfigurationError(
                f"taken must be a collection of ids, found a {type(taken).__name__}; give a set, or an index"
            )
        seen: set[str | None] = set()
        left_out = 0
        for record in self._records():
            if self._is_left_out(record):
                left_out += 1
                continue
            self._check(record, seen, taken)
            seen.add(record.document.id)
        if not seen:
            raise CorpusFileError(f"{self.path} holds no documents; give a source that does")
        return CheckedCorpus(self, len(seen), left_out)

    def _check(self, record: Record, seen: set[str | None], taken: Container[object]) -> None:
        identity = record.document.id
        if identity in seen:
            first = next(other.place for other in self._records() if other.document.id == identity)
            raise DuplicateIdError(
                f"{record.place} has the id {identity!r}, which {first} already has; give each its own, or name "
                f"another column with id= (--id)"
            )
        if identity in taken:
            raise DuplicateIdError(
                f"{record.place} has the id {identity!r}, which is already in the index; replace that document with "
                f"upsert() (--upsert), or tell sources apart with id_prefix= (--id-prefix)"
            )
        try:
            checked_document(record.document, len(seen))
        except CDEError as error:
            raise type(error)(f"{record.place}: {error}; columns are chosen with metadata= (--metadata)") from error

    def _is_left_out(self, record: Record) -> bool:
        if record.document.text.strip():
            return False
        if not self.reading.skip_empty:
            raise InvalidTextError(
                f"{record.place} has no text; remove it, or leave such documents out with skip_empty=True "
                f"(--skip-empty)"
            )
        return True

    def _records(self) -> Iterator[Record]:
        if self.reading.split is None:
            return self._whole_records()
        split, words = self.reading.split, self.reading.words_per_part
        return (part for record in self._whole_records() for part in split_record(record, split, words))

    def _whole_records(self) -> Iterator[Record]:
        if self.format == "text":
            return text_records(self._source, self.reading)
        return (
            to_record(row, self.reading, self.format) for file in self._source.files for row in self._some_rows(file)
        )

    def _some_rows(self, file: File) -> Iterator[Row]:
        """The rows of a file, of which there must be one."""
        is_empty = True
        for row in self._rows(file):
            is_empty = False
            yield row
        if is_empty and not self.reading.skip_empty:
            raise CorpusFileError(
                f"{file.path} has no rows; remove it, or leave empty files out with skip_empty=True (--skip-empty)"
            )

    def _rows(self, file: File) -> Iterator[Row]:
        if self.format == "csv":
            return csv_rows(file, self.reading)
        if self.format == "parquet":
            return parquet_rows(file, self.reading)
        return json_rows(file, self.reading.encoding, self.reading.record_limit)


@dataclass(frozen=True, slots=True)
class CheckedCorpus:
    """A corpus that was read through once, so that its length is known; iterates like the corpus.

    Attributes:
        corpus: what was read.
        documents: how many there are.
        left_out: documents without text that do not count.
    """

    corpus: Corpus
    documents: int
    left_out: int

    def __len__(self) -> int:
        return self.documents

    def __iter__(self) -> Iterator[Document]:
        return iter(self.corpus)

    def texts(self) -> Iterator[str]:
        """The text of every document."""
        return self.corpus.texts()
