"""The context of a corpus: value, files and choice of documents. Import `CorpusContext` from here."""

from cde_retrievers.context.context import CorpusContext

__all__ = ["CorpusContext"]
