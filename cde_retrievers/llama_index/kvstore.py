"""A LlamaIndex key-value store of which each context, and each role in it, sees its own part only."""

from typing import Any, Literal

from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore

Role = Literal["query", "document"]
Entry = dict[str, Any]


class ContextualKVStore(BaseKVStore):
    """A view of a key-value store: every collection is one of its own per context and role.

    Args:
        store: keeps the entries; any number of views may share it.
        fingerprint: of the context.
        role: what the texts are that the entries belong to; a text's query and document vectors differ.
    """

    def __init__(self, store: BaseKVStore, fingerprint: str, role: Role) -> None:
        self._store = store
        self._suffix = f"/{fingerprint}/{role}"

    def put(self, key: str, val: Entry, collection: str = DEFAULT_COLLECTION) -> None:
        """Keep `val` under `key`."""
        self._store.put(key, val, collection=collection + self._suffix)

    async def aput(self, key: str, val: Entry, collection: str = DEFAULT_COLLECTION) -> None:
        """As `put`."""
        await self._store.aput(key, val, collection=collection + self._suffix)

    def put_all(
        self,
        kv_pairs: list[tuple[str, Entry]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Keep several pairs of key and entry."""
        self._store.put_all(kv_pairs, collection=collection + self._suffix, batch_size=batch_size)

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, Entry]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As `put_all`."""
        await self._store.aput_all(kv_pairs, collection=collection + self._suffix, batch_size=batch_size)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> Entry | None:
        """What is kept under `key` for this context and role, or None."""
        return self._store.get(key, collection=collection + self._suffix)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> Entry | None:
        """As `get`."""
        return await self._store.aget(key, collection=collection + self._suffix)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, Entry]:
        """Everything that is kept for this context and role."""
        return self._store.get_all(collection=collection + self._suffix)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, Entry]:
        """As `get_all`."""
        return await self._store.aget_all(collection=collection + self._suffix)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget what is kept under `key` for this context and role; whether there was anything."""
        return self._store.delete(key, collection=collection + self._suffix)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return await self._store.adelete(key, collection=collection + self._suffix)
