"""The context of a corpus: the immutable value, its files, which documents it is made of. Import `CorpusContext`."""

from cde_retrievers.context.context import CorpusContext

__all__ = ["CorpusContext"]
