"""Qdrant: a served name is an alias, which moves to another collection in one step."""

from collections.abc import Collection as Ids
from collections.abc import Iterator, Sequence
from typing import Any, Self
from uuid import UUID

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.stores.collection import Collection, Id, Payload, Record, Vector
from cde_retrievers.util.imports import imported


class QdrantCollection(Collection):
    """A collection in memory, on disk or on a server.

    Args:
        client: a `qdrant_client.QdrantClient`.
        name: name of a collection or an alias.
        vector_name: name of the dense vector; empty for the one without a name.
    """

    def __init__(self, client: Any, name: str, vector_name: str = "") -> None:
        self.name = name
        self._client = client
        self._vector_name = vector_name

    def named(self, name: str) -> Self:
        """Return the collection of another name."""
        return type(self)(self._client, name, self._vector_name)

    def exists(self) -> bool:
        """Return whether there is a collection or an alias of this name."""
        return self.name in self._aliases() or bool(self._client.collection_exists(self.name))

    def stamp(self) -> str | None:
        """Return the stamp in the collection's metadata, or None."""
        found: str | None = (getattr(self._config(), "metadata", None) or {}).get(CONTEXT_KEY)
        return found

    def count(self) -> int:
        """Return the number of points."""
        return int(self._client.count(self.name, exact=True).count)

    def pages(self, size: int) -> Iterator[list[Record]]:
        """Scroll through all points, in the order of their ids."""
        offset: Any = None
        while True:
            points, offset = self._client.scroll(self.name, limit=size, offset=offset, with_vectors=False)
            yield [Record(point.id, point.payload or {}) for point in points]
            if offset is None:
                return

    def payloads(self, ids: Ids[Id]) -> dict[Id, Payload]:
        """Return the payloads of those of the ids that are there."""
        return {point.id: point.payload or {} for point in self._client.retrieve(self.name, ids=list(ids))}

    def vectors(self, ids: Ids[Id]) -> dict[Id, Vector]:
        """Return the dense vectors of those of the ids that are there and have one."""
        points = self._client.retrieve(self.name, ids=list(ids), with_payload=False, with_vectors=True)
        name = self._vector_name
        found = {point.id: (point.vector or {}).get(name) if name else point.vector for point in points}
        return {identity: vector for identity, vector in found.items() if vector}

    def put(self, records: Sequence[Record], vectors: Sequence[Vector]) -> None:
        """Write points, and wait until they are there."""
        models, name = _models(), self._vector_name
        points = [
            models.PointStruct(id=record.id, payload=record.payload, vector={name: vector} if name else vector)
            for record, vector in zip(records, vectors, strict=True)
        ]
        self._client.upsert(self.name, points=points, wait=True)

    def delete(self, ids: Ids[Id]) -> None:
        """Remove points."""
        self._client.delete(self.name, points_selector=_models().PointIdsList(points=list(ids)), wait=True)

    def create_like(self, other: Self, stamp: str) -> None:
        """Create the collection with the vectors, settings, metadata and payload indexes of the other one."""
        models, found = _models(), other._client.get_collection(other.name)
        config = found.config
        self._client.create_collection(
            self.name,
            vectors_config=config.params.vectors,
            shard_number=config.params.shard_number,
            replication_factor=config.params.replication_factor,
            write_consistency_factor=config.params.write_consistency_factor,
            on_disk_payload=config.params.on_disk_payload,
            hnsw_config=_settings(models.HnswConfigDiff, config.hnsw_config),
            optimizers_config=_settings(models.OptimizersConfigDiff, config.optimizer_config),
            quantization_config=config.quantization_config,
            metadata={**(config.metadata or {}), CONTEXT_KEY: stamp},
        )
        for field, schema in (found.payload_schema or {}).items():
            self._client.create_payload_index(self.name, field, field_schema=schema.params or schema.data_type)

    def drop(self) -> None:
        """Delete the collection, and with it its aliases."""
        self._client.delete_collection(self._aliases().get(self.name, self.name))

    def replace(self, replacement: Self, kept: Self) -> None:
        """Move the alias; the earlier collection gets another one."""
        models, earlier = _models(), self._aliases()[self.name]
        moved = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.name))]
        for name, collection in ((self.name, replacement.name), (kept.name, earlier)):
            made = models.CreateAlias(collection_name=collection, alias_name=name)
            moved.append(models.CreateAliasOperation(create_alias=made))
        self._client.update_collection_aliases(change_aliases_operations=moved)

    def irreplaceable_reason(self) -> str | None:
        """Return a reason for a name that is not an alias: Qdrant renames no collection."""
        if self.name in self._aliases():
            return None
        return (
            f"{self.name!r} is the collection itself, and Qdrant moves only aliases to another collection; give it an "
            f"alias (client.update_collection_aliases) and open the served store by that name"
        )

    def unsupported_reason(self) -> str | None:
        """Return a reason for a collection with further vectors, which would be of the earlier context or missing."""
        if not hasattr(self._config(), "metadata"):
            return "its client is too old for collection metadata; pip install --upgrade 'qdrant-client>=1.16'"
        params = self._config().params
        named = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors}
        others = sorted({*named, *(params.sparse_vectors or {})} - {self._vector_name})
        return f"its points have further vectors: {', '.join(map(repr, others))}" if others else None

    def id_of(self, given: Id) -> Id:
        """Return an id in the one form in which Qdrant returns it."""
        return given if isinstance(given, int) else str(UUID(given))

    def _config(self) -> Any:
        return self._client.get_collection(self.name).config

    def _aliases(self) -> dict[str, str]:
        return {each.alias_name: each.collection_name for each in self._client.get_aliases().aliases}


def _models() -> Any:
    return imported("qdrant_client.models", "a Qdrant collection", package="qdrant-client")


def _settings(kind: Any, found: Any) -> Any:
    """Return those of a collection's settings that can be given to a new one."""
    return kind(**{name: value for name, value in found.model_dump().items() if name in kind.model_fields})
