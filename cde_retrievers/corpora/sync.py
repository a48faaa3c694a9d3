"""Bringing an index up to date with a source that it records."""

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field

from cde_retrievers.corpora.corpus import CheckedCorpus
from cde_retrievers.corpora.incremental import CorpusSync
from cde_retrievers.corpora.recorded_source import differing_files, recorded_source
from cde_retrievers.errors import RemovalRefusedError
from cde_retrievers.index.contextual_index import ContextualIndex
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.sources_file import SourceRecord
from cde_retrievers.retrieval.document import Document

_FEW = 4
"""One document in this many may be removed without consent."""


@dataclass(frozen=True, slots=True)
class SourceUpdate:
    """What a source would change in an index.

    Attributes:
        corpus: its documents as they are now.
        before: what the index records of it; None if it is new.
        now: what it is now.
        theirs: ids of documents that other sources have; those of this source are left out.
        added: number of new documents.
        changed: number of documents that the index has with other content.
        unchanged: number of documents that the index has as they are.
        embedded: number of new and changed documents whose text must be embedded.
        gone: ids of documents of the index that it had when it was last read, and no longer has.
    """

    corpus: CheckedCorpus
    before: SourceRecord | None
    now: SourceRecord
    theirs: Set[str] = field(repr=False)
    added: int
    changed: int
    unchanged: int
    embedded: int
    gone: tuple[str, ...] = field(repr=False)

    @property
    def reused(self) -> int:
        """Number of new and changed documents whose text has a vector in the index already."""
        return self.added + self.changed - self.embedded

    @property
    def changed_files(self) -> list[str]:
        """Names of the files that are new, changed or gone since the source was last read."""
        return differing_files({} if self.before is None else self.before.files, self.now.files)

    def documents(self) -> Iterator[Document]:
        """Yield its documents."""
        return (document for document in self.corpus if document.id not in self.theirs)

    def apply(
        self,
        index: ContextualIndex,
        removed: Collection[str],
        *,
        replacing: bool = True,
        instead_of: Collection[str] = (),
        show_progress: bool | None = None,
    ) -> CorpusSync:
        """Embed what is new, remove documents, and record the source; after an interruption, plan and apply again.

        Args:
            index: the index that it was planned for.
            removed: ids of documents to remove.
            replacing: whether documents may replace those with the same ids.
            instead_of: paths of recorded sources that it takes the place of.
            show_progress: show a bar; None for long work only.

        Returns:
            The new and changed documents, counted.
        """
        known = () if self.before is None else self.before.ids
        started = self.now.model_copy(update={"ids": tuple(dict.fromkeys((*known, *self.now.ids)))})
        if self.added or self.changed or removed:
            # So that an interruption leaves no document that belongs to no source.
            files = {} if self.before is None else self.before.files
            index.record_source(started.model_copy(update={"files": files}), instead_of)
        changes = CorpusSync(self.documents(), index)
        (index.upsert if replacing else index.add)(changes, show_progress=show_progress)
        if removed:
            index.delete(removed)
        ids = tuple(identity for identity in started.ids if identity in index)
        index.record_source(started.model_copy(update={"ids": ids}), instead_of)
        return changes


def plan_update(
    index: IndexReader, corpus: CheckedCorpus, before: SourceRecord | None, theirs: Set[str] = frozenset()
) -> SourceUpdate:
    """Compare a source with an index; nothing is changed.

    Args:
        index: the index.
        corpus: the documents of the source as they are now.
        before: what the index records of it; None if it is new.
        theirs: ids of documents that other sources have; this one neither replaces nor removes them.
    """
    now = recorded_source(corpus.corpus)
    changes = CorpusSync((document for document in corpus if document.id not in theirs), index)
    embedded = sum(not index.has_vector_of(document.text) for document in changes)
    kept = {*now.ids, *theirs}
    gone = () if before is None else tuple(i for i in before.ids if i not in kept and i in index)
    return SourceUpdate(corpus, before, now, theirs, changes.added, changes.replaced, changes.unchanged, embedded, gone)


def check_removal(index: IndexReader, removed: Collection[str]) -> None:
    """Raise RemovalRefusedError if more than a quarter of the documents of an index would be removed."""
    if _FEW * len(removed) > len(index):
        examples = ", ".join(repr(identity) for identity in list(removed)[:3])
        raise RemovalRefusedError(
            f"{len(removed):,} of the {len(index):,} documents of the index are not in the source any more, such as "
            f"{examples}; nothing was changed; look whether the source and its options are right, and remove them with "
            f"--yes"
        )
