"""LangChain's stores, over real servers: they find what exact search finds, and no context meets another's vectors."""

import numpy as np
import pytest
from bag_of_words import BagOfWords
from servers import OVER_SERVERS
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    ContextualRetriever,
    check_index,
    context_filter,
    read_context,
    stamped,
    write_context,
)

pytestmark = OVER_SERVERS


def built(service, documents, embeddings, name, **options):
    given = {**service.options(name), **options}
    return ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=service.store_class(), **given
    )


def test_a_store_finds_what_exact_search_finds(service, documents, guarded, shows):
    embeddings = guarded()
    retriever = built(service, documents, embeddings, service.name())
    rows = np.asarray(embeddings.embed_documents([document.page_content for document in documents]))
    for query in QUERIES:
        cosines = rows @ np.asarray(embeddings.embed_query(query))
        found = [cosines[int(hit.metadata["row"])] for hit in retriever.invoke(query, k=10)]
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:10], atol=1e-5)
    shows(service, "tested on", "in process" if service.running is None else service.running.title)


def test_relevance_is_that_of_the_cosine(service, documents, guarded):
    embeddings = guarded()
    store = built(service, documents, embeddings, service.name()).vectorstore
    rows = np.asarray(embeddings.embed_documents([document.page_content for document in documents]))
    cosines = rows @ np.asarray(embeddings.embed_query(QUERIES[0]))
    scored = store.similarity_search_with_relevance_scores(QUERIES[0], k=5)
    expected = [(1 + cosines[int(hit.metadata["row"])]) / 2 for hit, _ in scored]
    np.testing.assert_allclose([score for _, score in scored], expected, atol=1e-5)


def test_unguarded_a_collection_reloaded_with_another_context_finds_the_wrong_documents(
    service, unguarded, documents, other, hit_rate
):
    name = service.name()
    store = service.open(unguarded(), name)
    store.add_documents(documents, ids=[service.name()[1:] for _ in documents])
    assert hit_rate(store) == 1
    assert hit_rate(service.open(unguarded(other), name)) < 0.3


def test_a_collection_of_another_context_is_refused(service, documents, guarded, other, hit_rate, shows):
    name, embeddings, foreign = service.name(), guarded(), guarded(other)
    retriever = built(service, documents, embeddings, name)
    assert hit_rate(retriever.vectorstore) == 1
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        built(service, documents[:3], foreign, name)
    store = service.open(foreign, name)
    assert check_index(store, foreign).verdict == "another context"
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        ContextualRetriever(embeddings=foreign, vectorstore=store)
    again = ContextualRetriever(embeddings=embeddings, vectorstore=service.open(embeddings, name))
    again.add_documents(documents[:1], ids=[service.name()[1:]])
    write_context(again.vectorstore, foreign, replace=True)
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        again.add_documents(documents)
    write_context(again.vectorstore, embeddings, replace=True)
    assert check_index(service.open(embeddings, name), embeddings).verdict == "same context"
    assert len(again.invoke("red cat", k=99)) == len(documents) + 1
    shows(service, "the context is in", service.carried)


def test_a_collection_with_documents_of_an_unknown_context_is_not_claimed(service, documents, guarded, unguarded):
    name, embeddings = service.name(), guarded()
    service.open(unguarded(), name).add_documents(documents[:3], ids=[service.name()[1:] for _ in range(3)])
    with pytest.raises(ContextMismatchError, match="store already holds 3 documents and does not record"):
        built(service, documents, embeddings, name)
    store = service.open(embeddings, name)
    assert read_context(store) is None
    write_context(store, embeddings)
    assert check_index(service.open(embeddings, name), embeddings).verdict == "same context"


def test_a_filter_keeps_to_the_context_and_to_what_else_is_asked(service, documents, guarded, other, shows):
    embeddings, foreign = guarded(), guarded(other)
    store = service.open(embeddings, service.name())
    if service.filter_key is None:
        with pytest.raises(ConfigurationError, match="does not filter"):
            context_filter(embeddings, store)
        return shows(service, "filter", "none")
    ids = [service.name()[1:] for _ in documents]
    store.add_documents(stamped(documents, embeddings), ids=ids)
    ours, theirs = ({service.filter_key: context_filter(each, store), "k": 99} for each in (embeddings, foreign))
    assert len(store.similarity_search("red cat", **ours)) == len(documents)
    assert store.similarity_search("red cat", **theirs) == []
    narrowed = context_filter(embeddings, store, also=service.rows_above(50))
    found = store.similarity_search("red cat", k=9, **{service.filter_key: narrowed})
    assert {hit.metadata["row"] for hit in found} == {51, 52, 53}
    with pytest.raises(ConfigurationError, match="a filter for"):
        context_filter(embeddings, store, also=7)
    shows(service, "filter", f"`{service.filter_key}=`")


def test_documents_of_the_same_ids_are_replaced(service, documents, guarded):
    retriever = built(service, documents[:4], guarded(), service.name(), ids=[f"{n:032x}" for n in range(4)])
    retriever.add_documents(documents[4:6], ids=[f"{n:032x}" for n in (2, 4)])
    rows = sorted(int(hit.metadata["row"]) for hit in retriever.invoke("red cat", k=99))
    assert rows == [0, 1, 3, 4, 5]


def test_a_collection_of_another_width_is_an_error_and_nothing_is_lost(service, documents, guarded, unguarded, shows):
    narrow, name, silent = ContextualEmbeddings(encoder=BagOfWords(8)).fit(CORPUS), service.name(), service.name()
    embeddings = guarded()
    built(service, documents, embeddings, name)
    # Qdrant's store compares the widths before we are asked; the others' clients say it in words of their own.
    with pytest.raises(Exception, match=r"index was built under context|dimensions"):
        built(service, documents[:2], narrow, name)
    service.open(unguarded(), silent).add_documents(documents[:3], ids=[service.name()[1:] for _ in range(3)])
    for use in (lambda found: found.invoke("red cat"), lambda found: found.add_documents(documents[:1])):
        with pytest.raises(Exception, match=r"(?i)dim|width|length|shapes|vector column"):
            use(ContextualRetriever(embeddings=narrow, vectorstore=service.open(narrow, silent)))
    for each, held in ((name, len(documents)), (silent, 3)):
        assert len(service.open(embeddings, each).similarity_search("red cat", k=99)) == held
    shows(service, "vectors of another width", "an error")
