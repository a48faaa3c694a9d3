"""A collection of a vector database, whichever framework's store is over it."""

from abc import ABC, abstractmethod
from collections.abc import Collection as Ids
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

Id = str | int
Payload = dict[str, Any]
"""What a database keeps of an entry beside its id and vector."""
Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Record:
    """An entry of a collection without its vector."""

    id: Id
    payload: Payload


class Layout(ABC):
    """Where a framework's store keeps the text and the stamp of a document in a payload."""

    @abstractmethod
    def text(self, payload: Payload) -> str | None:
        """Return the text that is embedded, or None if there is none."""

    @abstractmethod
    def stamped(self, payload: Payload, stamp: str) -> Payload:
        """Return a payload whose document carries the stamp; the given one is unchanged."""


class Collection(ABC):
    """A collection under a name, which may be an alias. It need not exist."""

    name: str

    @abstractmethod
    def named(self, name: str) -> Self:
        """Return the collection of another name in the same database, read and written in the same way."""

    @abstractmethod
    def exists(self) -> bool:
        """Return whether the database has a collection of this name."""

    @abstractmethod
    def stamp(self) -> str | None:
        """Return the stamp that the collection itself states, or None."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of entries."""

    @abstractmethod
    def pages(self, size: int) -> Iterator[list[Record]]:
        """Yield all entries, at most `size` at a time."""

    @abstractmethod
    def payloads(self, ids: Ids[Id]) -> dict[Id, Payload]:
        """Return the payloads of those of the ids that are there."""

    @abstractmethod
    def vectors(self, ids: Ids[Id]) -> dict[Id, Vector]:
        """Return the vectors of those of the ids that are there and have one."""

    @abstractmethod
    def put(self, records: Sequence[Record], vectors: Sequence[Vector]) -> None:
        """Write entries; they replace those of the same ids."""

    @abstractmethod
    def delete(self, ids: Ids[Id]) -> None:
        """Remove entries."""

    @abstractmethod
    def create_like(self, other: Self, stamp: str) -> None:
        """Create this collection, empty, with the settings of another one, so that it states the stamp at once."""

    @abstractmethod
    def drop(self) -> None:
        """Delete the collection, and aliases of it."""

    @abstractmethod
    def replace(self, replacement: Self, kept: Self) -> None:
        """Lead this name to the replacement, and the name `kept` to the collection that it now leads to.

        Where that is not one step of the database, the same call finishes an interrupted one.
        """

    def irreplaceable_reason(self) -> str | None:
        """Return why this name cannot lead to another collection, with the way out, or None if it can."""
        return None

    def unsupported_reason(self) -> str | None:
        """Return why this collection cannot be embedded again, or None if it can."""
        return None

    def id_of(self, given: Id) -> Id:
        """Return an id as the database returns it."""
        return given
