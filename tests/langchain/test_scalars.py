"""numpy's scalars, times in metadata and fields of other tenants, as LangChain's users have them."""

import numpy as np
import pytest
from langchain_core.documents import Document

from cde_retrievers.errors import FilterError
from cde_retrievers.langchain import ContextualRetriever, ContextualVectorStore

QUERY = "green cat sleeps in the tree"


@pytest.fixture
def retriever(guarded, documents):
    return ContextualRetriever.from_documents(documents, embeddings=guarded(), k=np.int64(3))


def test_numbers_of_numpy_are_taken_wherever_numbers_are(retriever):
    store = retriever.vectorstore
    assert len(retriever.invoke(QUERY)) == 3
    assert len(retriever.invoke(QUERY, k=np.int32(2), filter={"row": {"$gte": np.int16(4)}})) == 2
    assert len(store.similarity_search(QUERY, k=np.int32(2))) == 2
    assert len(store.similarity_search_by_vector(np.array(store.embeddings.embed_query(QUERY)), k=np.int32(2))) == 2
    diverse = store.max_marginal_relevance_search(
        QUERY, k=np.int64(2), fetch_k=np.int64(9), lambda_mult=np.float32(0.5)
    )
    assert len(diverse) == 2
    search = {"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": np.float32(0.3)}}
    assert ContextualRetriever(embeddings=retriever.embeddings, vectorstore=store, **search).invoke(QUERY)


def test_a_time_weighted_retriever_works_over_the_store(guarded, documents):
    classic = pytest.importorskip("langchain_classic.retrievers")
    store = ContextualVectorStore(guarded())
    retriever = classic.TimeWeightedVectorStoreRetriever(vectorstore=store, k=2)
    retriever.add_documents([Document(found.page_content) for found in documents[:6]])
    assert retriever.invoke(QUERY)[0].page_content == QUERY
    assert store.similarity_search(QUERY, k=1)[0].metadata["last_accessed_at"][10] == "T"


def test_a_field_of_another_tenant_is_named_with_exists(retriever):
    mine = {"owner": {"$eq": "me", "$exists": True}}
    assert retriever.invoke(QUERY, filter=mine) == []
    retriever.add_documents([Document("a new map", metadata={"owner": "me"})])
    assert [found.page_content for found in retriever.invoke(QUERY, filter=mine)] == ["a new map"]


def test_a_store_may_take_fields_that_no_document_has_as_empty(guarded, documents, tmp_path):
    store = ContextualVectorStore.from_documents(documents, guarded(), path=tmp_path / "index")
    for lenient in (
        ContextualVectorStore(store.embeddings, index=store.index, missing="empty"),
        ContextualVectorStore.open(tmp_path / "index", store.embeddings, missing="empty"),
    ):
        for search_type in ("hybrid", "lexical", "mmr"):
            assert lenient.search(QUERY, search_type, filter={"owner": "me"}) == []
            assert lenient.search(QUERY, search_type, filter={"owner": {"$ne": "me"}})
    with pytest.raises(FilterError, match="'owner'"):
        store.similarity_search(QUERY, filter={"owner": "me"})
