"""Milvus: a served name moves to another collection as an alias does, or by renaming the two collections."""

from collections.abc import Collection as Ids
from collections.abc import Iterator, Sequence
from typing import Any, Self

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.stores.collection import Collection, Id, Payload, Record, Vector
from cde_retrievers.util.imports import imported

_FLAGS = ("is_primary", "is_partition_key", "nullable", "element_type", "default_value")
_STAMP_LENGTH = 256


class MilvusCollection(Collection):
    """A collection in a file or on a server. Its payloads are the other fields, the dynamic ones among them.

    Args:
        client: a `pymilvus.MilvusClient`.
        name: name of a collection or an alias.
        id_field: the primary key.
        vector_field: the field of the vectors.
        stamp_field: a field that a new collection gets for stamps, unless it has dynamic ones; None for none.
    """

    def __init__(
        self, client: Any, name: str, id_field: str, vector_field: str, stamp_field: str | None = CONTEXT_KEY
    ) -> None:
        self.name = name
        self._client = client
        self._id, self._vector, self._stamp = id_field, vector_field, stamp_field
        self._is_loaded = False

    def named(self, name: str) -> Self:
        """Return the collection of another name."""
        return type(self)(self._client, name, self._id, self._vector, self._stamp)

    def exists(self) -> bool:
        """Return whether there is a collection or an alias of this name."""
        return bool(self._client.has_collection(self.name))

    def stamp(self) -> str | None:
        """Return the stamp in the collection's properties, or None."""
        found: str | None = (self._described().get("properties") or {}).get(CONTEXT_KEY)
        return found

    def count(self) -> int:
        """Return the number of entities."""
        return int(self._query(["count(*)"], filter="")[0]["count(*)"])

    def pages(self, size: int) -> Iterator[list[Record]]:
        """Yield all entities."""
        self._load()
        fields, strong = self._fields(), {"consistency_level": "Strong"}
        iterator = self._client.query_iterator(self.name, batch_size=size, filter="", output_fields=fields, **strong)
        try:
            while page := iterator.next():
                yield [self._record(row) for row in page]
        finally:
            iterator.close()

    def payloads(self, ids: Ids[Id]) -> dict[Id, Payload]:
        """Return the payloads of those of the ids that are there."""
        rows = self._query(self._fields(), ids=list(ids)) if ids else []
        return {record.id: record.payload for record in map(self._record, rows)}

    def vectors(self, ids: Ids[Id]) -> dict[Id, Vector]:
        """Return the vectors of those of the ids that are there."""
        return {row[self._id]: row[self._vector] for row in self._query([self._id, self._vector], ids=list(ids))}

    def put(self, records: Sequence[Record], vectors: Sequence[Vector]) -> None:
        """Write entities."""
        rows = [
            {**record.payload, self._id: record.id, self._vector: list(vector)}
            for record, vector in zip(records, vectors, strict=True)
        ]
        self._client.upsert(self.name, rows)

    def delete(self, ids: Ids[Id]) -> None:
        """Remove entities."""
        self._client.delete(self.name, ids=list(ids))

    def create_like(self, other: Self, stamp: str) -> None:
        """Create the collection with the fields, indexes and properties of the other one, and a field for stamps."""
        found, types = other._described(), imported("pymilvus", "a Milvus collection").DataType
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=found["enable_dynamic_field"])
        for field in found["fields"]:
            settings = {flag: field[flag] for flag in _FLAGS if field.get(flag) is not None}
            schema.add_field(field["name"], field["type"], **field["params"], **settings)
        has_place = found["enable_dynamic_field"] or self._stamp in {field["name"] for field in found["fields"]}
        if self._stamp is not None and not has_place:
            schema.add_field(self._stamp, types.VARCHAR, max_length=_STAMP_LENGTH, nullable=True)
        self._client.create_collection(
            self.name,
            schema=schema,
            index_params=self._indexes_of(other),
            consistency_level=found.get("consistency_level_name") or found["consistency_level"],
            properties={**(found.get("properties") or {}), CONTEXT_KEY: stamp},
        )

    def drop(self) -> None:
        """Delete the collection and its aliases."""
        actual = self._described()["collection_name"]
        for alias in self._client.list_aliases(actual)["aliases"]:
            self._client.drop_alias(alias)
        self._client.drop_collection(actual)

    def replace(self, replacement: Self, kept: Self) -> None:
        """Move the alias, or rename both collections; then there is none of this name for a moment."""
        actual = self._described()["collection_name"] if self.exists() else self.name
        if actual != self.name:
            self._client.alter_alias(replacement.name, self.name)
            self._client.create_alias(actual, kept.name)
            return
        if not kept.exists():
            self._rename_to(kept)
        elif self.exists() and self.count() == 0:
            self.drop()
        replacement._rename_to(self)

    def unsupported_reason(self) -> str | None:
        """Return a reason for ids that the copies would not keep, and for further vectors, which would be lost."""
        if not self.exists():
            return None
        found, types = self._described(), imported("pymilvus", "a Milvus collection").DataType
        if found["auto_id"]:
            return "it numbers its documents itself (auto_id), so that the copies would have other ids"
        # Every type of vector has 100 or more.
        vectors = {field["name"] for field in found["fields"] if field["type"] >= types.BINARY_VECTOR}
        others = sorted(vectors - {self._vector} | {each["name"] for each in found.get("functions") or ()})
        return f"it has further vectors: {', '.join(map(repr, others))}" if others else None

    def _rename_to(self, other: Self) -> None:
        self._client.rename_collection(self.name, other.name)
        self._client.load_collection(other.name)

    def _load(self) -> None:
        """Have the server answer queries, which it may not do any more after a restart."""
        if not self._is_loaded:
            self._client.load_collection(self.name)
            self._is_loaded = True

    def _described(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.describe_collection(self.name)
        return found

    def _fields(self) -> list[str]:
        found = self._described()
        names = [field["name"] for field in found["fields"] if field["name"] != self._vector]
        return [*names, "$meta"] if found["enable_dynamic_field"] else names

    def _query(self, fields: list[str], **wanted: Any) -> list[dict[str, Any]]:
        self._load()
        return list(self._client.query(self.name, output_fields=fields, consistency_level="Strong", **wanted))

    def _record(self, row: dict[str, Any]) -> Record:
        return Record(row[self._id], {field: value for field, value in row.items() if field != self._id})

    def _indexes_of(self, other: Self) -> Any:
        made = self._client.prepare_index_params()
        for name in self._client.list_indexes(other.name):
            found = self._client.describe_index(other.name, name)
            settings = {key: found[key] for key in ("index_type", "metric_type", "params") if found.get(key)}
            made.add_index(field_name=found["field_name"], index_name=name, **settings)
        return made
