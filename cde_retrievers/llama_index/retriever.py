"""A LlamaIndex retriever over an index whose vectors were made under one context."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import run_transformations
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, Document, NodeWithScore, QueryBundle, TransformComponent

from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.llama_index.guards import refuse_other_context
from cde_retrievers.llama_index.stamps import stamped
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import check_collection


class ContextualRetriever(BaseRetriever):
    """Finds the nodes nearest to a query, both embedded under the corpus' own context.

    Args:
        index: built with `embed_model`.
        embed_model: fitted on the nodes of the index.
        similarity_top_k: nodes per query.
        settings: passed on to LlamaIndex's `BaseRetriever`.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index embeds, or its nodes were embedded, under another context.
    """

    def __init__(
        self, index: VectorStoreIndex, embed_model: ContextualEmbedding, similarity_top_k: int = 4, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._fingerprint = embed_model.context.fingerprint
        refuse_other_context(index, embed_model)
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
        embed_model: ContextualEmbedding | None = None,
        path: str | Path | None = None,
        show_progress: bool = False,
    ) -> Self:
        """Fit a context on the nodes, stamp and index them under it, and retrieve from that index.

        The index is a `ContextualVectorStore`; `ContextualVectorStore.open(path)` opens it again.

        Args:
            nodes: what to search; also what the context is fitted on.
            model: the contextual model, unless `embed_model` is given.
            similarity_top_k: nodes per query.
            embed_model: to use instead; fitted on the nodes if it has no context yet.
            path: a new directory to keep the index in; without one it lies in a temporary one.
            show_progress: show LlamaIndex's progress bar while indexing.

        Raises:
            ContextMismatchError: a node already has a vector that is not of this context.
            PathInUseError: there is an index at `path` already, or something else.
        """
        check_collection(nodes)
        known = list(nodes)
        embed_model = embed_model if embed_model is not None else ContextualEmbedding(model)
        if embed_model.context_fingerprint is None:
            embed_model.fit(known)
        # Nothing to verify: what is retrieved from it below is embedded by this embed_model.
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
            documents: what to search.
            transformations: what makes nodes of them; `Settings.transformations` if None.
            options: keyword arguments of `from_nodes`.
        """
        check_collection(documents)
        steps = Settings.transformations if transformations is None else transformations
        return cls.from_nodes(run_transformations(list(documents), steps), **options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.embed_model.check_context(self._fingerprint)
        return self._nearest.retrieve(query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.embed_model.check_context(self._fingerprint)
        return await self._nearest.aretrieve(query_bundle)
