"""A LlamaIndex retriever over an index of one context."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import run_transformations
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, Document, NodeWithScore, QueryBundle, TransformComponent
from llama_index.core.vector_stores.types import VectorStoreQueryMode

from cde_retrievers.binding.hits import HitCheck
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding, ContextualEmbedding
from cde_retrievers.llama_index.guards import refuse_another_context
from cde_retrievers.llama_index.stamps import stamped
from cde_retrievers.llama_index.stores import refuse_another_width
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import check_collection


class ContextualRetriever(BaseRetriever):
    """A retriever of the best nodes for a query, both embedded under the context of the corpus.

    Every hit that is stamped with another context is refused with a ContextMismatchError. If hits carry no stamp, and
    the store does not state its context either, that is logged once.

    Args:
        index: an index built with `embed_model`.
        embed_model: an embedding fitted on the nodes of the index.
        similarity_top_k: number of nodes per query.
        vector_store_query_mode: what nodes are ranked by, one of the modes of the vector store; if None, "hybrid" over
            a `ContextualVectorStore` whose index was built with words, otherwise "default".
        alpha: in mode "hybrid", the share of the vectors; see `ContextualVectorStore.query`.
        settings: passed to LlamaIndex's `BaseRetriever`.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index embeds, or its nodes were embedded, under another context.
        ConfigurationError: there is no such mode.
    """

    def __init__(
        self,
        index: VectorStoreIndex,
        embed_model: ContextBoundEmbedding,
        similarity_top_k: int = 4,
        *,
        vector_store_query_mode: VectorStoreQueryMode | str | None = None,
        alpha: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        is_known = refuse_another_context(index, embed_model)
        self._stamp = embed_model.stamp
        # A ContextualVectorStore vouches for its nodes.
        is_own = isinstance(index.vector_store, ContextualVectorStore)
        self._hits = None if is_own else HitCheck(type(index.vector_store).__name__, self._stamp, is_known)
        self.index = index
        self.embed_model = embed_model
        mode = _checked_mode(vector_store_query_mode)
        self._searching = index.as_retriever(
            similarity_top_k=similarity_top_k,
            embed_model=embed_model,
            vector_store_query_mode=_default_mode(index) if mode is None else mode,
            alpha=alpha,
        )

    @classmethod
    @validated
    def from_nodes(
        cls,
        nodes: Iterable[BaseNode],
        *,
        model: str = "minilm",
        similarity_top_k: int = 4,
        embed_model: ContextBoundEmbedding | None = None,
        path: str | Path | None = None,
        show_progress: bool = False,
        vector_store_query_mode: VectorStoreQueryMode | str | None = None,
        alpha: float | None = None,
    ) -> Self:
        """Fit a context on the nodes, stamp and index them under it, and retrieve from that index.

        The index is a `ContextualVectorStore`; `ContextualVectorStore.open(path)` opens it again.

        Args:
            nodes: the nodes to search, on which the context is also fitted.
            model: the contextual model, unless `embed_model` is given.
            similarity_top_k: number of nodes per query.
            embed_model: an embedding to use instead; fitted on the nodes if it has no context yet.
            path: a new directory for the index; a temporary one if None.
            show_progress: show LlamaIndex's progress bar while indexing.
            vector_store_query_mode: as the constructor.
            alpha: as the constructor.

        Raises:
            ConfigurationError: there is no such mode; nothing was fitted or indexed.
            ContextMismatchError: a node already has a vector that is not of this context.
            PathInUseError: there is already an index, or something else, at `path`.
        """
        mode = _checked_mode(vector_store_query_mode)
        check_collection(nodes)
        known = list(nodes)
        embed_model = embed_model if embed_model is not None else ContextualEmbedding(model)
        if not embed_model.is_fitted:
            embed_model.fit(known)
        # Nothing to verify: all nodes and queries are embedded by this embed_model.
        storage = StorageContext.from_defaults(vector_store=ContextualVectorStore(embed_model, path, verify=False))
        index = VectorStoreIndex(
            stamped(known, embed_model), storage_context=storage, embed_model=embed_model, show_progress=show_progress
        )
        return cls(index, embed_model, similarity_top_k, vector_store_query_mode=mode, alpha=alpha)

    @classmethod
    @validated
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        transformations: list[TransformComponent] | None = None,
        **options: Any,
    ) -> Self:
        """Split documents into nodes as `VectorStoreIndex.from_documents` does, then as `from_nodes`.

        Args:
            documents: the documents to search.
            transformations: the steps that make nodes of them; `Settings.transformations` if None.
            options: keyword arguments of `from_nodes`.
        """
        check_collection(documents)
        steps = Settings.transformations if transformations is None else transformations
        return cls.from_nodes(run_transformations(list(documents), steps), **options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.embed_model.check_context(self._stamp)
        try:
            found = self._searching.retrieve(query_bundle)
        except Exception as error:
            found = self._none_found(error)
        return self._checked(found)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.embed_model.check_context(self._stamp)
        try:
            found = await self._searching.aretrieve(query_bundle)
        except Exception as error:
            found = self._none_found(error)
        return self._checked(found)

    def _checked(self, found: list[NodeWithScore]) -> list[NodeWithScore]:
        if self._hits is not None:
            self._hits.check(hit.node.metadata for hit in found)
        return found

    def _none_found(self, error: Exception) -> list[NodeWithScore]:
        """Return no nodes if an error says no more than that, as LanceDB's store raises it; raise any other."""
        if isinstance(error, Warning) and "results are empty" in str(error):
            return []
        refuse_another_width(error, self.index.vector_store, self.embed_model.embedder)
        raise error


def _checked_mode(mode: VectorStoreQueryMode | str | None) -> VectorStoreQueryMode | None:
    known = [each.value for each in VectorStoreQueryMode]
    if mode is not None and not (isinstance(mode, str) and mode in known):
        raise ConfigurationError(f"vector_store_query_mode {shown(mode)} is unknown; use one of {', '.join(known)}")
    return None if mode is None else VectorStoreQueryMode(mode)


def _default_mode(index: VectorStoreIndex) -> VectorStoreQueryMode:
    store = index.vector_store
    has_words = isinstance(store, ContextualVectorStore) and store.client.mode == "hybrid"
    return VectorStoreQueryMode.HYBRID if has_words else VectorStoreQueryMode.DEFAULT
