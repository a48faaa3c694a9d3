"""Every search type of a ContextualVectorStore finds what the index finds in the mode that it stands for."""

import dataclasses

import numpy as np
import pytest
from bag_of_words import BagOfWords
from langchain_core.documents import Document
from pydantic import ValidationError
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextMismatchError, InvalidTextError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore
from cde_retrievers.retrieval.fusion import LEXICAL_WEIGHT

NAMES = [f"see get_item_{i} for error E{1000 + i}" for i in range(20)]
DOCUMENTS = [
    Document(id=f"d{i}", page_content=text, metadata={"row": i, "even": i % 2 == 0})
    for i, text in enumerate([*CORPUS, *NAMES])
]
MODES = {"hybrid": "hybrid", "similarity": "dense", "lexical": "lexical", None: None}
ASKED = [*QUERIES, "get_item_7", "error E1003", "the of and", ""]


@pytest.fixture
def embeddings():
    return ContextualEmbeddings(encoder=BagOfWords()).fit(DOCUMENTS)


@pytest.fixture
def store(embeddings, tmp_path):
    return ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=tmp_path / "index")


@pytest.fixture
def old(tmp_path):
    """A store over an index as an earlier release built it, without words."""
    embedder = BagOfWords()
    context = dataclasses.replace(embedder.fit_context(CORPUS), terms=None)
    ContextualIndex.build(CORPUS, embedder, tmp_path / "old", context=context)
    return ContextualVectorStore.open(tmp_path / "old", ContextualEmbeddings(encoder=embedder))


def assert_same(scored, hits):
    assert [document.id for document, _ in scored] == [hit.id for hit in hits]
    np.testing.assert_allclose([score for _, score in scored], [hit.score for hit in hits], atol=1e-6)


@pytest.mark.parametrize("search_type", MODES)
@pytest.mark.parametrize("query", ASKED)
@pytest.mark.parametrize("options", [{"k": 3}, {"k": 1_000}, {"k": 6, "filter": {"even": True}}])
async def test_a_search_finds_what_the_index_finds_in_its_mode(store, search_type, query, options):
    hits = store.index.search(query, mode=MODES[search_type], **options)
    typed = options if search_type is None else {**options, "search_type": search_type}
    assert_same(store.similarity_search_with_score(query, **typed), hits)
    expected = store.similarity_search(query, **typed)
    assert [document.id for document in expected] == [hit.id for hit in hits]
    assert await store.asimilarity_search(query, **typed) == expected
    if search_type is not None:
        assert store.search(query, **typed) == await store.asearch(query, **typed) == expected


def test_hybrid_is_the_default_and_the_first_to_find_a_name(store):
    assert store.similarity_search("get_item_13", 1)[0].id == f"d{len(CORPUS) + 13}"
    assert store.similarity_search("E1013", 1, search_type="lexical")[0].id == f"d{len(CORPUS) + 13}"
    assert store.similarity_search("xyzzy", search_type="lexical") == []


def test_vectors_and_marginal_relevance_stay_dense(store, embeddings):
    vector = embeddings.embed_query("get_item_13")
    by_vector = store.similarity_search_with_score_by_vector(vector, 5)
    assert_same(by_vector, store.index.search("get_item_13", 5, mode="dense"))
    first = store.max_marginal_relevance_search("get_item_13", k=1)
    assert first == store.search("get_item_13", "mmr", k=1) == [by_vector[0][0]]


@pytest.mark.parametrize("query", ASKED)
async def test_relevance_is_the_score_scaled_from_its_range_to_0_to_1(store, query):
    for search_type, highest in ((None, 1 + LEXICAL_WEIGHT), ("hybrid", 1 + LEXICAL_WEIGHT), ("similarity", 1)):
        scored = store.similarity_search_with_score(query, 1_000, search_type=search_type)
        relevant = store.similarity_search_with_relevance_scores(query, 1_000, search_type=search_type)
        assert [document for document, _ in relevant] == [document for document, _ in scored]
        expected = [(1 + score) / (1 + highest) for _, score in scored]
        np.testing.assert_allclose([score for _, score in relevant], expected, atol=1e-6)
        assert all(0 <= score <= 1 for _, score in relevant)
        again = await store.asimilarity_search_with_relevance_scores(query, 1_000, search_type=search_type)
        assert again == relevant


def test_relevance_stays_within_0_to_1_where_scores_are_rounded(store, monkeypatch):
    search = store.index.search_embedded

    def exaggerating(*arguments, **options):
        best, *_, worst = search(*arguments, **options)[0]
        return [[dataclasses.replace(best, score=1.000001), dataclasses.replace(worst, score=-1.000001)]]

    monkeypatch.setattr(store.index, "search_embedded", exaggerating)
    relevant = store.similarity_search_with_relevance_scores(QUERIES[0], search_type="similarity")
    assert [score for _, score in relevant] == [1.0, 0.0]


def test_words_alone_have_no_relevance(store):
    with pytest.raises(ConfigurationError, match=r"\"lexical\" has no relevance scores.*use \"hybrid\""):
        store.similarity_search_with_relevance_scores(QUERIES[0], search_type="lexical")


async def test_a_retriever_is_hybrid_unless_told_otherwise(store):
    query = "get_item_13"
    retriever = store.as_retriever(search_kwargs={"k": 3})
    assert retriever.search_type == "hybrid"
    assert retriever.tags == ["ContextualVectorStore", "ContextualEmbeddings"]
    for search_type in ("hybrid", "similarity", "lexical", "mmr"):
        retriever = store.as_retriever(search_type=search_type, search_kwargs={"k": 3, "filter": {"even": True}})
        expected = store.search(query, search_type, k=3, filter={"even": True})
        assert retriever.invoke(query) == await retriever.ainvoke(query) == expected
        assert len(retriever.invoke(QUERIES[0], k=1)) == len(await retriever.ainvoke(QUERIES[0], k=1)) == 1
    retriever = store.as_retriever(search_type="similarity")
    assert retriever.invoke(query, search_type="lexical") == store.search(query, "lexical")


async def test_a_threshold_is_of_the_hybrid_relevance_or_of_the_cosines(store):
    query = QUERIES[1]
    for chosen in ({}, {"search_type": "similarity"}):
        relevant = store.similarity_search_with_relevance_scores(query, 1_000, **chosen)
        options = {"k": 1_000, "score_threshold": relevant[4][1], **chosen}
        retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=options)
        expected = [document for document, score in relevant if score >= relevant[4][1]]
        assert 5 <= len(expected) < 20
        assert retriever.invoke(query) == await retriever.ainvoke(query) == expected
    with pytest.raises(ValidationError, match="score_threshold"):
        store.as_retriever(search_type="similarity_score_threshold")


async def test_an_unknown_search_type_is_refused(store):
    for call in (
        lambda: store.similarity_search("x", search_type="dense"),
        lambda: store.similarity_search_with_score("x", search_type="mmr"),
        lambda: store.similarity_search_with_relevance_scores("x", search_type="mmr"),
        lambda: store.search("x", "dense"),
        lambda: store.as_retriever().invoke("x", search_type="dense"),
    ):
        with pytest.raises(ConfigurationError, match="search_type"):
            call()
    with pytest.raises(ConfigurationError, match="search_type 'dense' is unknown; use one of hybrid, similarity"):
        await store.asearch("x", "dense")
    with pytest.raises(ValidationError, match="search_type of dense not allowed"):
        store.as_retriever(search_type="dense")
    for search_type in ("hybrid", "similarity", "lexical"):
        with pytest.raises(InvalidTextError):
            store.similarity_search(7, search_type=search_type)


def test_an_index_without_words_is_searched_by_its_vectors(old):
    assert old.as_retriever().search_type == "similarity"
    found = old.similarity_search_with_score(QUERIES[0])
    assert found == old.similarity_search_with_score(QUERIES[0], search_type="similarity")
    assert old.as_retriever().invoke(QUERIES[0]) == [document for document, _ in found]
    relevant = old.similarity_search_with_relevance_scores(QUERIES[0])
    np.testing.assert_allclose([score for _, score in relevant], [(1 + score) / 2 for _, score in found], atol=1e-6)
    for search_type in ("hybrid", "lexical"):
        with pytest.raises(ConfigurationError, match=r"holds vectors alone: .*call refit\(\)"):
            old.similarity_search(QUERIES[0], search_type=search_type)


@pytest.mark.parametrize("search_type", [None, "hybrid", "similarity", "lexical"])
def test_no_search_survives_a_refit(store, embeddings, search_type):
    embeddings.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError):
        store.similarity_search(QUERIES[0], search_type=search_type)
