"""The documents of a file or folder, as a stream that can be iterated repeatedly."""

import logging
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from cde_retrievers.corpora.discovery import Source, find_source
from cde_retrievers.corpora.formats import read_rows, text_record
from cde_retrievers.corpora.read_options import Format, ReadOptions
from cde_retrievers.corpora.records import File, Record, Row, to_record
from cde_retrievers.corpora.splitters import checked_splitter, split_by
from cde_retrievers.corpora.splitting import PartRules, split_record
from cde_retrievers.corpora.token_count import CountedBy, token_count
from cde_retrievers.errors import CDEError, ConfigurationError, CorpusFileError, DuplicateIdError, InvalidTextError
from cde_retrievers.retrieval.document import Document, checked_document
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
        self._source: Source = find_source(self.path, self.reading)
        self.reading.check_format(self._source.format)
        self._unreadable: dict[str, str | None] = {}  # why not, by file, of those that were looked at
        self._split = _splitting(self.reading, tokens, splitter)

    @property
    def format(self) -> Format:
        """The format of its files."""
        return self._source.format

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self._source.files)

    @property
    def unreadable(self) -> dict[str, str]:
        """What is wrong with the files that `skip_errors` has left out so far, by name."""
        return {name: reason for name, reason in self._unreadable.items() if reason is not None}

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents, in the order of file names and rows.

        Raises:
            CorpusFileError: a file cannot be read or decoded, is not what its format asks for, or lacks a column.
            InvalidTextError: a text is empty or invalid.
            InvalidDocumentError: an id is not a text.
        """
        return (record.document for record in self._records() if not self._is_left_out(record))

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
        if self._split is None:
            return self._whole_records()
        return chain.from_iterable(map(self._split, self._whole_records()))

    def _whole_records(self) -> Iterator[Record]:
        for file in self._source.files:
            if self._is_readable(file):
                yield from self._records_of(file)

    def _records_of(self, file: File) -> Iterator[Record]:
        if self.format == "text":
            return iter([text_record(file, self.reading)])
        return (to_record(row, self.reading, self.format) for row in self._some_rows(file))

    def _is_readable(self, file: File) -> bool:
        """Whether a file is to be read: all of it, or with `skip_errors` nothing of it."""
        if not self.reading.skip_errors:
            return True
        if file.name not in self._unreadable:
            self._unreadable[file.name] = None
            try:
                for _ in self._records_of(file):
                    pass
            except CorpusFileError as error:
                self._unreadable[file.name] = str(error)
                logger.warning("left out, since it cannot be read: %s", error)
        return self._unreadable[file.name] is None

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
    """

    corpus: Corpus
    documents: int
    left_out: int

    def __len__(self) -> int:
        return self.documents

    def __iter__(self) -> Iterator[Document]:
        return iter(self.corpus)

    def texts(self) -> Iterator[str]:
        """Yield the text of every document."""
        return self.corpus.texts()
