"""Stores of LangChain and indexes of LlamaIndex that embedded shards go to. Axes: n documents, W width."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.binding.given_vectors import given_vectors
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.bulk.paths import CONTEXT
from cde_retrievers.bulk.plan_file import Plan
from cde_retrievers.bulk.shard_file import Shard
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.retrieval.document import Document
from cde_retrievers.validation.vectors import Vectors

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode

_AT_ONCE = 1_000  # documents for a call of a store: some take no more than a few thousand


class _Found(NamedTuple):
    """A row of a store, as far as it is compared: stores change metadata, such as by leaving out None.

    Attributes:
        text: of the document.
        stamp: of its context; None if it has none, or the store keeps none.
    """

    text: str
    stamp: str | None


class _StoreTarget(ABC):
    """A store over embeddings of this library; what goes into it is stamped with their context.

    Args:
        embeddings: those of the store.
        holder: the kind of store, for messages.
        remedy: the class of embeddings that it needs.
    """

    def __init__(self, embeddings: object, holder: str, remedy: str) -> None:
        self._embeddings = _bound(embeddings, holder, remedy)

    def check(self, plan: Plan) -> None:
        """Raise ContextMismatchError if the embeddings are under another context."""
        _check_stamp(self._embeddings, plan)

    def add(self, plan: Plan, number: int, shard: Shard) -> int:
        """Add the documents that the store does not have by id and text -> their number.

        Raises:
            ContextMismatchError: it has one of them under another context; those before may be added.
        """
        return sum(self._add(shard.documents[part], shard.vectors[part]) for part in _parts(len(shard.documents)))

    def _add(self, documents: Sequence[Document], vectors: Vectors) -> int:
        there = self._there([str(document.id) for document in documents])
        _refuse_other_stamps(there, self._embeddings.stamp)
        new = [place for place, document in enumerate(documents) if not _holds(there, document)]
        if outdated := [identity for place in new if (identity := str(documents[place].id)) in there]:
            with suppress(NotImplementedError):
                self._remove(outdated)  # some stores ignore, or refuse, a row whose id they have
        if new:
            self._insert([documents[place] for place in new], vectors[new])
        return len(new)

    @abstractmethod
    def _there(self, ids: list[str]) -> Mapping[str | None, _Found]:
        """Return the rows by id of what is there, as far as the store tells."""

    @abstractmethod
    def _remove(self, ids: list[str]) -> None:
        """Delete rows; raise NotImplementedError if the store cannot."""

    @abstractmethod
    def _insert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add documents with their vectors (n, W)."""


class LangChainTarget(_StoreTarget):
    """A LangChain vector store over embeddings of this library; its documents are stamped with the context.

    Args:
        store: the store.
    """

    def __init__(self, store: "VectorStore") -> None:
        super().__init__(store.embeddings, f"a {type(store).__name__}", "ContextualEmbeddings")
        self._store = store

    def check(self, plan: Plan) -> None:
        """Raise ContextMismatchError if the embeddings are, or the store states that it is, under another context."""
        from cde_retrievers.langchain.guards import refuse_another_context
        from cde_retrievers.langchain.stores.registry import find_kind

        super().check(plan)
        kind = find_kind(self._store)
        if kind is not None and not kind.stamps_documents:  # else each row states its own
            refuse_another_context(self._store, self._embeddings)

    def _there(self, ids: list[str]) -> Mapping[str | None, _Found]:
        with suppress(NotImplementedError):  # then the store itself replaces documents by their ids, or refuses them
            rows = self._store.get_by_ids(ids)
            return {row.id: _Found(row.page_content, row.metadata.get(CONTEXT_KEY)) for row in rows}
        return {}

    def _remove(self, ids: list[str]) -> None:
        self._store.delete(ids)

    def _insert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        from langchain_core.documents import Document as LangChainDocument

        stamp = {CONTEXT_KEY: self._embeddings.stamp}
        rows = [
            LangChainDocument(page_content=row.text, id=row.id, metadata={**row.metadata, **stamp}) for row in documents
        ]
        with given_vectors(self._embeddings._binding, [row.page_content for row in rows], vectors):
            self._store.add_documents(rows, ids=[str(row.id) for row in rows])


class LlamaIndexTarget(_StoreTarget):
    """A `VectorStoreIndex` over an embedding of this library; its nodes are stamped with the context.

    Args:
        index: the index.
    """

    def __init__(self, index: "VectorStoreIndex") -> None:
        super().__init__(index._embed_model, "a VectorStoreIndex", "ContextualEmbedding")
        self._index = index

    def _there(self, ids: list[str]) -> Mapping[str | None, _Found]:
        """Return the rows by id of what is there; what a store cannot tell is deleted, to be inserted again."""
        from llama_index.core.schema import MetadataMode

        from cde_retrievers.llama_index.stores import says_nothing_is_there

        store = self._index.vector_store
        nodes = self._index.docstore.get_nodes(ids, raise_error=False)
        if not nodes:
            try:
                nodes = store.get_nodes(node_ids=ids)
            except NotImplementedError:
                with suppress(NotImplementedError):
                    self._remove(ids)
            except Exception as error:
                if not says_nothing_is_there(error):
                    raise
        return {
            node.node_id: _Found(node.get_content(MetadataMode.NONE), node.metadata.get(CONTEXT_KEY)) for node in nodes
        }

    def _remove(self, ids: list[str]) -> None:
        self._index.vector_store.delete_nodes(node_ids=ids)

    def _insert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        self._index.insert_nodes([self._node(*row) for row in zip(documents, vectors, strict=True)])

    def _node(self, document: Document, vector: Vectors) -> "TextNode":
        """Return a node whose embedded text is the document's alone, as it was embedded."""
        from llama_index.core.schema import TextNode

        metadata = {**document.metadata, CONTEXT_KEY: self._embeddings.stamp}
        return TextNode(
            id_=str(document.id),
            text=document.text,
            metadata=metadata,
            embedding=vector.tolist(),
            excluded_embed_metadata_keys=list(metadata),
            excluded_llm_metadata_keys=[CONTEXT_KEY],
        )


def _parts(rows: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, rows, _AT_ONCE)]


def _holds(there: Mapping[str | None, _Found], document: Document) -> bool:
    found = there.get(str(document.id))
    return found is not None and found.text == document.text


def _refuse_other_stamps(there: Mapping[str | None, _Found], stamp: str) -> None:
    for identity, found in there.items():
        if found.stamp not in (None, stamp):
            raise ContextMismatchError(
                f"the store has document {identity!r} under context {found.stamp}, but the plan's vectors were made "
                f"under {stamp}, and the two cannot be compared; collect into a new collection, or bring this one to "
                f"the plan's context with refit_store()"
            )


def _bound(embeddings: object, holder: str, remedy: str) -> ContextBoundMixin:
    if embeddings is None:
        raise ConfigurationError(
            f"{holder} can be collected into if it tells its embeddings, found none; make it with "
            f"{remedy}(context_path=...), or, if it was and does not tell them, collect into Parquet files or another "
            f"kind of store"
        )
    if not isinstance(embeddings, ContextBoundMixin):
        raise ConfigurationError(
            f"{holder} can be collected into if its embeddings are of this library, found "
            f"{type(embeddings).__name__}; make it with {remedy}(context_path=...), with the plan's context"
        )
    return embeddings


def _check_stamp(embeddings: ContextBoundMixin, plan: Plan) -> None:
    if embeddings.stamp != plan.context_fingerprint:
        raise ContextMismatchError(
            f"the plan's vectors were made under context {plan.context_fingerprint}, but the store's embeddings give "
            f"those of {embeddings.stamp}; make them with context_path={str(plan.directory / CONTEXT)!r}"
        )
