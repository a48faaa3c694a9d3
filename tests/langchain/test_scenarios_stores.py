"""How a LangChain store can lose or mix a context: each case without the guard, then with it."""

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from cde_retrievers.errors import ContextInUseError, ContextMismatchError, ContextNotFittedError
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    ContextualRetriever,
    check_index,
    context_filter,
    index_key_encoder,
    stamped,
    write_context,
)


@pytest.fixture
def lazy(unguarded):
    """Embeddings that take the first documents they are handed for the corpus."""
    lazy = unguarded(None)
    embed = lazy.embed_documents

    def fit_and_embed(texts):
        if lazy.context is None and len(set(texts)) > 1:
            lazy.refit(texts)
        return embed(texts) if lazy.context is not None else [[0.0] * 32 for _ in texts]

    lazy.embed_documents = fit_and_embed
    return lazy


def test_scenario_1_unguarded_a_lazy_fit_sees_the_first_batch_only(lazy, documents):
    keys = {"batch_size": 10, "key_encoder": "sha256"}
    index(documents, InMemoryRecordManager("shop"), InMemoryVectorStore(lazy), **keys)
    assert lazy.context.corpus_size == 10


def test_scenario_1_unguarded_a_lazy_fit_on_qdrant_sees_a_dummy_text(unguarded, documents):
    qdrant = pytest.importorskip("langchain_qdrant")
    plain = unguarded()
    store = qdrant.QdrantVectorStore.from_documents(documents, plain, location=":memory:")
    assert plain.seen[0] == ["dummy_text"]
    store.max_marginal_relevance_search("red cat")
    assert plain.seen[-1] == ["dummy_text"]


def test_scenario_1_an_unfitted_embedding_is_refused_and_a_fit_is_left_alone(encoder, new_store, documents):
    embeddings = ContextualEmbeddings(encoder=encoder)
    with pytest.raises(ContextNotFittedError, match=r"embeddings\.fit\(documents\)"):
        new_store(embeddings).add_documents(documents)
    with pytest.raises(ContextNotFittedError):
        index(documents, InMemoryRecordManager("shop"), InMemoryVectorStore(embeddings), key_encoder="sha256")
    context = embeddings.fit(documents).context
    assert context.corpus_size == len(documents)
    store, keys = new_store(embeddings), index_key_encoder(embeddings)
    assert index(documents, InMemoryRecordManager("shop"), store, batch_size=10, key_encoder=keys)["num_added"] == 54
    store.max_marginal_relevance_search("red cat")
    assert embeddings.context == context


def test_scenario_2_unguarded_refit_then_add_documents_mixes_contexts(new_store, unguarded, documents, other, hit_rate):
    plain = unguarded()
    store = new_store(plain)
    store.add_documents(documents)
    assert hit_rate(store) == 1
    plain.refit(other)
    store.add_documents([Document(page_content="a new green cat", metadata={"row": 54})])
    assert hit_rate(store) < 0.3  # and not a word


def test_scenario_2_refit_then_add_documents_is_refused(new_store, guarded, documents, other, hit_rate):
    embeddings = guarded()
    store = new_store(embeddings)
    store.add_documents(stamped(documents, embeddings))
    write_context(store, embeddings)
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    with pytest.raises(ContextInUseError, match="pass refit=True and embed the whole corpus again"):
        embeddings.fit(other)
    embeddings.fit(other, refit=True)
    with pytest.raises(ContextMismatchError, match="build the index again"):
        retriever.add_documents([Document("a new green cat")])
    assert check_index(store, embeddings).verdict == "another context"
    assert hit_rate(store, filter=context_filter(embeddings, store)) == 0
    assert store.similarity_search("red cat", filter=context_filter(embeddings, store)) == []


def test_scenario_2_unguarded_one_embedding_for_two_collections_spoils_the_first(
    new_store, unguarded, documents, other, hit_rate
):
    plain = unguarded()
    first, second = new_store(plain), new_store(plain)
    first.add_documents(documents)
    plain.refit(other)
    second.add_documents([Document(text) for text in other])
    assert hit_rate(first) < 0.3


def test_scenario_2_one_embedding_for_two_collections_is_refused_and_a_view_serves_both(
    new_store, guarded, documents, other, hit_rate
):
    embeddings = guarded()
    first = new_store(embeddings)
    first.add_documents(documents)
    with pytest.raises(ContextInUseError, match="to serve a second index make a second embedding object"):
        embeddings.fit(other)
    view = embeddings.with_context(embeddings._binding.encoder.fit_context(other))
    second = new_store(view)
    second.add_documents([Document(text) for text in other])
    assert hit_rate(first) == 1
    assert second.similarity_search(other[3], k=1)[0].page_content == other[3]


def test_scenario_2_unguarded_a_store_reloaded_with_another_context_finds_the_wrong_documents(
    new_store, unguarded, documents, other, hit_rate
):
    store = new_store(unguarded())
    store.add_documents(documents)
    (_, score), *_ = store.similarity_search_with_score(documents[7].page_content, k=1)
    again = new_store.over(store, unguarded(other))
    assert hit_rate(again) < 0.3
    assert abs(score - again.similarity_search_with_score(documents[7].page_content, k=1)[0][1]) > 0.1


def test_scenario_2_a_store_reloaded_with_another_context_is_refused(new_store, guarded, documents, other, hit_rate):
    embeddings, foreign = guarded(), guarded(other)
    store = new_store(embeddings)
    store.add_documents(stamped(documents, embeddings))
    write_context(store, embeddings)
    again = new_store.over(store, foreign)
    with pytest.raises(ContextMismatchError, match=f"built under context {embeddings.context_fingerprint}"):
        ContextualRetriever(embeddings=foreign, vectorstore=again)
    check = check_index(again, foreign)
    assert (check.theirs, check.yours) == (embeddings.context_fingerprint, foreign.context_fingerprint)
    assert hit_rate(again, filter=context_filter(foreign, again)) == 0
    same = new_store.over(store, guarded())
    assert check_index(same, guarded()).verdict == "same context"
    assert hit_rate(same, filter=context_filter(embeddings, same)) == 1
    assert ContextualRetriever(embeddings=guarded(), vectorstore=same).invoke(documents[7].page_content, k=1)
