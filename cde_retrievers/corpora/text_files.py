"""One document per file of text or Markdown."""

from collections.abc import Iterator

from cde_retrievers.corpora.decoding import read_text
from cde_retrievers.corpora.finding import Source
from cde_retrievers.corpora.reading import Reading
from cde_retrievers.corpora.record import Record
from cde_retrievers.index.document import Document


def text_records(source: Source, reading: Reading) -> Iterator[Record]:
    """Each file as a document, with its name as id.

    Raises:
        CorpusFileError: a file cannot be read or decoded, or is too long.
    """
    for file in source.files:
        content = read_text(file.path, reading.encoding, reading.record_limit)
        yield Record(str(file.path), Document(content, reading.id_prefix + file.name, {"file": file.name}))
