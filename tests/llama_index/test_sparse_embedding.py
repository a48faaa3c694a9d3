"""Sparse vectors under a context in LlamaIndex's interface, and as the two functions that its Qdrant store takes."""

import pytest
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from tiny import CORPUS

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.llama_index import ContextualEmbedding, ContextualSparseEmbedding
from cde_retrievers.sparse.bm25 import document_rows, query_rows


@pytest.fixture
def embed_model(make_encoder):
    return ContextualEmbedding(encoder=make_encoder("whitening")).fit(CORPUS)


def as_mappings(rows):
    return [dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) for row in rows]


async def test_vectors_are_those_of_the_context(embed_model):
    sparse = ContextualSparseEmbedding(embed_model)
    assert isinstance(sparse, BaseSparseEmbedding)
    statistics = embed_model.context.term_statistics()
    documents, queries = as_mappings(document_rows(CORPUS, statistics)), as_mappings(query_rows(CORPUS, statistics))
    assert sparse.get_text_embedding_batch(CORPUS) == documents
    assert sparse.get_query_embedding(CORPUS[0]) == await sparse.aget_query_embedding(CORPUS[0]) == queries[0]
    assert await sparse.aget_text_embedding(CORPUS[1]) == documents[1]


def test_the_functions_that_a_qdrant_store_takes(embed_model):
    sparse = ContextualSparseEmbedding(embed_model)
    for function, one in (
        (sparse.encode_documents, sparse.get_text_embedding),
        (sparse.encode_queries, sparse.get_query_embedding),
    ):
        terms, values = function(CORPUS[:2])
        assert [dict(zip(*row, strict=True)) for row in zip(terms, values, strict=True)] == [one(t) for t in CORPUS[:2]]


def test_an_embedding_that_was_refitted_is_refused(embed_model):
    sparse = ContextualSparseEmbedding(embed_model)
    embed_model.fit(CORPUS[::2], refit=True)
    with pytest.raises(ContextMismatchError, match="have since been refitted"):
        sparse.get_query_embedding("cat")
