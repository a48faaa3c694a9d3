"""The vector stores that can say under which context they were built: a table, one row per kind."""

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.stores.chroma import Chroma
from cde_retrievers.langchain.stores.kind import StoreKind
from cde_retrievers.langchain.stores.memory import InMemory
from cde_retrievers.langchain.stores.pgvector import PGVector
from cde_retrievers.langchain.stores.qdrant import Qdrant

__all__ = ["STORE_KINDS", "StoreKind", "askable_kind_of", "can_be_asked", "find_kind", "kind_of"]

# By the class' name, since importing four databases' clients to ask for the one that is there would take seconds.
STORE_KINDS: dict[str, StoreKind] = {
    "langchain_core.vectorstores.in_memory.InMemoryVectorStore": InMemory(),
    "langchain_chroma.vectorstores.Chroma": Chroma(),
    "langchain_qdrant.qdrant.QdrantVectorStore": Qdrant(),
    "langchain_postgres.vectorstores.PGVector": PGVector(),
}


def find_kind(store: object) -> StoreKind | None:
    """The kind of a store, of a class of stores, or of that name ("Chroma", in capitals or not); None if unknown."""
    if isinstance(store, str):
        return next((kind for kind in STORE_KINDS.values() if kind.name.lower() == store.lower()), None)
    store_class = store if isinstance(store, type) else type(store)
    return next((STORE_KINDS[name] for name in map(_full_name, store_class.__mro__) if name in STORE_KINDS), None)


def can_be_asked(store: object) -> bool:
    """Whether this store can say under which context it was built."""
    kind = find_kind(store)
    return kind is not None and kind.why_mute(store) is None


def kind_of(store: object) -> StoreKind:
    """As `find_kind`, but raise if there is no kind.

    Raises:
        ConfigurationError: it is not known.
    """
    kind = find_kind(store)
    if kind is None:
        raise ConfigurationError(f"{_shown(store)} is not a supported vector store; {_way_out()}")
    return kind


def askable_kind_of(store: object) -> StoreKind:
    """The kind of a store that is going to be asked for its context, or told.

    Raises:
        ConfigurationError: the kind is not known, or this one store cannot be asked.
    """
    kind = kind_of(store)
    reason = kind.why_mute(store)
    if reason is not None:
        raise ConfigurationError(f"this {kind.name} store cannot be asked for its context: {reason}")
    return kind


def _way_out() -> str:
    known = ", ".join(sorted(kind.name for kind in STORE_KINDS.values()))
    return (
        f"those that are ({known}) say by themselves under which context they were built. For any other, add "
        f"stamped(documents, embeddings) and search with the store's own filter for documents whose metadata have "
        f"{CONTEXT_KEY!r} equal to embeddings.context.fingerprint"
    )


def _shown(store: object) -> str:
    return repr(store) if isinstance(store, str) else _full_name(type(store))


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
