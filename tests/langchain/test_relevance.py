"""Relevance scores mean (1 + cosine) / 2 in every store that the library makes."""

from uuid import uuid4

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain import ContextualRetriever, ContextualVectorStore, with_cosine_relevance

QUERY = "green cat sleeps in the tree"


def chroma(**options):
    return pytest.importorskip("langchain_chroma").Chroma, {
        "collection_name": uuid4().hex,
        **options,
    }


def faiss(strategy=None):
    community = pytest.importorskip("langchain_community.vectorstores.faiss")
    return community.FAISS, {} if strategy is None else {"distance_strategy": community.DistanceStrategy[strategy]}


def qdrant(distance):
    models = pytest.importorskip("qdrant_client.models")
    store_class = pytest.importorskip("langchain_qdrant").QdrantVectorStore
    return store_class, {"location": ":memory:", "collection_name": "r", "distance": models.Distance[distance]}


MAKERS = {
    "in memory": lambda: (InMemoryVectorStore, {}),
    "chroma": chroma,
    "chroma l2": lambda: chroma(collection_metadata={"hnsw:space": "l2"}),
    "chroma cosine": lambda: chroma(collection_configuration={"hnsw": {"space": "cosine"}}),
    "chroma cosine by metadata": lambda: chroma(collection_metadata={"hnsw:space": "cosine"}),
    "chroma ip": lambda: chroma(collection_metadata={"hnsw:space": "ip"}),
    "qdrant cosine": lambda: qdrant("COSINE"),
    "qdrant dot": lambda: qdrant("DOT"),
    "qdrant euclid": lambda: qdrant("EUCLID"),
    "faiss": faiss,
    "faiss ip": lambda: faiss("MAX_INNER_PRODUCT"),
    "own": lambda: (ContextualVectorStore, {}),
}


@pytest.mark.parametrize("name", MAKERS)
async def test_relevance_is_the_cosine_between_0_and_1_in_every_store_and_so_are_thresholds(name, guarded, documents):
    store_class, options = MAKERS[name]()
    embeddings = guarded()
    retriever = ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=store_class, **options
    )
    store, only = retriever.vectorstore, {"search_type": "similarity"} if name == "own" else {}
    cosines = np.array(embeddings.embed_documents([found.page_content for found in documents])) @ np.array(
        embeddings.embed_query(QUERY)
    )
    expected = dict(zip((found.page_content for found in documents), (1 + cosines) / 2, strict=True))
    found = store.similarity_search_with_relevance_scores(QUERY, k=54, **only)
    assert len(found) == 54
    assert {document.page_content: score for document, score in found} == pytest.approx(expected, abs=2e-4)
    middle = sorted(expected.values())[27] - 0.01
    if name != "own":  # whose thresholds are of the hybrid score
        kept = retriever.invoke(QUERY, k=54, search_type="similarity_score_threshold", score_threshold=middle)
        again = await store.as_retriever(
            search_type="similarity_score_threshold", search_kwargs={"score_threshold": middle, "k": 54}
        ).ainvoke(QUERY)
        assert len(kept) == len(again) == sum(score >= middle for score in expected.values())


def test_a_store_that_is_opened_again_is_given_the_scores_by_one_call(guarded, documents, tmp_path):
    store_class, options = chroma(persist_directory=str(tmp_path))
    embeddings = guarded()
    made = ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=store_class, **options
    ).vectorstore
    again = store_class(embedding_function=embeddings, **options)
    expected = [score for _, score in made.similarity_search_with_relevance_scores(QUERY, k=9)]
    theirs = [score for _, score in again.similarity_search_with_relevance_scores(QUERY, k=9)]
    assert theirs != pytest.approx(expected)
    assert with_cosine_relevance(again) is again
    assert [score for _, score in again.similarity_search_with_relevance_scores(QUERY, k=9)] == pytest.approx(expected)


def test_scores_of_ones_own_are_kept(guarded, documents):
    store_class, options = chroma(relevance_score_fn=lambda distance: 0.25)
    made = ContextualRetriever.from_documents(
        documents, embeddings=guarded(), vectorstore_class=store_class, **options
    ).vectorstore
    assert {score for _, score in made.similarity_search_with_relevance_scores(QUERY, k=9)} == {0.25}


def test_an_unknown_store_is_refused(guarded):
    with pytest.raises(ConfigurationError, match="ContextualVectorStore is not a supported vector store"):
        with_cosine_relevance(ContextualVectorStore(guarded()))
