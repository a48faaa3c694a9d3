"""Sparse vectors under a context, in a real Qdrant store: exact identifiers are found, guarded as dense vectors are."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import FakeEmbeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode

from cde_retrievers.errors import ConfigurationError, ContextMismatchError, ContextNotFittedError, InvalidTextError
from cde_retrievers.langchain import ContextualEmbeddings, ContextualSparseEmbeddings
from cde_retrievers.sparse.bm25 import document_rows, query_rows

TEXTS = [
    "os.path.join joins path segments",
    "os.path.split splits a path",
    "error E0277 of rustc",
    "error E0308 of rustc",
]


@pytest.fixture
def embeddings(encoder):
    return ContextualEmbeddings(encoder=encoder).fit(TEXTS)


def store(embeddings, mode):
    return QdrantVectorStore.from_documents(
        [Document(text) for text in TEXTS],
        embeddings,
        sparse_embedding=ContextualSparseEmbeddings(embeddings),
        retrieval_mode=mode,
        location=":memory:",
    )


@pytest.mark.parametrize(("query", "place"), [("E0308", 3), ("os.path.split", 1), ("joining segments", 0)])
def test_a_qdrant_store_ranks_by_bm25_under_the_context(embeddings, query, place):
    statistics = embeddings.context.term_statistics()
    expected = (query_rows([query], statistics) @ document_rows(TEXTS, statistics).T).toarray()[0]
    found = store(embeddings, RetrievalMode.SPARSE).similarity_search_with_score(query, k=4)
    assert found[0][0].page_content == TEXTS[place]
    scores = {document.page_content: score for document, score in found}
    np.testing.assert_allclose([scores.get(text, 0.0) for text in TEXTS], expected, atol=1e-4)


def test_hybrid_search_has_both(embeddings):
    hits = store(embeddings, RetrievalMode.HYBRID).similarity_search("E0308", k=2)
    assert TEXTS[3] in [hit.page_content for hit in hits]


def test_a_query_without_known_words_finds_nothing(embeddings):
    sparse = ContextualSparseEmbeddings(embeddings)
    for text in ("the of", "", "\U0001f600"):
        assert sparse.embed_query(text).indices == []


def test_embeddings_that_were_refitted_are_refused(embeddings):
    sparse = ContextualSparseEmbeddings(embeddings)
    sparse.embed_query("path")
    embeddings.fit([*TEXTS, "one more text"], refit=True)
    for use in (lambda: sparse.embed_query("path"), lambda: sparse.embed_documents(TEXTS)):
        with pytest.raises(ContextMismatchError, match="have since been refitted"):
            use()


def test_what_has_no_term_statistics_is_refused(encoder, embeddings):
    with pytest.raises(ConfigurationError, match="bound to a context, found FakeEmbeddings"):
        ContextualSparseEmbeddings(FakeEmbeddings(size=3))
    with pytest.raises(ContextNotFittedError):
        ContextualSparseEmbeddings(ContextualEmbeddings(encoder=encoder))
    with pytest.raises(InvalidTextError):
        ContextualSparseEmbeddings(embeddings).embed_documents("one text")


def test_the_language_of_stems_and_stop_words_is_the_embeddings_own(encoder):
    embeddings = ContextualEmbeddings(encoder=encoder, language="german").fit(TEXTS)
    assert embeddings.context.term_statistics().language == "german"
    with pytest.raises(ConfigurationError, match="no stemmer for language 'klingon'"):
        ContextualEmbeddings(encoder=encoder, language="klingon").fit(TEXTS)
