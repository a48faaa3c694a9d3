"""ContextualHybridRetriever finds over any store what a ContextualVectorStore finds, with the same scores."""

import dataclasses
import logging
from uuid import NAMESPACE_DNS, uuid4, uuid5

import numpy as np
import pytest
from bag_of_words import BagOfWords
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    ContextNotFittedError,
    InvalidTextError,
    PathInUseError,
    WriteError,
)
from cde_retrievers.langchain import ContextualEmbeddings, ContextualHybridRetriever, ContextualVectorStore

TEXTS = [*CORPUS, *(f"see get_item_{i} for error E{1000 + i}" for i in range(20))]
DOCUMENTS = [
    Document(id=str(uuid5(NAMESPACE_DNS, str(i))), page_content=text, metadata={"row": i, "even": i % 2})
    for i, text in enumerate(TEXTS)
]
ASKED = [*QUERIES, "get_item_7", "error E1003", "the of and", "xyzzy"]
LOGGER = "cde_retrievers.langchain.hybrid_search"


@pytest.fixture
def embedder():
    return BagOfWords()


@pytest.fixture
def embeddings(embedder):
    return ContextualEmbeddings(encoder=embedder).fit(DOCUMENTS)


@pytest.fixture
def make(embeddings, tmp_path):
    def make(documents=DOCUMENTS, store_class=InMemoryVectorStore, **options):
        given = {"path": tmp_path / "words", "embeddings": embeddings, "vectorstore_class": store_class, **options}
        return ContextualHybridRetriever.from_documents(documents, **given)

    return make


@pytest.fixture
def twin(embeddings, tmp_path):
    """The index whose hybrid search is to be matched."""
    return ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=tmp_path / "twin")


@pytest.fixture(params=["inmemory", "chroma", "qdrant"])
def store_of(request):
    """The class of a real store, and the options that make a new one of it."""
    if request.param == "chroma":
        chroma = pytest.importorskip("langchain_chroma")
        return {"store_class": chroma.Chroma, "collection_name": f"test-{uuid4().hex}"}
    if request.param == "qdrant":
        return {"store_class": pytest.importorskip("langchain_qdrant").QdrantVectorStore, "location": ":memory:"}
    return {"store_class": InMemoryVectorStore}


def assert_same(scored, expected):
    np.testing.assert_allclose([score for _, score in scored], [score for _, score in expected], atol=1e-5)
    scores = {document.metadata["row"]: score for document, score in expected}
    # Equal scores at the end may belong to other documents.
    for document, score in scored:
        assert score == pytest.approx(scores.get(document.metadata["row"], expected[-1][1]), abs=1e-5)


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _retriever(self, embeddings, tmp_path):
        store = InMemoryVectorStore(embeddings)
        self.parts = {"embeddings": embeddings, "vectorstore": store, "path": tmp_path / "standard"}
        ContextualHybridRetriever(**self.parts).add_documents(DOCUMENTS)

    @property
    def retriever_constructor(self):
        return ContextualHybridRetriever

    @property
    def retriever_constructor_params(self):
        return self.parts

    @property
    def retriever_query_example(self):
        return "red cat"


def test_over_any_store_it_finds_what_an_index_finds(make, store_of, twin):
    retriever = make(**store_of, fetch_k=20)
    for query in ASKED:
        expected = twin.similarity_search_with_score(query, 5, search_type="hybrid")
        assert_same(retriever.search_with_score(query, 5), expected)
    # Among all candidates every document has the same score.
    for query in ASKED:
        expected = twin.similarity_search_with_score(query, 1_000, search_type="hybrid")
        scored = retriever.search_with_score(query, 1_000)
        assert len(scored) == len(DOCUMENTS)
        assert_same(scored, expected)


def test_over_any_store_changes_reach_the_words(make, store_of, twin, caplog):
    retriever = make(DOCUMENTS[:40], **store_of, fetch_k=20)
    retriever.add_documents(DOCUMENTS[40:])
    gone = [document.id for document in DOCUMENTS[:3]]
    retriever.delete(gone)
    twin.delete(gone)
    changed = Document(id=DOCUMENTS[5].id, page_content="a purple walrus", metadata={"row": 5})
    retriever.add_documents([changed])
    twin.add_documents([changed])
    for query in (*ASKED, "walrus"):
        expected = twin.similarity_search_with_score(query, 5, search_type="hybrid")
        assert_same(retriever.search_with_score(query, 5), expected)
    assert not [record for record in caplog.records if record.name == LOGGER]


async def test_a_name_that_vectors_miss_is_found_first(make):
    retriever = make(k=3)
    row = len(CORPUS) + 13
    assert retriever.invoke("get_item_13")[0].metadata["row"] == row
    assert len(retriever.invoke("get_item_13")) == 3
    assert await retriever.ainvoke("get_item_13", k=2) == retriever.invoke("get_item_13", k=2)
    few = make(k=1, fetch_k=1)
    query = "where is get_item_1?"
    assert few.vectorstore.similarity_search(query, k=1)[0].metadata["row"] != len(CORPUS) + 1
    assert few.invoke(query)[0].metadata["row"] == len(CORPUS) + 1


async def test_it_is_opened_again_beside_its_store(make, embeddings, tmp_path):
    made = make()
    again = ContextualHybridRetriever(embeddings=embeddings, vectorstore=made.vectorstore, path=str(tmp_path / "words"))
    for query in ASKED:
        assert again.invoke(query) == await again.ainvoke(query) == made.invoke(query)


def test_candidates_are_embedded_once_while_their_vectors_are_kept(make, embedder):
    retriever = make(fetch_k=10)
    retriever.invoke("red cat sleeps")
    before = embedder.embedded
    retriever.invoke("red cat sleeps")
    assert embedder.embedded == before + 1  # the query
    forgetful = ContextualHybridRetriever(
        embeddings=retriever.embeddings, vectorstore=retriever.vectorstore, path=retriever.path, keep_mib=0, fetch_k=10
    )
    expected = retriever.search_with_score("red cat sleeps")
    assert forgetful.search_with_score("red cat sleeps") == expected
    before = embedder.embedded
    assert forgetful.search_with_score("red cat sleeps") == expected
    assert before + 10 < embedder.embedded <= before + 21


async def test_options_restrict_the_candidates_to_those_of_the_store(make, embeddings, twin):
    retriever = make(fetch_k=1_000)

    def even(document):
        return document.metadata["even"] == 0

    for query in ASKED:
        expected = twin.similarity_search_with_score(query, 5, filter={"even": 0}, search_type="hybrid")
        assert_same(retriever.search_with_score(query, 5, filter=even), expected)
    found = retriever.invoke("get_item_13", filter=even)
    assert await retriever.ainvoke("get_item_13", filter=even) == found
    fixed = ContextualHybridRetriever(
        embeddings=embeddings, vectorstore=retriever.vectorstore, path=retriever.path, search_kwargs={"filter": even}
    )
    assert fixed.invoke("get_item_13") == found
    assert fixed.invoke("E1013", filter=lambda document: False) == []


def test_what_only_the_store_knows_about_is_skipped_or_found_by_its_vector(make, caplog):
    retriever = make(fetch_k=20)
    store = retriever.vectorstore
    best = retriever.invoke("get_item_13")[0]
    store.delete([best.id])
    store.add_documents([Document(id="stranger", page_content="see get_item_13 of a stranger", metadata={})])
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        for _ in range(2):
            scored = retriever.search_with_score("get_item_13 stranger", 1_000)
    told = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(told) == 2
    assert "the store holds documents without sparse rows, such as 'stranger'" in told[0]
    assert f"the sparse rows hold documents that the store no longer has, such as {best.id!r}" in told[1]
    found = {document.id: score for document, score in scored}
    assert best.id not in found
    vector = np.array(retriever.embeddings.embed_query("get_item_13 stranger"))
    cosine = vector @ np.array(retriever.embeddings.embed_documents(["see get_item_13 of a stranger"])[0])
    assert found["stranger"] == pytest.approx(cosine, abs=1e-6)


def test_a_document_that_is_gone_does_not_weigh_the_others_down(make, twin):
    retriever = make(fetch_k=20)
    gone = [document.id for document in DOCUMENTS[-5:]]
    retriever.vectorstore.delete(gone)
    twin.delete(gone)
    expected = twin.similarity_search_with_score("get_item_19", 5, search_type="hybrid")
    assert_same(retriever.search_with_score("get_item_19", 5), expected)


def test_a_store_that_embeds_queries_itself_is_searched_by_text(make, twin):
    class ByText(InMemoryVectorStore):
        def similarity_search_by_vector(self, embedding, k=4, **options):
            raise NotImplementedError

    retriever = make(store_class=ByText, fetch_k=20)
    expected = twin.similarity_search_with_score("get_item_13", 5, search_type="hybrid")
    assert_same(retriever.search_with_score("get_item_13", 5), expected)


def test_an_empty_store_finds_nothing(embeddings, tmp_path):
    store = InMemoryVectorStore(embeddings)
    retriever = ContextualHybridRetriever(embeddings=embeddings, vectorstore=store, path=tmp_path / "words")
    assert retriever.invoke("red cat") == []
    assert retriever.add_documents([]) == []
    retriever.delete(["unknown"])
    assert retriever.invoke("red cat") == []


def test_ids_come_from_the_documents_the_options_or_the_store(make):
    nameless = [Document(page_content=text) for text in CORPUS[:3]]
    retriever = make(nameless)
    assert sorted(len(identity) for identity in retriever._sparse.rows().ids) == [36] * 3
    assert all(document.id is None for document in nameless)
    assert retriever.add_documents(nameless, ids=["a", "b", "c"]) == ["a", "b", "c"]
    made = retriever.add_documents(nameless)
    assert [document.page_content for document in retriever.vectorstore.get_by_ids(made)] == CORPUS[:3]
    assert retriever._sparse.rows().ids[3:] == ("a", "b", "c", *made)


def test_given_ids_are_those_of_from_documents(make, tmp_path):
    retriever = make(DOCUMENTS[:2], ids=["a", "b"])
    assert retriever._sparse.rows().ids == ("a", "b")
    for ids in (["a"], ["a", "a"]):
        with pytest.raises(ConfigurationError, match="each document needs an id of its own, found 1 ids for 2"):
            make(DOCUMENTS[:2], ids=ids, path=tmp_path / "others")


def test_a_store_without_reading_by_ids_is_refused_before_any_work(embedder, embeddings, tmp_path):
    class Blind(InMemoryVectorStore):
        get_by_ids = VectorStore.get_by_ids

    fresh = ContextualEmbeddings(encoder=embedder)
    with pytest.raises(ConfigurationError, match="Blind cannot return documents by their ids"):
        ContextualHybridRetriever.from_documents(
            DOCUMENTS, embeddings=fresh, vectorstore_class=Blind, path=tmp_path / "words"
        )
    assert not fresh.is_fitted
    with pytest.raises(ConfigurationError, match="Blind cannot return documents by their ids"):
        ContextualHybridRetriever(embeddings=embeddings, vectorstore=Blind(embeddings), path=tmp_path / "words")


def test_a_store_that_changes_ids_is_refused(make, tmp_path):
    class Renaming(InMemoryVectorStore):
        def add_documents(self, documents, ids=None, **options):
            super().add_documents(documents, [f"other-{document.id}" for document in documents])
            return [document.id for document in documents]

    with pytest.raises(ConfigurationError, match="does not return its documents with the ids they were added with"):
        make(store_class=Renaming)

    class Forgetting(InMemoryVectorStore):
        def similarity_search_by_vector(self, embedding, k=4, **options):
            return [Document(page_content=d.page_content) for d in super().similarity_search_by_vector(embedding, k)]

    with pytest.raises(ConfigurationError, match="Forgetting returns documents without ids"):
        make(store_class=Forgetting, path=tmp_path / "others").invoke("red cat")


def test_rows_and_stores_of_another_context_are_refused(make, embedder, embeddings, tmp_path):
    made = make()
    other = ContextualEmbeddings(encoder=embedder).fit(CORPUS[:9])
    with pytest.raises(ContextMismatchError, match="the vector store embeds under context"):
        ContextualHybridRetriever(embeddings=other, vectorstore=made.vectorstore, path=tmp_path / "new")
    with pytest.raises(ContextMismatchError, match=r"the sparse rows in .* were made under context"):
        ContextualHybridRetriever(embeddings=other, vectorstore=InMemoryVectorStore(other), path=made.path)
    with pytest.raises(ContextMismatchError, match=r"the sparse rows in .* were made under context"):
        make(embeddings=other)
    terms_less = embeddings.with_context(dataclasses.replace(embeddings.context, terms=None))
    with pytest.raises(ContextMismatchError, match="carries no term statistics"):
        ContextualHybridRetriever(
            embeddings=terms_less, vectorstore=InMemoryVectorStore(terms_less), path=tmp_path / "new"
        )
    unfitted = ContextualEmbeddings(encoder=embedder)
    with pytest.raises(ContextNotFittedError):
        ContextualHybridRetriever(embeddings=unfitted, vectorstore=InMemoryVectorStore(unfitted), path=tmp_path / "new")


async def test_refitting_under_a_retriever_is_noticed(make, embeddings):
    retriever = make()
    embeddings.fit(CORPUS[:9], refit=True)
    for call in (lambda: retriever.invoke("red cat"), lambda: retriever.add_documents(DOCUMENTS[:1])):
        with pytest.raises(ContextMismatchError, match="build the index again"):
            call()
    with pytest.raises(ContextMismatchError, match="build the index again"):
        await retriever.ainvoke("red cat")


def test_bad_settings_and_queries_are_refused(make, embeddings, tmp_path):
    retriever = make()
    parts = {"embeddings": embeddings, "vectorstore": retriever.vectorstore, "path": retriever.path}
    for setting in ({"k": 0}, {"fetch_k": 0}, {"keep_mib": -1}, {"fetchk": 3}):
        with pytest.raises(ValidationError):
            ContextualHybridRetriever(**{**parts, **setting})
    with pytest.raises(ConfigurationError, match="search_kwargs must leave out 'k'"):
        ContextualHybridRetriever(**parts, search_kwargs={"k": 3})
    with pytest.raises(ConfigurationError, match="path must be a path, found an empty string"):
        ContextualHybridRetriever(**{**parts, "path": ""})
    with pytest.raises(ConfigurationError, match="k must be a whole number of at least 1"):
        retriever.invoke("red cat", k=0)
    for query in (7, None, "\ud800"):
        with pytest.raises(InvalidTextError):
            retriever.search_with_score(query)
    with pytest.raises(ConfigurationError, match="put a single one into a list"):
        retriever.delete("d1")


def test_a_path_in_use_is_refused_before_anything_is_added(make, tmp_path):
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("mine")
    added = []

    class Counting(InMemoryVectorStore):
        def add_documents(self, documents, ids=None, **options):
            added.extend(documents)
            return super().add_documents(documents, ids, **options)

    with pytest.raises(PathInUseError, match="holds other files"):
        make(store_class=Counting)
    assert added == []


def test_words_that_cannot_be_written_are_named(make, monkeypatch):
    retriever = make(DOCUMENTS[:40])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("cde_retrievers.storage.atomic.flush", full)
        with pytest.raises(WriteError, match="no space left") as raised:
            retriever.add_documents(DOCUMENTS[40:])
    assert "add them again with the same ids" in raised.value.__notes__[0].lower()
    retriever.add_documents(DOCUMENTS[40:])
    assert retriever.invoke("get_item_13")[0].metadata["row"] == len(CORPUS) + 13


def test_traces_name_model_and_context(make, embeddings):
    assert make().metadata["context_fingerprint"] == embeddings.context_fingerprint
