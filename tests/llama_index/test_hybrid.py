"""Modes hybrid, sparse and text_search find what the index finds, and what the slow scoring of every node finds."""

import dataclasses

import numpy as np
import pytest
from bag_of_words import BagOfWords
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.llama_index import ContextualEmbedding, ContextualRetriever, ContextualVectorStore
from cde_retrievers.retrieval.fusion import LEXICAL_POWER, LEXICAL_WEIGHT
from cde_retrievers.sparse.bm25 import document_rows, query_rows

TEXTS = [*CORPUS, *(f"see get_item_{i} for error E{1000 + i}" for i in range(20))]
MODES = {"default": "dense", "hybrid": "hybrid", "sparse": "lexical", "text_search": "lexical"}
ASKED = [*QUERIES, "get_item_7", "the of and", ""]
EVEN = MetadataFilters(filters=[MetadataFilter(key="even", value=1)])
SOME = [f"n{i}" for i in (3, 4, 5, 17, 18, 19, 40, 60, 61, 62)]


def make_nodes():
    return [
        TextNode(
            text=text,
            id_=f"n{i}",
            metadata={"even": int(i % 2 == 0)},
            excluded_embed_metadata_keys=["even"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{i // 9}")},
        )
        for i, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def store():
    embed_model = ContextualEmbedding(encoder=BagOfWords()).fit(make_nodes())
    store = ContextualVectorStore(embed_model, verify=False)
    store.add(embed_model(make_nodes()))
    return store


def asked(store, query, mode, **options):
    vector = store.embed_model.get_query_embedding(query) if query else [1.0] + [0.0] * 31
    known = {"similarity_top_k": 5, **options}
    return VectorStoreQuery(query_embedding=vector, query_str=query, mode=VectorStoreQueryMode(mode), **known)


def scores_of(store, query, request, keep=lambda node: True):
    """The slow obvious twin: cosine, BM25 and the score of every node that is kept, by id."""
    nodes = [node for node in store.get_nodes() if keep(node)]
    texts = [node.get_content(MetadataMode.EMBED) for node in nodes]
    statistics = store.client.context.term_statistics()
    vectors = store.client.vectors([node.node_id for node in nodes])
    dense = vectors @ np.array(request.query_embedding, dtype=np.float32)
    asked = query_rows([query], statistics)
    lexical = (document_rows(texts, statistics) @ asked.T).toarray()[:, 0]
    if request.alpha is None:
        fused = dense + LEXICAL_WEIGHT * (lexical / (asked.sum() or 1)) ** LEXICAL_POWER
    else:
        fused = request.alpha * dense + (1 - request.alpha) * lexical / (lexical.max() or 1)
    mode = MODES[request.mode.value]
    if mode == "hybrid" and request.alpha in (0, 1):
        mode = "dense" if request.alpha else "lexical"
    scores = {"dense": dense, "lexical": lexical, "hybrid": fused}[mode]
    found = {node.node_id: float(score) for node, score in zip(nodes, scores, strict=True)}
    return {key: score for key, score in found.items() if mode != "lexical" or score > 0}


def assert_right(store, query, mode, keep=lambda node: True, k=5, **options):
    request = asked(store, query, mode, **options)
    expected = scores_of(store, query, request, keep)
    result = store.query(request)
    np.testing.assert_allclose(result.similarities, sorted(expected.values(), reverse=True)[:k], atol=1e-5)
    for found, score in zip(result.ids, result.similarities, strict=True):
        assert score == pytest.approx(expected[found], abs=1e-5)
    assert [node.node_id for node in result.nodes] == result.ids


@pytest.mark.parametrize("query", ASKED)
@pytest.mark.parametrize("mode", MODES)
async def test_a_mode_finds_what_the_index_finds(store, query, mode):
    assert_right(store, query, mode)
    result = store.query(asked(store, query, mode))
    if query:
        hits = store.client.search(query, 5, mode=MODES[mode])
        assert result.ids == [hit.id for hit in hits]
        np.testing.assert_allclose(result.similarities, [hit.score for hit in hits], atol=1e-6)
    assert (await store.aquery(asked(store, query, mode))).ids == result.ids


@pytest.mark.parametrize("query", ASKED)
@pytest.mark.parametrize("alpha", [0, 0.2, 0.5, 0.9, 1.0])
def test_alpha_weighs_vectors_against_words(store, query, alpha):
    assert_right(store, query, "hybrid", alpha=alpha)
    assert_right(store, query, "hybrid", alpha=alpha, similarity_top_k=1_000, k=1_000)
    assert_right(store, query, "hybrid", lambda node: node.metadata["even"], alpha=alpha, filters=EVEN)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_alpha_finds_the_best_where_few_candidates_are_read_at_first(store, monkeypatch, alpha):
    monkeypatch.setattr("cde_retrievers.llama_index.vector_search._MIN_PREFETCH", 1)
    monkeypatch.setattr("cde_retrievers.llama_index.vector_search._PREFETCH_PER_HIT", 1)
    for query in ("red cat error", "see the bird", "get_item_7 sleeps"):
        assert_right(store, query, "hybrid", alpha=alpha, similarity_top_k=2, k=2)


RESTRICTED = [
    ({"filters": EVEN}, lambda node: node.metadata["even"]),
    ({"doc_ids": ["doc1", "doc7"]}, lambda node: node.ref_doc_id in ("doc1", "doc7")),
    ({"node_ids": SOME}, lambda node: node.node_id in SOME),
    (
        {"node_ids": SOME, "doc_ids": ["doc0", "doc6"], "filters": EVEN},
        lambda node: node.node_id in SOME and node.ref_doc_id in ("doc0", "doc6") and node.metadata["even"],
    ),
    ({"node_ids": ["unknown"]}, lambda node: False),
]


@pytest.mark.parametrize(("options", "keep"), RESTRICTED, ids=["filters", "doc_ids", "node_ids", "all", "none"])
@pytest.mark.parametrize("query", ["red cat", "get_item_7", "the of and"])
@pytest.mark.parametrize("mode", [*MODES, "weighed"])
def test_every_restriction_holds_in_every_mode(store, mode, query, options, keep):
    weighed = {"alpha": 0.4} if mode == "weighed" else {}
    if options.get("node_ids") == ["unknown"]:
        assert store.query(asked(store, query, "hybrid", **weighed, **options)).ids == []
        return
    assert_right(store, query, "hybrid" if weighed else mode, keep, **weighed, **options)


def test_each_mode_has_a_number_of_nodes_of_its_own(store):
    counts = {"similarity_top_k": 2, "sparse_top_k": 3, "hybrid_top_k": 4}
    expected = {"default": 2, "mmr": 2, "sparse": 3, "text_search": 3, "hybrid": 4}
    for mode, count in expected.items():
        assert len(store.query(asked(store, "red cat", mode, **counts)).ids) == count
        assert len(store.query(asked(store, "red cat", mode)).ids) == 5
    for name, mode in (("sparse_top_k", "sparse"), ("hybrid_top_k", "hybrid")):
        with pytest.raises(ConfigurationError, match=f"{name} must be a whole number of at least 1, found 0"):
            store.query(asked(store, "red cat", mode, **{name: 0}))


def test_words_alone_need_no_vector(store):
    query = VectorStoreQuery(query_str="get_item_7", similarity_top_k=1, mode=VectorStoreQueryMode.SPARSE)
    assert store.query(query).ids == [f"n{len(CORPUS) + 7}"]
    hybrid = dataclasses.replace(query, mode=VectorStoreQueryMode.HYBRID)
    assert store.query(dataclasses.replace(hybrid, alpha=0.0)).ids == [f"n{len(CORPUS) + 7}"]
    with pytest.raises(ConfigurationError, match="the query's vector must have 32 numbers, found 0"):
        store.query(hybrid)


@pytest.mark.parametrize("mode", ["hybrid", "sparse", "text_search"])
def test_words_need_the_query_as_a_text(store, mode):
    query = asked(store, "red cat", mode)
    with pytest.raises(ConfigurationError, match=r"needs the query's text; give VectorStoreQuery\(query_str=\.\.\.\)"):
        store.query(dataclasses.replace(query, query_str=None))
    # Vectors alone do not.
    assert store.query(dataclasses.replace(query, query_str=None, mode=VectorStoreQueryMode.HYBRID, alpha=1.0)).ids


@pytest.mark.parametrize("alpha", [-0.1, 1.1, "half", True, float("nan")])
def test_an_impossible_alpha_is_refused(store, alpha):
    with pytest.raises(ConfigurationError, match="alpha must be a number from 0"):
        store.query(asked(store, "red cat", "hybrid", alpha=alpha))


def test_a_sample_of_hybrid_queries_is_verified(store):
    verifying = ContextualVectorStore(store.embed_model, index=store.client)
    query = asked(store, "red cat", "hybrid")
    with pytest.raises(ContextMismatchError, match="the vector of query 'red cat' is not the one"):
        verifying.query(dataclasses.replace(query, query_embedding=[1.0] + [0.0] * 31))
    assert ContextualVectorStore(store.embed_model, index=store.client).query(query).ids


@pytest.fixture
def old(tmp_path):
    """A store over an index as an earlier release built it, without words."""
    embedder = BagOfWords()
    context = dataclasses.replace(embedder.fit_context(CORPUS), terms=None)
    ContextualIndex.build(CORPUS, embedder, tmp_path / "old", context=context)
    return ContextualVectorStore.open(tmp_path / "old", ContextualEmbedding(encoder=embedder), verify=False)


def test_an_index_without_words_is_searched_by_its_vectors(old):
    assert len(old.query(asked(old, "red cat", "default")).ids) == 5
    for mode, options in (("hybrid", {}), ("sparse", {}), ("hybrid", {"alpha": 0.5})):
        with pytest.raises(ConfigurationError, match=r"holds vectors alone: .*call refit\(\)"):
            old.query(asked(old, "red cat", mode, **options))
    with pytest.raises(ContextMismatchError, match="carries no term statistics"):
        old.query(asked(old, "red cat", "hybrid", node_ids=["doc-0", "doc-1"]))
    index = VectorStoreIndex.from_vector_store(old, embed_model=old.embed_model)
    found = ContextualRetriever(index, old.embed_model).retrieve("red cat")
    assert [hit.node_id for hit in found] == old.query(asked(old, "red cat", "default", similarity_top_k=4)).ids


async def test_a_retriever_is_hybrid_where_it_can_be_and_the_users_mode_wins(store):
    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    query = "get_item_7"
    for given, mode, alpha in ((None, "hybrid", None), ("default", "default", None), ("hybrid", "hybrid", 0.3)):
        retriever = ContextualRetriever(index, store.embed_model, vector_store_query_mode=given, alpha=alpha)
        expected = store.query(asked(store, query, mode, alpha=alpha, similarity_top_k=4))
        assert [hit.node_id for hit in retriever.retrieve(query)] == expected.ids
        assert [hit.score for hit in await retriever.aretrieve(query)] == pytest.approx(expected.similarities)
    other = VectorStoreIndex(make_nodes(), embed_model=store.embed_model)
    found = ContextualRetriever(other, store.embed_model).retrieve(query)
    expected = other.as_retriever(similarity_top_k=4).retrieve(query)
    assert [hit.node_id for hit in found] == [hit.node_id for hit in expected]


def test_a_retriever_of_nodes_takes_a_mode_and_refuses_an_unknown_one_before_any_work():
    embed_model = ContextualEmbedding(encoder=BagOfWords())
    with pytest.raises(ConfigurationError, match="vector_store_query_mode 'words' is unknown; use one of default"):
        ContextualRetriever.from_nodes(make_nodes(), embed_model=embed_model, vector_store_query_mode="words")
    assert not embed_model.is_fitted
    sparse = ContextualRetriever.from_nodes(make_nodes(), embed_model=embed_model, vector_store_query_mode="sparse")
    assert sparse.retrieve("get_item_7")[0].node_id == f"n{len(CORPUS) + 7}"
    assert sparse.retrieve("xyzzy") == []
