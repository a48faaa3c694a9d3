"""The searches of LangChain's vector store interface by search type, over an index that carries its context."""

from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStoreRetriever

from cde_retrievers.index import Filter, Hit
from cde_retrievers.index.queries import Mode
from cde_retrievers.langchain.dense_search import DenseSearch, refuse_options, scored
from cde_retrievers.langchain.search_types import (
    MODES,
    SEARCHES,
    RankedSearch,
    is_ranked,
    refuse_unbounded,
    relevance,
)
from cde_retrievers.langchain.vector_documents import from_index_document
from cde_retrievers.langchain.vector_retriever import ContextualVectorStoreRetriever
from cde_retrievers.validation.signatures import validated


class ContextualSearch(DenseSearch):
    """The reading half of `ContextualVectorStore`: arguments and errors as `DenseSearch`.

    A query given as a text is searched by its vector and its words, unless `search_type` says otherwise.
    """

    @validated
    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,
        search_type: RankedSearch | None = None,
        **unknown: Any,
    ) -> list[Document]:
        """Return the best documents for a query, best first; arguments as `similarity_search_with_score`."""
        refuse_options(unknown)
        return [from_index_document(hit) for hit in self._ranked(query, k, filter, self._mode(search_type))]

    @validated
    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,
        search_type: RankedSearch | None = None,
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        """Return the best documents for a query with their scores, best first.

        Args:
            query: a question.
            k: number of documents.
            filter: a filter that the documents pass.
            search_type: "hybrid" for vectors and words together, scored by the fusion of both; "similarity" for vectors
                alone, scored by the cosine; "lexical" for words alone, scored by BM25, which finds only documents that
                share a word with the query. None is "hybrid", or "similarity" in an index that was built without words.
            unknown: refused.

        Raises:
            ConfigurationError: the index was built without words, and the search needs them.
        """
        refuse_options(unknown)
        return scored(self._ranked(query, k, filter, self._mode(search_type)))

    def search(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Search by "hybrid", "similarity", "lexical", "mmr" or "similarity_score_threshold".

        Raises:
            ConfigurationError: the search type is another.
        """
        if is_ranked(search_type):
            return self.similarity_search(query, search_type=search_type, **kwargs)
        return super().search(query, search_type, **kwargs)

    async def asearch(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Call `search` without blocking the event loop."""
        if is_ranked(search_type):
            return await self.asimilarity_search(query, search_type=search_type, **kwargs)
        return await super().asearch(query, search_type, **kwargs)

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Return a retriever over this store.

        Args:
            kwargs: fields of the retriever: `search_type`, one of those of `search`, by default "hybrid", or
                "similarity" over an index that was built without words; `search_kwargs`, arguments of that search.
        """
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        options = {"search_type": SEARCHES[self._index.mode], **kwargs}
        return ContextualVectorStoreRetriever(vectorstore=self, tags=tags, **options)

    @validated
    def _similarity_search_with_relevance_scores(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,
        search_type: RankedSearch | None = None,
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        refuse_options(unknown)
        mode = self._mode(search_type)
        refuse_unbounded(mode)
        hits = self._ranked(query, k, filter, mode)
        return [(from_index_document(hit), relevance(hit)) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **kwargs)

    def _ranked(self, query: str, k: int, allowed: Filter | None, mode: Mode) -> list[Hit]:
        """Return the best documents for a query."""
        context = self._context()
        if mode == "lexical":
            return self._index.search(query, k, allowed, mode=mode)
        texts = [query] if mode == "hybrid" else None
        return self._hits(self._embedded(query, context), context, k, allowed, texts)

    def _mode(self, search_type: RankedSearch | None) -> Mode:
        return self._index.mode if search_type is None else MODES[search_type]
