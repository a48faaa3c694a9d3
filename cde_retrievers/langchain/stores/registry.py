"""The table of supported LangChain vector stores, one row each."""

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.stores.chroma import Chroma
from cde_retrievers.langchain.stores.faiss import FAISS
from cde_retrievers.langchain.stores.in_memory import InMemory
from cde_retrievers.langchain.stores.interface import StoreKind
from cde_retrievers.langchain.stores.lancedb import LanceDB
from cde_retrievers.langchain.stores.milvus import Milvus
from cde_retrievers.langchain.stores.pgvector import PGVector
from cde_retrievers.langchain.stores.pgvector_store import PGVectorStore
from cde_retrievers.langchain.stores.qdrant import Qdrant

# By the name of the class, because importing the clients of many databases would take seconds.
STORE_KINDS: dict[str, StoreKind] = {
    "langchain_core.vectorstores.in_memory.InMemoryVectorStore": InMemory(),
    "langchain_chroma.vectorstores.Chroma": Chroma(),
    "langchain_community.vectorstores.faiss.FAISS": FAISS(),
    "langchain_qdrant.qdrant.QdrantVectorStore": Qdrant(),
    "langchain_lancedb.vectorstores.LanceDB": LanceDB(),
    "langchain_milvus.vectorstores.milvus.Milvus": Milvus(),
    "langchain_postgres.vectorstores.PGVector": PGVector(),
    "langchain_postgres.v2.vectorstores.PGVectorStore": PGVectorStore(),
}


def find_kind(store: object) -> StoreKind | None:
    """Return the kind of a store, of a class, or of a name ("Chroma" or "chroma"); None if it is not supported."""
    if isinstance(store, str):
        return next((kind for kind in STORE_KINDS.values() if kind.name.lower() == store.lower()), None)
    store_class = store if isinstance(store, type) else type(store)
    return next((STORE_KINDS[name] for name in map(_full_name, store_class.__mro__) if name in STORE_KINDS), None)


def is_readable(store: object) -> bool:
    """Return whether this store can state the context it was built under."""
    kind = find_kind(store)
    return kind is not None and kind.unreadable_reason(store) is None


def kind_of(store: object) -> StoreKind:
    """Return the kind of a store, or raise ConfigurationError if it is not supported."""
    kind = find_kind(store)
    if kind is None:
        raise ConfigurationError(f"{_shown(store)} is not a supported vector store; {_way_out()}")
    return kind


def readable_kind_of(store: object) -> StoreKind:
    """Return the kind of a store, or raise ConfigurationError if its context cannot be read and written."""
    kind = kind_of(store)
    reason = kind.unreadable_reason(store)
    if reason is not None:
        raise ConfigurationError(f"the context of this {kind.name} store can be neither read nor written: {reason}")
    return kind


def _way_out() -> str:
    known = ", ".join(sorted(kind.name for kind in STORE_KINDS.values()))
    return (
        f"supported are {known}. For any other, add stamped(documents, embeddings), and search with the store's own "
        f"filter for documents whose metadata have {CONTEXT_KEY!r} equal to embeddings.context.fingerprint"
    )


def _shown(store: object) -> str:
    return repr(store) if isinstance(store, str) else _full_name(type(store))


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
