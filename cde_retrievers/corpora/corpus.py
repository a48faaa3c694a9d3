"""The documents of a file or folder, as a stream that can be iterated repeatedly."""

import logging
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from cde_retrievers.corpora.checked_pass import CheckedPass, FilesRead
from cde_retrievers.corpora.discovery import Source, find_source
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.formats import read_rows, require_readers, text_record
from cde_retrievers.corpora.read_options import Format, ReadOptions
from cde_retrievers.corpora.records import Record, Row, to_record
from cde_retrievers.corpora.splitters import checked_splitter, split_by
from cde_retrievers.corpora.splitting import PartRules, split_record
from cde_retrievers.corpora.token_count import CountedBy, token_count
from cde_retrievers.errors import ConfigurationError, CorpusFileError, InvalidTextError
from cde_retrievers.retrieval.document import Document
from cde_retrievers.validation.paths import checked_path
from cde_retrievers.validation.signatures import validated

logger = logging.getLogger(__name__)


class Corpus:
    """The documents of files, as a stream; every `iter()` reads them from the beginning.

    A text file is one document, with its path as id. A row has `text`, `id`, and other columns as metadata. Except in
    BEIR folders the metadata also have `file` and, for rows, `row`.

    Example:
        ```python
        corpus = Corpus("docs", ReadOptions(split="headings"), tokens=encoder).check()
        index = ContextualIndex.build(corpus, encoder, "docs_index")
        ```

    Args:
        path: a file or a folder.
        reading: options, such as the columns.
        tokens: counts the tokens of parts: an encoder, which also says how many a part may have, or a function from a
            text to their number. Words and punctuation marks are counted if None.
        splitter: splits texts in place of `ReadOptions(split=...)`: a text splitter of LangChain, a node parser of
            LlamaIndex, or a function from a text to texts.

    Raises:
        CorpusFileError: there is nothing to read, or its format is unclear.
        ConfigurationError: an option does not apply to files of that format, or texts would be split in two ways.
        MissingDependencyError: files of that kind need a package that is not installed; names the extra.
    """

    @validated
    def __init__(
        self,
        path: str | Path,
        reading: ReadOptions | None = None,
        *,
        tokens: CountedBy | None = None,
        splitter: object = None,
    ) -> None:
        self.path = checked_path(path)
        self.reading = ReadOptions() if reading is None else reading
        if not isinstance(self.reading, ReadOptions):
            raise ConfigurationError(
                f"reading must be ReadOptions, found a {type(reading).__name__}; give ReadOptions(...)"
            )
        self.source: Source = find_source(self.path, self.reading)
        self.reading.check_format(self.source.format)
        require_readers(self.source.format, self.source.files)
        self._looked_at: dict[str, str | None] = {}  # with `skip_errors`: by file, why it cannot be read, or None
        self._split = _splitting(self.reading, tokens, splitter)

    @property
    def format(self) -> Format:
        """The format of its files."""
        return self.source.format

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self.source.files)

    @property
    def unreadable(self) -> dict[str, str]:
        """What is wrong with the files that `skip_errors` has left out so far, by name."""
        return {name: reason for name, reason in self._looked_at.items() if reason is not None}

    @property
    def unread(self) -> dict[str, str]:
        """Why files and folders that are there were not read so far, by name."""
        return {**self.source.left_out, **self.unreadable}

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents, in the order of file names and rows.

        Raises:
            CorpusFileError: a file cannot be read or decoded, is not what its format asks for, or lacks a column.
            InvalidTextError: a text is empty or invalid.
            InvalidDocumentError: an id is not a text.
        """
        return (record.document for record in self._records() if not self.is_left_out(record))

    def texts(self) -> Iterator[str]:
        """Yield the text of every document."""
        return (document.text for document in self)

    def check(self, taken: Container[object] = ()) -> "CheckedCorpus":
        """Read everything once, so that every fault is found before the first document is embedded.

        Args:
            taken: ids that no document may have, such as those of an index.

        Raises:
            DuplicateIdError: an id comes twice, or is taken.
            ConfigurationError: `taken` can hold no ids.
            CorpusFileError, InvalidTextError, InvalidDocumentError: as in the iteration; or there are no documents.
        """
        found = CheckedPass(self, taken)
        for _ in found:
            pass
        return CheckedCorpus(self, found.documents, found.left_out, found.repeated, found.read)

    def records_of(self, file: File) -> Iterator[Record]:
        """Yield what a file holds, split; nothing if `skip_errors` leaves it out."""
        whole = self._whole_records(file)
        return whole if self._split is None else chain.from_iterable(map(self._split, whole))

    def is_left_out(self, record: Record) -> bool:
        """Whether a record is no document, since it has no text; raises InvalidTextError if that is not asked for."""
        if record.document.text.strip():
            return False
        if not self.reading.skip_empty:
            raise InvalidTextError(
                f"{record.place} has no text; remove it, or leave such documents out with skip_empty=True "
                f"(--skip-empty)"
            )
        return True

    def place_of(self, identity: str | None) -> str:
        """Return where the first document with an id is, for messages."""
        return next(record.place for record in self._records() if record.document.id == identity)

    def _records(self) -> Iterator[Record]:
        return chain.from_iterable(map(self.records_of, self.source.files))

    def _whole_records(self, file: File) -> Iterator[Record]:
        """Yield the records of a file: all of them, or with `skip_errors` maybe none."""
        if not self.reading.skip_errors:
            yield from self._all_records(file)
        elif self.format == "text" and file.name not in self._looked_at:
            with self._noting_errors(file):
                yield from [text_record(file, self.reading)]
        elif self._is_readable(file):
            yield from self._all_records(file)

    def _all_records(self, file: File) -> Iterator[Record]:
        if self.format == "text":
            return iter([text_record(file, self.reading)])
        return (to_record(row, self.reading, self.format) for row in self._some_rows(file))

    def _is_readable(self, file: File) -> bool:
        """Whether a file can be read to its end: rows before a fault must not be left without those behind it."""
        if file.name not in self._looked_at:
            with self._noting_errors(file):
                for _ in self._all_records(file):
                    pass
        return self._looked_at[file.name] is None

    @contextmanager
    def _noting_errors(self, file: File) -> Iterator[None]:
        self._looked_at[file.name] = None
        try:
            yield
        except CorpusFileError as error:
            self._looked_at[file.name] = str(error)
            logger.warning("left out, since it cannot be read: %s", error)

    def _some_rows(self, file: File) -> Iterator[Row]:
        """Yield the rows of a file; raise CorpusFileError if there are none."""
        is_empty = True
        for row in read_rows(file, self.format, self.reading):
            is_empty = False
            yield row
        if is_empty and not self.reading.skip_empty:
            raise CorpusFileError(
                f"{file.path} has no rows; remove it, or leave empty files out with skip_empty=True (--skip-empty)"
            )


def _splitting(
    reading: ReadOptions, tokens: CountedBy | None, splitter: object
) -> Callable[[Record], Iterator[Record]] | None:
    """Return what splits a record into parts; None if nothing does."""
    if splitter is not None:
        if reading.split is not None or tokens is not None:
            raise ConfigurationError(
                "the documents have a splitter, and options for splitting besides; leave out splitter=, or split= and "
                "tokens="
            )
        return partial(split_by, split=checked_splitter(splitter))
    if reading.split is None:
        return None
    counted = token_count(None if reading.max_words else tokens)
    rules = PartRules.of(counted, reading.max_words or reading.chunk_tokens, reading.overlap)
    return partial(split_record, by_headings=reading.split == "headings", rules=rules)


@dataclass(frozen=True, slots=True)
class CheckedCorpus:
    """A corpus that was read through once, so that its length is known; iterates like the corpus.

    Attributes:
        corpus: the one that was read.
        documents: their number.
        left_out: the number of documents without text, which are left out.
        repeated: the number of documents that have the text of an earlier one.
        read: what its files held.
    """

    corpus: Corpus
    documents: int
    left_out: int
    repeated: int
    read: FilesRead

    def __len__(self) -> int:
        return self.documents

    def __iter__(self) -> Iterator[Document]:
        return iter(self.corpus)

    def texts(self) -> Iterator[str]:
        """Yield the text of every document."""
        return self.corpus.texts()
