"""The refit of a served vector store: a second collection, under a new context, takes the place of the first.

Every step finds out what is left to do, so that the same call continues an interrupted one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Generic

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, StoreRefitError
from cde_retrievers.stores.collection import Collection, Id
from cde_retrievers.stores.copying import check_sample, copy_documents, remove_others, texts_of
from cde_retrievers.stores.served import Embeddings, Item, ServedStore, Store

_TAIL = 12  # characters of the new context's fingerprint in a name
_ROUNDS = 5  # copies of what was changed during the copy before


@dataclass(frozen=True, slots=True)
class StoreRefit(Generic[Store, Embeddings]):
    """Result of a refit.

    Attributes:
        store: a store over the new collection.
        embeddings: the embeddings of that store, under the new context.
        collection: the name that leads to the new collection: the served one, or one of its own with `switch=False`.
        old_collection: the name that leads to the old collection now; None with `switch=False`, or if it is gone.
        documents: number of documents in the new collection.
        embedded: number of these embedded by this call; an interrupted call embedded the others.
    """

    store: Store
    embeddings: Embeddings
    collection: str
    old_collection: str | None
    documents: int
    embedded: int
    _old: Collection | None = field(default=None, repr=False, compare=False)

    def drop_old(self) -> None:
        """Delete the old collection; nothing is deleted if it is gone, or if the names were not switched."""
        if self._old is not None and self._old.exists():
            self._old.drop()

    def __str__(self) -> str:
        stamp = self.embeddings.stamp[:_TAIL]
        told = f"{self.documents} documents are in {self.collection!r} under context {stamp}, {self.embedded} embedded."
        return told if self.old_collection is None else f"{told} The old collection is {self.old_collection!r}."


@dataclass(frozen=True, slots=True)
class _Collections:
    """The collections of a refit.

    Attributes:
        served: under the name that readers use.
        source: the one that is copied, which is `served` unless a call was interrupted while it switched.
        target: the new one, which is `served` if the refit is complete.
        kept: under the name that the old one gets.
    """

    served: Collection
    source: Collection
    target: Collection
    kept: Collection

    @property
    def is_complete(self) -> bool:
        return self.target is self.served


@dataclass(frozen=True, slots=True)
class RefitJob(Generic[Store, Item, Embeddings]):
    """What is embedded again, and by what.

    Attributes:
        store: the served store.
        embeddings: embeddings of its model. Their settings are those of the new context.
        new: further documents by their ids, which replace those of the same ids.
        batch_size: number of documents that are read, embedded and written at once.
    """

    store: ServedStore[Store, Item, Embeddings]
    embeddings: Embeddings
    new: Mapping[Id, Item]
    batch_size: int


def refit(job: RefitJob[Store, Item, Embeddings], context_path: Path, switch: bool) -> StoreRefit[Store, Embeddings]:
    """Embed every document under a new context into a collection beside the served one, and switch their names.

    Args:
        job: the store and its embeddings.
        context_path: directory of the new context. If there is one, it is used in place of a new one.
        switch: whether the served name leads to the new collection afterwards.

    Raises:
        ConfigurationError: the collection cannot be embedded again, or its name cannot be switched; nothing was done.
        ContextMismatchError: the directory holds the context of another model, or the collection vectors of another
            width.
        StoreRefitError: a collection of a name that is needed is in the way, or documents keep changing.
        InvalidTextError: an entry has no text.
    """
    served = job.store.collection
    _refuse_unsuitable(served, job.embeddings, switch)
    _refuse_another_width(served, job.embeddings.embedder.width)
    job = _under_new_context(job, context_path)
    found = _collections(served, job.embeddings.stamp)
    embedded = _fill(job, found)
    if switch and not found.is_complete:
        found.served.replace(found.target, found.kept)
    result = served if switch else found.target
    old = found.kept if switch and found.kept.exists() else None
    named = None if old is None else old.name
    opened = job.store.over(result, job.embeddings)
    return StoreRefit(opened, job.embeddings, result.name, named, result.count(), embedded, old)


def _refuse_unsuitable(served: Collection, embeddings: Embeddings, switch: bool) -> None:
    if embeddings.documents_are_plain:
        raise ConfigurationError(
            "with side='query' documents are plain vectors, which stay the same under every context; fit the "
            "embeddings again, and leave the store as it is"
        )
    if (reason := served.unsupported_reason()) is not None:
        raise ConfigurationError(f"the collection {served.name!r} cannot be embedded again: {reason}")
    if switch and (reason := served.irreplaceable_reason()) is not None:
        raise ConfigurationError(
            f"{reason}. Or pass switch=False, which leaves that name as it is and returns a store over the new "
            f"collection"
        )


def _refuse_another_width(served: Collection, width: int) -> None:
    page = next(served.pages(1), []) if served.exists() else []
    if not page:
        return
    identity = page[0].id
    vector = served.vectors([identity]).get(identity)
    if vector is not None and (found := len(vector)) != width:
        raise ContextMismatchError(
            f"the collection {served.name!r} does not hold vectors of {width} numbers, as your embedding makes them, "
            f"but of {found}, so it was built by another model; load the model that was saved with it, or put all "
            f"documents into a new store"
        )


def _under_new_context(job: RefitJob[Store, Item, Embeddings], path: Path) -> RefitJob[Store, Item, Embeddings]:
    """Return the job under the context in that directory; fit it on all documents if there is none."""
    if path.exists():
        return replace(job, embeddings=job.embeddings.with_context(CorpusContext.load(path)))
    known = texts_of(job.store.collection, job.store.layout, job.new.keys(), job.batch_size)
    fitted = job.store.fit(job.embeddings, chain(known, map(job.store.text_of, job.new.values())))
    fitted.context.save(path)  # before anything is embedded under it
    return replace(job, embeddings=fitted)


def _collections(served: Collection, stamp: str) -> _Collections:
    """Return the collections of a refit in the state that they are in."""
    staged, kept = (served.named(f"{served.name}_{part}{stamp[:_TAIL]}") for part in ("", "before_"))
    exists = served.exists()
    if exists and served.stamp() == stamp and not _is_waiting(served, staged, kept):
        return _Collections(served, served, served, kept)
    if staged.exists() and staged.stamp() != stamp:
        raise StoreRefitError(
            f"a collection {staged.name!r}, the name of the new one, exists and does not state the new context; rename "
            f"or delete it"
        )
    if kept.exists():
        if staged.exists() and not (exists and served.count()):
            return _Collections(served, kept, staged, kept)  # interrupted between the two steps of a switch
        raise StoreRefitError(
            f"a collection {kept.name!r}, the name that the old one gets, exists already; rename or delete it"
        )
    if not exists:
        raise StoreRefitError(f"there is no collection {served.name!r}; give the store that is served")
    return _Collections(served, served, staged, kept)


def _is_waiting(served: Collection, staged: Collection, kept: Collection) -> bool:
    """Whether the new collection waits for its name, which a reader gave to an empty one between two renames.

    Where the name is an alias, both are the same collection.

    Raises:
        StoreRefitError: documents were added to that one.
    """
    waiting = staged.count() if kept.exists() and staged.exists() else 0
    there = served.count()
    if waiting > there > 0:
        raise StoreRefitError(
            f"a switch to the new collection was interrupted, and {there} documents were added to another one of the "
            f"name {served.name!r} since, while {waiting} are in {staged.name!r}; add them there, delete "
            f"{served.name!r}, and call again"
        )
    return waiting > there


def _fill(job: RefitJob[Store, Item, Embeddings], found: _Collections) -> int:
    """Copy all documents, add the new ones, and check the result -> number of documents embedded."""
    if found.is_complete:
        return _add(job, found.target)
    layout, embeddings, new, size = job.store.layout, job.embeddings, job.new.keys(), job.batch_size
    if not found.target.exists():
        found.target.create_like(found.source, embeddings.stamp)
    embedded = 0
    for _ in range(_ROUNDS):
        copied = copy_documents(found.source, found.target, layout, embeddings, new, size)
        embedded += copied
        if not copied:
            break
    else:
        raise StoreRefitError(
            f"documents of {found.source.name!r} were changed during each of {_ROUNDS} copies; stop writing to it, and "
            f"call again: nothing is embedded twice"
        )
    embedded += _add(job, found.target)
    remove_others(found.source, found.target, new, size)
    check_sample(found.target, layout, embeddings, size)
    return embedded


def _add(job: RefitJob[Store, Item, Embeddings], target: Collection) -> int:
    """Add the new documents that are not there with the same text -> their number."""
    store, new = job.store, job.new
    if not new:
        return 0
    present = target.payloads(list(new))
    wanted = [
        identity
        for identity, item in new.items()
        if identity not in present or store.layout.text(present[identity]) != store.text_of(item)
    ]
    if outdated := [identity for identity in wanted if identity in present]:
        target.delete(outdated)
    opened = store.over(target, job.embeddings)
    for start in range(0, len(wanted), job.batch_size):
        store.add(opened, [new[each] for each in wanted[start : start + job.batch_size]], job.embeddings)
    return len(wanted)
