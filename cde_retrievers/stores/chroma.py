"""Chroma: a served name moves to another collection by renaming the two."""

from collections.abc import Collection as Ids
from collections.abc import Iterator, Sequence
from typing import Any, Self

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.stores.collection import Collection, Id, Payload, Record, Vector
from cde_retrievers.util.imports import imported

TEXT, METADATA = "document", "metadata"


class ChromaCollection(Collection):
    """A collection in memory, on disk or on a server. Its payloads have the keys "document" and "metadata".

    Args:
        neighbour: any `chromadb.Collection` of the same database.
        name: name of the collection.
    """

    def __init__(self, neighbour: Any, name: str) -> None:
        self.name = name
        self._neighbour = neighbour
        self._server = neighbour._client
        self._place = {"tenant": neighbour.tenant, "database": neighbour.database}

    def named(self, name: str) -> Self:
        """Return the collection of another name."""
        return type(self)(self._neighbour, name)

    def exists(self) -> bool:
        """Return whether there is a collection of this name."""
        try:
            self.opened()
        except imported("chromadb.errors", "a Chroma collection", package="chromadb").NotFoundError:
            return False
        return True

    def opened(self) -> Any:
        """Return the `chromadb.Collection` that now has this name."""
        model = self._server.get_collection(self.name, **self._place)
        return type(self._neighbour)(self._server, model, embedding_function=None)

    def stamp(self) -> str | None:
        """Return the stamp in the collection's metadata, or None."""
        found: str | None = (self.opened().metadata or {}).get(CONTEXT_KEY)
        return found

    def count(self) -> int:
        """Return the number of entries."""
        return int(self.opened().count())

    def pages(self, size: int) -> Iterator[list[Record]]:
        """Yield all entries, in the order in which they were added."""
        collection, offset = self.opened(), 0
        while page := _records(collection.get(limit=size, offset=offset, include=["documents", "metadatas"])):
            yield page
            offset += size

    def payloads(self, ids: Ids[Id]) -> dict[Id, Payload]:
        """Return the payloads of those of the ids that are there."""
        found = self.opened().get(ids=list(ids), include=["documents", "metadatas"]) if ids else None
        return {record.id: record.payload for record in _records(found)}

    def vectors(self, ids: Ids[Id]) -> dict[Id, Vector]:
        """Return the vectors of those of the ids that are there."""
        found = self.opened().get(ids=list(ids), include=["embeddings"])
        return dict(zip(found["ids"], found["embeddings"], strict=True))

    def put(self, records: Sequence[Record], vectors: Sequence[Vector]) -> None:
        """Write entries."""
        self.opened().upsert(
            ids=[record.id for record in records],
            embeddings=[list(vector) for vector in vectors],
            documents=[record.payload[TEXT] for record in records],
            metadatas=[record.payload[METADATA] for record in records],
        )

    def delete(self, ids: Ids[Id]) -> None:
        """Remove entries."""
        self.opened().delete(ids=list(ids))

    def create_like(self, other: Self, stamp: str) -> None:
        """Create the collection with the distance, settings and metadata of the other one."""
        found = other.opened()
        index = {kind: found.configuration_json.get(kind) for kind in ("hnsw", "spann")}
        self._server.create_collection(
            self.name,
            configuration={kind: settings for kind, settings in index.items() if settings},
            metadata={**(found.metadata or {}), CONTEXT_KEY: stamp},
            **self._place,
        )

    def drop(self) -> None:
        """Delete the collection."""
        self._server.delete_collection(self.name, **self._place)

    def replace(self, replacement: Self, kept: Self) -> None:
        """Rename this collection, then the replacement. Between the two there is none of this name for a moment.

        A client that opens the name in that moment creates an empty collection, which is dropped when an interrupted
        call is finished.
        """
        if not kept.exists():
            self._rename_to(kept)
        elif self.exists() and self.count() == 0:
            self.drop()
        replacement._rename_to(self)

    def _rename_to(self, other: Self) -> None:
        self.opened().modify(name=other.name)


def _records(found: Any) -> list[Record]:
    """Return what Chroma's `get` found."""
    if not found:
        return []
    return [
        Record(identity, {TEXT: text, METADATA: metadata})
        for identity, text, metadata in zip(found["ids"], found["documents"], found["metadatas"], strict=True)
    ]
