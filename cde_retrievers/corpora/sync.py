"""Bringing an index up to date with a source that it records."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from cde_retrievers.corpora.checked_pass import CheckedPass
from cde_retrievers.corpora.corpus import Corpus
from cde_retrievers.corpora.document_spool import DocumentSpool
from cde_retrievers.corpora.incremental import CorpusSync
from cde_retrievers.corpora.kept_files import KeptFiles, kept_files
from cde_retrievers.corpora.recorded_source import differing_files, recorded_source
from cde_retrievers.errors import RemovalRefusedError
from cde_retrievers.index.contextual_index import ContextualIndex
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.sources_file import SourceRecord

_FEW = 4
"""One document in this many may be removed without consent."""


@dataclass(frozen=True, slots=True)
class SourceUpdate:
    """What a source would change in an index.

    Attributes:
        read: number of documents that were read.
        left_out: number of documents without text, which are left out.
        before: what the index records of the source; None if it is new.
        now: what it is now.
        documents: the new and the changed ones, as they were read: nothing is read again to apply this.
        added: number of new documents.
        changed: number of documents that the index has with other content.
        unchanged: number of documents that the index has as they are.
        embedded: number of new and changed documents whose text must be embedded.
        gone: ids of documents of the index that it had when it was last read, and no longer has.
        kept: files that were not read and are not gone, so that their documents stay.
        reread: number of new, changed and gone documents of files that are as they were, by their names: what reads and
            splits them has changed, or the index.
    """

    read: int
    left_out: int
    before: SourceRecord | None
    now: SourceRecord
    documents: DocumentSpool = field(repr=False)
    added: int
    changed: int
    unchanged: int
    embedded: int
    gone: tuple[str, ...] = field(repr=False)
    kept: KeptFiles
    reread: Mapping[str, int] = field(repr=False)

    @property
    def reused(self) -> int:
        """Number of new and changed documents whose text has a vector in the index already."""
        return self.added + self.changed - self.embedded

    @property
    def of_gone_files(self) -> list[str]:
        """The documents that are gone together with their files."""
        if self.before is None:
            return []
        files = self.now.files
        lost = {i for name, ids in self.before.ids_by_file.items() if name and name not in files for i in ids}
        return [identity for identity in self.gone if identity in lost]

    @property
    def changed_files(self) -> list[str]:
        """Names of the files that are new, changed or gone since the source was last read."""
        return differing_files({} if self.before is None else self.before.files, self.now.files)

    @property
    def files_by_change(self) -> dict[str, int]:
        """Number of files that are new ("added"), that differ ("changed") and that are gone ("deleted")."""
        before, now = {} if self.before is None else self.before.files, self.now.files
        added, deleted = len(now.keys() - before.keys()), len(before.keys() - now.keys())
        return {"added": added, "changed": len(self.changed_files) - added - deleted, "deleted": deleted}

    def apply(
        self,
        index: ContextualIndex,
        removed: Collection[str],
        *,
        instead_of: Collection[str] = (),
        show_progress: bool | None = None,
    ) -> None:
        """Embed what is new, remove documents, and record the source; after an interruption, plan and apply again.

        Args:
            index: the index that it was planned for, held since (`ContextualIndex.exclusively`).
            removed: ids of documents to remove.
            instead_of: paths of recorded sources that it takes the place of.
            show_progress: show a bar; None for long work only.
        """
        started = self._started()
        if self.documents or removed:
            # So that an interruption leaves no document that belongs to no source.
            index.record_source(started, instead_of)
        index.upsert(self.documents, show_progress=show_progress)
        if removed:
            index.delete(removed)
        ids = {name: tuple(i for i in found if i in index) for name, found in started.ids_by_file.items()}
        index.record_source(self.now.with_files(self.now.files, ids), instead_of)

    def _started(self) -> SourceRecord:
        """Return the record of an update that is not complete: its files as they were, with all old and new ids."""
        before = {} if self.before is None else self.before.ids_by_file
        now, taken = self.now.ids_by_file, set(self.now.ids)
        ids = {
            name: (*now.get(name, ()), *(i for i in before.get(name, ()) if i not in taken))
            for name in dict.fromkeys((*now, *before))
        }
        if self.before is None:
            return self.now.with_files({}, ids)
        return self.now.with_files(self.before.files, ids).model_copy(update={"read_by": self.before.read_by})


def plan_update(
    index: IndexReader,
    corpus: Corpus,
    before: SourceRecord | None,
    *,
    theirs: Set[str] = frozenset(),
    taken: Container[object] = (),
) -> SourceUpdate:
    """Read a source, every file once, and compare it with an index; nothing is changed.

    Args:
        index: the index.
        corpus: the source.
        before: what the index records of it; None if it is new.
        theirs: ids of documents that other sources have; this one neither replaces nor removes them.
        taken: ids that no document may have.

    Raises:
        As `Corpus.check`; WriteError if there is no room for the new documents in the temporary directory.
    """
    found = CheckedPass(corpus, taken)
    changes = CorpusSync((document for document in found if document.id not in theirs), index)
    documents, differing, embedded = DocumentSpool(), set[str](), 0
    for document in changes:
        documents.append(document)
        differing.add(str(document.id))
        embedded += not index.has_vector_of(document.text)
    kept = kept_files(before, found.read, found.seen | theirs)
    now = recorded_source(corpus, found.read, kept)
    there = {*now.ids, *theirs}
    gone = () if before is None else tuple(i for i in before.ids if i not in there and i in index)
    return SourceUpdate(
        read=found.documents,
        left_out=found.left_out,
        before=before,
        now=now,
        documents=documents,
        added=changes.added,
        changed=changes.replaced,
        unchanged=changes.unchanged,
        embedded=embedded,
        gone=gone,
        kept=kept,
        reread={} if before is None else _reread(before, now, differing.union(gone)),
    )


def _reread(before: SourceRecord, now: SourceRecord, differing: set[str]) -> dict[str, int]:
    """Count the documents that differ although their file and its options do not, by file."""
    if before.reading != now.reading:
        return {}
    old, new = before.ids_by_file, now.ids_by_file
    same = [name for name, digest in now.files.items() if before.files.get(name) == digest]
    counts = {name: len(differing.intersection((*old.get(name, ()), *new.get(name, ())))) for name in same}
    return {name: count for name, count in counts.items() if count}


def plan_updates(index: IndexReader, sources: Sequence[tuple[Corpus, SourceRecord]]) -> list[SourceUpdate]:
    """Compare all sources with an index; a document of two sources is taken from the later one.

    Args:
        index: the index.
        sources: every source and what the index records of it.

    Raises:
        As `plan_update`.
    """
    theirs: set[str] = set()
    updates = []
    for corpus, before in reversed(sources):
        updates.append(plan_update(index, corpus, before, theirs=frozenset(theirs)))
        theirs |= {*updates[-1].now.ids}
    # What one source has no longer, another may have.
    return [replace(update, gone=tuple(i for i in update.gone if i not in theirs)) for update in reversed(updates)]


def check_sources(updates: Iterable[SourceUpdate]) -> None:
    """Raise RemovalRefusedError if more than a quarter of a source's documents are gone together with their files."""
    for update in updates:
        lost = update.of_gone_files
        known = 0 if update.before is None else len(update.before.ids)
        if _FEW * len(lost) > known:
            raise RemovalRefusedError(
                f"{len(lost):,} of the {known:,} documents of {update.now.path} are of files that are not there any "
                f"more, such as {lost[0]!r}; nothing was changed; look whether all of it is there, and remove them "
                f"with --yes"
            )


def check_removal(index: IndexReader, removed: Collection[str]) -> None:
    """Raise RemovalRefusedError if more than a quarter of the documents of an index would be removed."""
    if _FEW * len(removed) > len(index):
        examples = ", ".join(repr(identity) for identity in list(removed)[:3])
        raise RemovalRefusedError(
            f"{len(removed):,} of the {len(index):,} documents of the index are not in the source any more, such as "
            f"{examples}; nothing was changed; look whether the source and its options are right, and remove them with "
            f"--yes"
        )
