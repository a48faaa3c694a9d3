"""LangChain's own test suite for vector stores, and tests of paths, filters and searches."""

import logging

import numpy as np
import pytest
from bag_of_words import BagOfWords
from exchanged import killed_between_renames
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import (
    ConfigurationError,
    DuplicateIdError,
    FilterError,
    InvalidDocumentError,
    InvalidTextError,
)
from cde_retrievers.index import ContextualIndex
from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore

DOCUMENTS = [
    Document(id=f"d{i}", page_content=text, metadata={"row": i, "even": i % 2 == 0}) for i, text in enumerate(CORPUS)
]


@pytest.fixture
def embedder():
    return BagOfWords()


@pytest.fixture
def embeddings(embedder):
    return ContextualEmbeddings(encoder=embedder).fit(CORPUS)


@pytest.fixture
def store(embeddings, tmp_path):
    return ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=tmp_path / "index")


@pytest.fixture
def twin(embeddings):
    """The slow obvious store."""
    return InMemoryVectorStore.from_documents(DOCUMENTS, embeddings)


class TestStandardOnDisk(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, model_folder, tmp_path):
        embeddings = ContextualEmbeddings(
            model=str(model_folder), device="cpu", dtype="float32", context_documents=CORPUS
        )
        return ContextualVectorStore(embeddings, tmp_path / "index")


class TestStandardInATemporaryDirectory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, embeddings):
        return ContextualVectorStore(embeddings)


def ids_of(documents):
    return [document.id for document in documents]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("k", [1, 5, 1_000])
def test_a_search_scores_as_the_slow_twin(store, twin, query, k):
    found = store.similarity_search_with_score(query, k, search_type="similarity")
    expected = twin.similarity_search_with_score(query, k)
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-6)
    scores = {document.id: score for document, score in twin.similarity_search_with_score(query, 1_000)}
    for document, score in found:
        assert document == DOCUMENTS[int(document.id[1:])]
        assert score == pytest.approx(scores[document.id], abs=1e-6)


@pytest.mark.parametrize("lambda_mult", [0.0, 0.4, 1.0])
def test_marginal_relevance_chooses_as_the_slow_twin(make_encoder, lambda_mult):
    # A real encoder: among its scores there are no ties, which either may break its own way.
    embeddings = ContextualEmbeddings(encoder=make_encoder()).fit(CORPUS)
    store, twin = (made.from_documents(DOCUMENTS, embeddings) for made in (ContextualVectorStore, InMemoryVectorStore))
    options = {"k": 6, "fetch_k": 15, "lambda_mult": lambda_mult}
    for query in QUERIES:
        expected = ids_of(twin.max_marginal_relevance_search(query, **options))
        assert ids_of(store.max_marginal_relevance_search(query, **options)) == expected
        vector = embeddings.embed_query(query)
        assert ids_of(store.max_marginal_relevance_search_by_vector(vector, **options)) == expected


def test_marginal_relevance_bears_a_deletion_between_two_looks(store, monkeypatch):
    look = store.index.vectors
    nearest = store.similarity_search(QUERIES[1], 1)[0].id

    def look_after_a_deletion(ids):
        store.delete([nearest])
        return look(ids)

    monkeypatch.setattr(store.index, "vectors", look_after_a_deletion)
    found = ids_of(store.max_marginal_relevance_search(QUERIES[1], k=10))
    assert len(found) == 10
    assert nearest not in found


def test_marginal_relevance_looks_at_no_fewer_than_k(store):
    assert len(store.max_marginal_relevance_search(QUERIES[0], k=30, fetch_k=5)) == 30
    assert store.max_marginal_relevance_search(QUERIES[0], filter={"row": 1_000}) == []


def test_an_embedded_query_finds_what_its_text_finds(store, embeddings):
    vector = embeddings.embed_query(QUERIES[1])
    cosine = {"k": 3, "search_type": "similarity"}
    assert store.similarity_search_by_vector(vector, 3) == store.similarity_search(QUERIES[1], **cosine)
    scored = store.similarity_search_with_score(QUERIES[1], **cosine)
    assert store.similarity_search_with_score_by_vector(vector, 3) == scored
    with pytest.raises(ConfigurationError, match=r"vectors of shape \(n, 32\) are needed, found \(1, 31\)"):
        store.similarity_search_by_vector(vector[:31])
    for wrong in (["text"] * 32, [*vector[:31], float("nan")], None, [vector]):
        with pytest.raises(ConfigurationError, match="are needed"):
            store.similarity_search_by_vector(wrong)


FILTERED = {"even": True, "row": {"$gte": 10, "$lt": 20}}


def test_every_search_can_be_filtered(store, embeddings):
    expected = {"d10", "d12", "d14", "d16", "d18"}
    vector = embeddings.embed_query(QUERIES[0])
    for found in (
        store.similarity_search(QUERIES[0], 50, filter=FILTERED),
        [document for document, _ in store.similarity_search_with_relevance_scores(QUERIES[0], 50, filter=FILTERED)],
        store.similarity_search_by_vector(vector, 50, filter=FILTERED),
        store.max_marginal_relevance_search(QUERIES[0], 50, filter=FILTERED),
        store.as_retriever(search_kwargs={"k": 50, "filter": FILTERED}).invoke(QUERIES[0]),
    ):
        assert set(ids_of(found)) == expected


def test_an_impossible_filter_is_refused(store):
    with pytest.raises(FilterError, match=r"no document has the metadata field 'raw'"):
        store.similarity_search("x", filter={"raw": 3})
    with pytest.raises(FilterError, match=r"a filter is a mapping such as .* found function"):
        store.similarity_search("x", filter=lambda document: True)


async def test_a_threshold_leaves_out_what_is_below(store, caplog):
    relevant = store.similarity_search_with_relevance_scores(QUERIES[1], 1_000)
    threshold = relevant[4][1]
    expected = [document for document, relevance in relevant if relevance >= threshold]
    assert 5 <= len(expected) < len(CORPUS)
    options = {"k": 1_000, "score_threshold": threshold}
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=options)
    assert retriever.invoke(QUERIES[1]) == await retriever.ainvoke(QUERIES[1]) == expected
    with caplog.at_level(logging.ERROR):
        assert retriever.invoke(QUERIES[1], score_threshold=1.0) == []


@pytest.mark.parametrize("search_type", ["hybrid", "similarity", "lexical", "mmr"])
async def test_retrievers_of_every_kind_find_the_same_async(store, search_type):
    retriever = store.as_retriever(search_type=search_type, search_kwargs={"k": 3})
    assert len(retriever.invoke(QUERIES[0])) == 3
    assert await retriever.ainvoke(QUERIES[0], k=2) == retriever.invoke(QUERIES[0], k=2)


async def test_async_twins_do_the_same(embeddings, tmp_path):
    store = await ContextualVectorStore.afrom_documents(DOCUMENTS, embeddings, path=tmp_path / "index")
    vector = embeddings.embed_query(QUERIES[0])
    assert await store.asimilarity_search(QUERIES[0], 3) == store.similarity_search(QUERIES[0], 3)
    assert await store.asimilarity_search_with_score(QUERIES[0], 3) == store.similarity_search_with_score(QUERIES[0], 3)
    assert await store.asimilarity_search_by_vector(vector, 3) == store.similarity_search_by_vector(vector, 3)
    assert await store.amax_marginal_relevance_search(QUERIES[0]) == store.max_marginal_relevance_search(QUERIES[0])
    assert await store.aadd_texts(["a purple whale"], [{"row": -1}], ids=["w"]) == ["w"]
    assert await store.aget_by_ids(["w"]) == [Document(id="w", page_content="a purple whale", metadata={"row": -1})]
    assert await store.adelete(["w", "unknown"])
    assert await store.aget_by_ids(["w", "d1"]) == [DOCUMENTS[1]]


def test_an_unknown_option_is_refused(store, embeddings):
    for call in (
        lambda: store.similarity_search("x", where={"row": 1}),
        lambda: store.similarity_search("x", score_threshold=0.5),
        lambda: store.max_marginal_relevance_search("x", where={"row": 1}),
        lambda: store.add_texts(["x"], namespace="a"),
        lambda: store.delete(["d1"], namespace="a"),
        lambda: ContextualVectorStore.from_texts(["x"], embeddings, persist_directory="x"),
    ):
        with pytest.raises(ConfigurationError, match=r"option '(where|score_threshold|namespace|per)"):
            call()
    assert len(store.index) == len(DOCUMENTS)


@pytest.mark.parametrize("options", [{"k": 0}, {"k": -1}, {"k": 2.5}, {"k": 3, "lambda_mult": 1.5}])
def test_impossible_numbers_are_refused(store, options):
    with pytest.raises(ConfigurationError, match=r"must be a"):
        store.max_marginal_relevance_search("x", **options)
    with pytest.raises(ConfigurationError, match=r"batch_size must be a whole number"):
        store.add_texts(["x"], batch_size=0)


def test_ids_come_from_the_call_or_the_document_or_are_made_up(store):
    documents = [Document(id="mine", page_content="a purple whale"), Document(page_content="an orange snail")]
    mine, made = store.add_documents(iter(documents))
    assert mine == "mine"
    assert len(made) == 36
    assert store.add_documents(documents, ids=["one", "two"]) == ["one", "two"]
    assert store.add_texts(text for text in ["x", "y"])[0] in store.index
    assert len(store.index) == len(DOCUMENTS) + 6


def test_a_bad_document_is_refused_before_anything_is_embedded(store, embeddings, embedder):
    before = embedder.embedded

    def make(texts, *metadatas, **options):
        return ContextualVectorStore.from_texts(texts, embeddings, *metadatas, **options)

    for add in (store.add_texts, make):
        with pytest.raises(InvalidDocumentError, match=r"document 1: metadata\['when'\] is a object"):
            add(["a", "b"], [{}, {"when": object()}], batch_size=1)
        with pytest.raises(InvalidTextError, match=r"put a single text into a list"):
            add("a text")
        with pytest.raises(ConfigurationError, match=r"metadatas must be one per text, found 1 for 2 texts"):
            add(["a", "b"], [{}])
        with pytest.raises(ConfigurationError, match=r"ids must be one per text, found 1 for 2 texts"):
            add(["a", "b"], ids=["x"])
        with pytest.raises(DuplicateIdError, match=r"'x'"):
            add(["a", "b"], ids=["x", "x"], batch_size=1)
    assert embedder.embedded == before
    assert len(store.index) == len(DOCUMENTS)


def test_deleting_without_ids_deletes_everything(store, tmp_path):
    assert store.delete()
    assert store.similarity_search("x") == []
    assert len(ContextualIndex.open(tmp_path / "index", read_only=True)) == 0


def test_langchains_indexing_adds_changes_and_removes(store):
    records = InMemoryRecordManager("test")
    records.create_schema()
    options = {"cleanup": "full", "key_encoder": "sha256", "batch_size": 20}
    assert index(DOCUMENTS, records, store, **options)["num_added"] == len(DOCUMENTS)
    done = index(DOCUMENTS[5:], records, store, **options)
    assert (done["num_added"], done["num_skipped"], done["num_deleted"]) == (0, len(DOCUMENTS) - 5, 5)
    store.delete(store.index.ids())
    assert index([], records, store, **options)["num_deleted"] == len(DOCUMENTS) - 5


def test_an_index_whose_replacement_was_interrupted_is_opened(embeddings, tmp_path):
    ContextualVectorStore.from_texts(CORPUS, embeddings, path=tmp_path / "index")
    killed_between_renames(tmp_path / "index")
    assert len(ContextualVectorStore(embeddings, tmp_path / "index").index) == len(CORPUS)
