"""A corpus that counts what it leaves out; unlike `Corpus.check`, it keeps no ids of a large source in memory."""

from collections.abc import Iterator

from cde_retrievers.corpora import Corpus
from cde_retrievers.corpora.records import Record
from cde_retrievers.retrieval.document import Document


class CountingCorpus(Corpus):
    """A corpus, as there.

    Attributes:
        left_out: number of documents without text that the last iteration has left out so far.
    """

    left_out = 0

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents, as `Corpus`."""
        self.left_out = 0
        return super().__iter__()

    def is_left_out(self, record: Record) -> bool:
        """Whether a record is no document, as in `Corpus`."""
        is_empty = super().is_left_out(record)
        self.left_out += is_empty
        return is_empty
