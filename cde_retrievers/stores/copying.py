"""A copy of a collection's documents whose vectors are of another context. Repeated, it does what is left to do."""

from collections.abc import Collection as Ids
from collections.abc import Iterator

import numpy as np

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import InvalidTextError, StoreRefitError
from cde_retrievers.stores.collection import Collection, Id, Layout, Payload, Record

_SAMPLE = 100  # vectors
_SURELY_SAME = 0.999
"""Least cosine of two vectors of a text under one context, which differ in number format and batch at most."""


def texts_of(collection: Collection, layout: Layout, without: Ids[Id], size: int) -> Iterator[str]:
    """Yield the texts of a collection; raises InvalidTextError for an entry that has none."""
    for page in collection.pages(size):
        for record in page:
            if record.id not in without:
                yield _text(record.id, record.payload, layout)


def copy_documents(
    source: Collection,
    target: Collection,
    layout: Layout,
    embeddings: ContextBoundMixin,
    without: Ids[Id],
    size: int,
) -> int:
    """Embed and write what the target lacks, or has with another payload -> number of documents embedded."""
    embedded = 0
    for page in source.pages(size):
        wanted = {each.id: layout.stamped(each.payload, embeddings.stamp) for each in page if each.id not in without}
        found = target.payloads(wanted.keys()) if wanted else {}
        changed = [Record(each, payload) for each, payload in wanted.items() if found.get(each) != payload]
        if not changed:
            continue
        vectors = embeddings.embed_texts([_text(record.id, record.payload, layout) for record in changed])
        if outdated := [record.id for record in changed if record.id in found]:
            target.delete(outdated)  # some databases merge a new payload into an earlier one
        target.put(changed, vectors.tolist())
        embedded += len(changed)
    return embedded


def remove_others(source: Collection, target: Collection, new: Ids[Id], size: int) -> None:
    """Delete from the target, which holds nothing but copies, what is neither in the source nor new.

    Raises:
        StoreRefitError: the number of documents still is not what it must be.
    """
    if target.count() == _expected(source, new):
        return
    gone: list[Id] = []
    for page in target.pages(size):
        ids = {record.id for record in page} - set(new)
        gone += ids - source.payloads(ids).keys()
    for start in range(0, len(gone), size):  # afterwards, since a page may be counted from the first entry
        target.delete(gone[start : start + size])
    if target.count() != (expected := _expected(source, new)):
        raise StoreRefitError(
            f"the new collection {target.name!r} holds {target.count()} documents, but {expected} are expected; "
            f"stop adding and removing documents while a store is refitted, and call again: nothing is embedded twice"
        )


def check_sample(target: Collection, layout: Layout, embeddings: ContextBoundMixin, size: int) -> None:
    """Embed a hundred documents again, spread evenly, and compare their vectors.

    Raises:
        StoreRefitError: a vector is another one.
    """
    step, seen = max(1, target.count() // _SAMPLE), 0
    for page in target.pages(size):
        chosen = {record.id: _text(record.id, record.payload, layout) for record in page[-seen % step :: step]}
        seen += len(page)
        if not chosen:
            continue
        found, expected = target.vectors(list(chosen)), embeddings.embed_texts(list(chosen.values()))
        for identity, vector in zip(chosen, expected, strict=True):
            stored = np.asarray(found[identity], dtype=np.float32)
            if not float(stored @ vector) >= _SURELY_SAME * float(np.linalg.norm(stored)):
                raise StoreRefitError(
                    f"the vector of {identity!r} in the new collection {target.name!r} is not the one that its text "
                    f"has under the new context; delete that collection, and call again"
                )


def _expected(source: Collection, new: Ids[Id]) -> int:
    replaced = len(source.payloads(list(new))) if new else 0
    return source.count() + len(new) - replaced


def _text(identity: Id, payload: Payload, layout: Layout) -> str:
    found = layout.text(payload)
    if found is None:
        raise InvalidTextError(
            f"entry {identity!r} of the collection has no text, so it cannot be embedded again; store texts with the "
            f"vectors, or build a new store from the documents"
        )
    return found
