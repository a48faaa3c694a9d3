"""Both frameworks give identical vectors for identical input."""

import numpy as np
from tiny import CORPUS, QUERIES

from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.llama_index import ContextualEmbedding


def test_vectors_are_identical(model_folder):
    settings = {"device": "cpu", "dtype": "float32", "context_strategy": "diverse", "context_size": 8}
    langchain = ContextualEmbeddings(model=str(model_folder), **settings).fit(CORPUS)
    llama_index = ContextualEmbedding(str(model_folder), **settings).fit(CORPUS)
    assert langchain.context_fingerprint == llama_index.context_fingerprint
    np.testing.assert_array_equal(langchain.embed_documents(CORPUS), llama_index.get_text_embedding_batch(CORPUS))
    for query in QUERIES:
        assert langchain.embed_query(query) == llama_index.get_query_embedding(query)
