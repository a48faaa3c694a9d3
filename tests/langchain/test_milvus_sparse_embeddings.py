"""Sparse vectors under a context, in a real Milvus: it ranks by BM25 under the context, and searches by both."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_milvus import Milvus
from pymilvus import Function, FunctionType

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.langchain import ContextualEmbeddings, ContextualMilvusSparseEmbeddings
from cde_retrievers.sparse.bm25 import document_rows, query_rows

TEXTS = [
    "os.path.join joins path segments",
    "os.path.split splits a path",
    "error E0277 of rustc",
    "error E0308 of rustc",
]
# LangChain's defaults leave out a fifth of the terms of a query.
SPARSE_INDEX = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {"drop_ratio_build": 0.0}}
SPARSE_SEARCH = {"metric_type": "IP"}
DENSE_INDEX = {"index_type": "FLAT", "metric_type": "COSINE"}

pytestmark = [
    pytest.mark.slow,  # it starts a server of its own
    pytest.mark.filterwarnings("ignore::UserWarning:langchain_milvus"),
]


@pytest.fixture
def embeddings(encoder):
    return ContextualEmbeddings(encoder=encoder).fit(TEXTS)


@pytest.fixture
def connection(tmp_path):
    return {"connection_args": {"uri": str(tmp_path / "milvus.db")}, "consistency_level": "Strong", "auto_id": True}


@pytest.mark.parametrize(("query", "place"), [("E0308", 3), ("os.path.split", 1), ("joining segments", 0)])
def test_a_milvus_store_ranks_by_bm25_under_the_context(embeddings, connection, query, place):
    store = Milvus(
        ContextualMilvusSparseEmbeddings(embeddings),
        vector_field="sparse",
        index_params=SPARSE_INDEX,
        search_params=SPARSE_SEARCH,
        **connection,
    )
    store.add_documents([Document(text) for text in TEXTS])
    statistics = embeddings.context.term_statistics()
    expected = (query_rows([query], statistics) @ document_rows(TEXTS, statistics).T).toarray()[0]
    found = store.similarity_search_with_score(query, k=4)
    assert found[0][0].page_content == TEXTS[place]
    scores = {document.page_content: score for document, score in found}
    np.testing.assert_allclose([scores.get(text, 0.0) for text in TEXTS], expected, atol=1e-4)


def test_hybrid_search_has_both(embeddings, connection):
    store = Milvus.from_documents(
        [Document(text) for text in TEXTS],
        [embeddings, ContextualMilvusSparseEmbeddings(embeddings)],
        vector_field=["dense", "sparse"],
        index_params=[DENSE_INDEX, SPARSE_INDEX],
        search_params=[{"metric_type": "COSINE"}, SPARSE_SEARCH],
        **connection,
    )
    equal = {"reranker": "weighted", "weights": [0.5, 0.5]}
    fusion = Function("fusion", FunctionType.RERANK, input_field_names=[], params=equal)
    assert store.similarity_search("E0308", k=1, reranker=fusion)[0].page_content == TEXTS[3]


def test_embeddings_that_were_refitted_are_refused(embeddings):
    sparse = ContextualMilvusSparseEmbeddings(embeddings)
    sparse.embed_query("path")
    embeddings.fit([*TEXTS, "one more text"], refit=True)
    for use in (lambda: sparse.embed_query("path"), lambda: sparse.embed_documents(TEXTS)):
        with pytest.raises(ContextMismatchError, match="have since been refitted"):
            use()
