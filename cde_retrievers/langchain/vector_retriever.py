"""LangChain's retriever over one vector store, with the searches of `ContextualVectorStore`."""

from collections.abc import Collection
from typing import Any, ClassVar, get_args

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStoreRetriever

from cde_retrievers.langchain.search_types import SearchType, is_ranked


class ContextualVectorStoreRetriever(VectorStoreRetriever):
    """A `VectorStoreRetriever` that knows the search types "hybrid" and "lexical" too.

    `ContextualVectorStore.as_retriever` makes it. `search_kwargs`, and further arguments of `invoke`, are those of the
    store's search, such as `k` and `filter`.
    """

    search_type: str = "hybrid"
    allowed_search_types: ClassVar[Collection[str]] = get_args(SearchType)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if is_ranked(self.search_type):
            return self.vectorstore.similarity_search(query, **self._ranked(kwargs))
        return super()._get_relevant_documents(query, run_manager=run_manager, **kwargs)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if is_ranked(self.search_type):
            return await self.vectorstore.asimilarity_search(query, **self._ranked(kwargs))
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **kwargs)

    def _ranked(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"search_type": self.search_type, **self.search_kwargs, **options}
