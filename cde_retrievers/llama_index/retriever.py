"""A LlamaIndex retriever over an index of one context."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import run_transformations
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, Document, NodeWithScore, QueryBundle, TransformComponent

from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding, ContextualEmbedding
from cde_retrievers.llama_index.guards import refuse_another_context
from cde_retrievers.llama_index.stamps import stamped
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import check_collection


class ContextualRetriever(BaseRetriever):
    """A retriever of the nodes nearest to a query, both embedded under the context of the corpus.

    Args:
        index: an index built with `embed_model`.
        embed_model: an embedding fitted on the nodes of the index.
        similarity_top_k: number of nodes per query.
        settings: passed to LlamaIndex's `BaseRetriever`.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index embeds, or its nodes were embedded, under another context.
    """

    def __init__(
        self, index: VectorStoreIndex, embed_model: ContextBoundEmbedding, similarity_top_k: int = 4, **settings: Any
    ) -> None:
        super().__init__(**settings)
        refuse_another_context(index, embed_model)
        self._stamp = embed_model.stamp
        self.index = index
        self.embed_model = embed_model
        self._nearest = index.as_retriever(similarity_top_k=similarity_top_k, embed_model=embed_model)

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

        Raises:
            ContextMismatchError: a node already has a vector that is not of this context.
            PathInUseError: there is already an index, or something else, at `path`.
        """
        check_collection(nodes)
        known = list(nodes)
        embed_model = embed_model if embed_model is not None else ContextualEmbedding(model)
        if embed_model.context_fingerprint is None:
            embed_model.fit(known)
        # Nothing to verify: all nodes and queries are embedded by this embed_model.
        storage = StorageContext.from_defaults(vector_store=ContextualVectorStore(embed_model, path, verify=False))
        index = VectorStoreIndex(
            stamped(known, embed_model), storage_context=storage, embed_model=embed_model, show_progress=show_progress
        )
        return cls(index, embed_model, similarity_top_k)

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
        return self._nearest.retrieve(query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.embed_model.check_context(self._stamp)
        return await self._nearest.aretrieve(query_bundle)
