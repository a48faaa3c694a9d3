"""Stores of both frameworks over an index that cuts embeddings: what they compare themselves is cut too."""

import numpy as np
import pytest
from bag_of_words import BagOfWords
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from tiny import CORPUS, QUERIES

from cde_retrievers.index import ContextualIndex
from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.langchain import ContextualVectorStore as ChainVectorStore
from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore

DIMENSIONS = 20


@pytest.fixture
def index(tmp_path):
    embedder = BagOfWords()
    context = embedder.fit_context(CORPUS)
    return ContextualIndex.create(embedder, context, tmp_path / "index", dtype="int8", dimensions=DIMENSIONS)


def cosines(index, query):
    """The slow obvious twin: cosines by id."""
    first = index.embedder.encode_queries([query], index.context)[0, :DIMENSIONS]
    ids = index.ids()
    return dict(zip(ids, index.vectors(ids) @ (first / np.linalg.norm(first)), strict=True))


@pytest.mark.parametrize("query", QUERIES)
def test_marginal_relevance_of_langchain_is_by_cut_vectors(index, query):
    store = ChainVectorStore(ContextualEmbeddings(encoder=index.embedder).with_context(index.context), index=index)
    ids = store.add_texts(CORPUS)
    cosine = cosines(index, query)
    found = store.max_marginal_relevance_search(query, k=4, fetch_k=20, lambda_mult=1.0)
    assert len(ids) == len(cosine)
    np.testing.assert_allclose([cosine[hit.id] for hit in found], sorted(cosine.values())[::-1][:4], atol=1e-6)


@pytest.mark.parametrize("query", QUERIES)
def test_what_llama_index_ranks_is_ranked_by_cut_vectors(index, query):
    embed_model = ContextualEmbedding(encoder=index.embedder).with_context(index.context)
    store = ContextualVectorStore(embed_model, index=index)
    store.add(embed_model([TextNode(text=text, id_=f"n{i}") for i, text in enumerate(CORPUS)]))
    cosine = cosines(index, query)
    some = [f"n{i}" for i in range(0, len(CORPUS), 3)]
    asked = {"query_embedding": embed_model.get_query_embedding(query), "query_str": query, "similarity_top_k": 4}
    named = store.query(VectorStoreQuery(**asked, node_ids=some))
    np.testing.assert_allclose(
        named.similarities, sorted((cosine[identity] for identity in some), reverse=True)[:4], atol=1e-6
    )
    diverse = store.query(VectorStoreQuery(**asked, mode=VectorStoreQueryMode.MMR, mmr_threshold=1.0))
    np.testing.assert_allclose([cosine[i] for i in diverse.ids], sorted(cosine.values())[::-1][:4], atol=1e-6)
    weighed = store.query(VectorStoreQuery(**asked, mode=VectorStoreQueryMode.HYBRID, alpha=0.999))
    assert len(weighed.ids) == 4
