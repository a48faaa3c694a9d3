"""Hybrid search that databases do themselves, under the guards: by our sparse vectors, or by Postgres' own words."""

from contextlib import suppress

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from served import KINDS, Milvus, PGVectorStore, Qdrant
from servers import OVER_SERVERS
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import (
    ContextualMilvusSparseEmbeddings,
    ContextualRetriever,
    ContextualSparseEmbeddings,
    check_index,
    refit_store,
    write_context,
)

pytestmark = [
    *OVER_SERVERS,
    pytest.mark.filterwarnings("ignore::UserWarning:langchain_milvus"),
]
# The model knows none of them and cannot tell one from another; each is added to a row.
WORDS = {5: "E0308", 14: "E0277", 23: "E0382", 32: "E0499", 41: "E0502", 50: "E0599"}
TEXTS = [f"{text} {WORDS.get(row, '')}".strip() for row, text in enumerate(CORPUS)]
DOCUMENTS = [Document(text, metadata={"row": row}) for row, text in enumerate(TEXTS)]
IDS = [f"{row:08x}-0000-0000-0000-000000000000" for row in range(len(TEXTS))]


def milvus_store(service, embeddings, name):
    sparse = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {"drop_ratio_build": 0.0}}
    return service.store_class()(
        [embeddings, ContextualMilvusSparseEmbeddings(embeddings)],
        vector_field=["dense", "sparse"],
        index_params=[{"index_type": "FLAT", "metric_type": "COSINE"}, sparse],
        search_params=[{"metric_type": "COSINE"}, {"metric_type": "IP"}],
        **service.options(name),
    )


def words_of_postgres(query=""):
    from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig, reciprocal_rank_fusion

    return HybridSearchConfig(tsv_column="words", fts_query=query, fusion_function=reciprocal_rank_fusion)


def postgres_store(service, embeddings, name):
    from sqlalchemy.exc import ProgrammingError

    engine, config = service.engine(), {"hybrid_search_config": words_of_postgres()}
    with suppress(ProgrammingError):  # it exists
        engine.init_vectorstore_table(name, 32, **config)
    return service.store_class().create_sync(engine, embeddings, name, **config)


def qdrant_store(service, embeddings, name):
    from langchain_qdrant import RetrievalMode

    sparse = {"sparse_embedding": ContextualSparseEmbeddings(embeddings), "retrieval_mode": RetrievalMode.HYBRID}
    return service.store_class().from_documents([], embeddings, **sparse, **service.options(name))


OPENED = {Milvus: milvus_store, PGVectorStore: postgres_store, Qdrant: qdrant_store}


@pytest.fixture(params=[kind for kind in KINDS.values() if kind.hybrid], ids=lambda kind: kind.__name__)
def hybrid(request, tmp_path):
    """A service, and the function that opens a store over it that searches by vectors and words."""
    kind = request.param
    service = kind(kind.server and request.getfixturevalue(kind.server), tmp_path)
    yield service, OPENED[kind]
    service.close()


def options_of(store, word):
    """The options of a search for a word."""
    if isinstance(store, PGVectorStore.store_class(None)):
        # By itself this store searches for the words of its first query for ever.
        return {"hybrid_search_config": words_of_postgres(word)}
    if isinstance(store, Milvus.store_class(None)):
        from pymilvus import Function, FunctionType

        weighted = {"reranker": "weighted", "weights": [0.5, 0.5]}
        return {"reranker": Function("fusion", FunctionType.RERANK, input_field_names=[], params=weighted)}
    return {}


def found(retriever, words):
    """The rows among `words` that a retriever finds by the word that was added to them."""
    hits = {row: retriever.invoke(word, **options_of(retriever.vectorstore, word)) for row, word in words.items()}
    return {row for row in words if row in {hit.metadata["row"] for hit in hits[row]}}


def test_vectors_alone_find_no_more_than_two(guarded):
    embeddings = guarded(TEXTS)
    store = InMemoryVectorStore.from_documents(DOCUMENTS, embeddings)
    assert len(found(ContextualRetriever(embeddings=embeddings, vectorstore=store, k=2), WORDS)) <= 2


def test_words_that_the_model_does_not_know_are_found(hybrid, guarded, other, tmp_path, shows):
    (service, opened), embeddings = hybrid, guarded(TEXTS)
    name = service.name()
    store = opened(service, embeddings, name)
    store.add_documents(DOCUMENTS, ids=IDS)
    write_context(store, embeddings)
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store, k=2)
    assert found(retriever, WORDS) == set(WORDS)
    if not isinstance(service, PGVectorStore):
        with pytest.raises(ConfigurationError, match=r"further vectors: '.*sparse'"):
            refit_store(store, embeddings, tmp_path / "new")
    foreign = guarded(other)
    again = opened(service, foreign, name)
    assert check_index(again, foreign).verdict == "another context"
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        ContextualRetriever(embeddings=foreign, vectorstore=again)
    shows(service, "hybrid by itself", service.hybrid)


def test_a_refit_keeps_the_words_of_postgres(postgres, tmp_path, guarded):
    service, embeddings = PGVectorStore(postgres, tmp_path), guarded(CORPUS)
    name = service.name()
    store = postgres_store(service, embeddings, name)
    store.add_documents(DOCUMENTS, ids=IDS)
    write_context(store, embeddings)
    more = Document("white fish eats in the tree E0999", metadata={"row": 99})
    done = refit_store(store, embeddings, tmp_path / "new", [more])
    retriever = ContextualRetriever(embeddings=done.embeddings, vectorstore=done.store, k=2)
    assert found(retriever, WORDS | {99: "E0999"}) == {*WORDS, 99}
    service.close()
