"""Vectors in a key-value store are found again only under the same context and role."""

import copy
import pickle

import numpy as np
import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError
from tiny import CORPUS

from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.errors import ConfigurationError, ContextNotFittedError, EmbeddingServiceError
from cde_retrievers.llama_index import ContextualEmbedding, WhitenedEmbedding


class Counting(DelegatingEmbedder):
    """Counts the texts that reach the model."""

    def __init__(self, encoder):
        super().__init__(encoder.name, encoder.fingerprint)
        self.encoder, self.texts = encoder, []

    def _embedder(self):
        return self.encoder

    def encode_documents(self, texts, context, show_progress=None):
        self.texts += texts
        return super().encode_documents(texts, context, show_progress)

    def encode_queries(self, texts, context, show_progress=None):
        self.texts += texts
        return super().encode_queries(texts, context, show_progress)


@pytest.fixture
def model(make_encoder):
    return Counting(make_encoder(query_prompt="how do i ", document_prompt="the file "))


@pytest.fixture
def cached(model):
    return ContextualEmbedding(encoder=model, embeddings_cache=SimpleKVStore()).fit(CORPUS)


@pytest.fixture
def plain(model):
    return ContextualEmbedding(encoder=model.encoder).fit(CORPUS)


def test_a_hit_saves_the_forward_pass(cached, plain, model):
    for _ in range(2):
        assert cached.get_text_embedding("red cat") == plain.get_text_embedding("red cat")
        assert cached.get_query_embedding("red cat") == plain.get_query_embedding("red cat")
    assert model.texts == ["red cat", "red cat"], "once as a document, once as a query"


async def test_async_calls_share_the_entries(cached, model):
    text, query = cached.get_text_embedding("red cat"), cached.get_query_embedding("red cat")
    assert await cached.aget_text_embedding("red cat") == text
    assert await cached.aget_query_embedding("red cat") == query
    assert await cached.aget_text_embedding_batch(["red cat"]) == [text]
    assert len(model.texts) == 2


def test_a_batch_embeds_only_what_is_new_and_keeps_its_order(cached, plain, model):
    cached.get_text_embedding("dog")
    batch = ["red cat", "dog", "red cat", "bird"]
    np.testing.assert_allclose(cached.get_text_embedding_batch(batch), plain.get_text_embedding_batch(batch), atol=1e-6)
    assert model.texts == ["dog", "red cat", "bird"]
    assert cached.get_text_embedding_batch([]) == []


def test_contexts_share_no_entries(cached, model):
    before = cached.get_text_embedding("red cat"), cached.get_query_embedding("red cat")
    context = cached.context
    cached.fit(CORPUS[:9], refit=True)
    after = cached.get_text_embedding("red cat"), cached.get_query_embedding("red cat")
    assert len({tuple(vector) for vector in (*before, *after)}) == 4
    assert len(model.texts) == 4
    view = cached.with_context(context)
    assert (view.get_text_embedding("red cat"), view.get_query_embedding("red cat")) == before
    assert len(model.texts) == 4, "a view finds what was kept under its context"


def test_copies_and_pickles_keep_the_cache(make_embedding):
    store = SimpleKVStore()
    embed_model = make_embedding(embeddings_cache=store).fit(CORPUS)
    vector = embed_model.get_text_embedding("red cat")
    entries = store.get_all(f"embeddings/{embed_model.context_fingerprint}/document")
    changed = [-number for number in vector]
    entries["red cat"]["vector"][:] = changed
    for twin in (copy.copy(embed_model), pickle.loads(pickle.dumps(embed_model))):
        assert twin.get_text_embedding("red cat") == changed


@pytest.mark.parametrize("wrong", [[1.0], None, "text", [7.0] * 32, [float("nan")] * 32])
def test_an_unusable_entry_is_refused(make_embedding, wrong):
    store = SimpleKVStore()
    embed_model = make_embedding(embeddings_cache=store).fit(CORPUS)
    embed_model.get_text_embedding("red cat")
    store.get_all(f"embeddings/{embed_model.context_fingerprint}/document")["red cat"]["vector"] = wrong
    with pytest.raises(EmbeddingServiceError, match=r"the cache entry of the text 'red cat' .* give a new cache"):
        embed_model.get_text_embedding_batch(["dog", "red cat"])


def test_a_wrong_answer_is_not_kept(model, monkeypatch):
    store = SimpleKVStore()
    embed_model = ContextualEmbedding(encoder=model, embeddings_cache=store).fit(CORPUS)
    encode = model.encode_documents
    monkeypatch.setattr(model, "encode_documents", lambda *given: 3 * encode(*given))
    with pytest.raises(EmbeddingServiceError, match="has length 3"):
        embed_model.get_text_embedding("red cat")
    assert store.get_all(f"embeddings/{embed_model.context_fingerprint}/document") == {}


def test_a_pickle_of_another_librarys_embedding_keeps_the_cache():
    embed_model = WhitenedEmbedding(MockEmbedding(8), base_name="mock", embeddings_cache=SimpleKVStore())
    embed_model.embedder.store.put("key", {"number": 1})
    assert pickle.loads(pickle.dumps(embed_model)).embedder.store.get("key") == {"number": 1}


def test_nothing_is_looked_up_before_there_is_a_context(make_embedding):
    with pytest.raises(ContextNotFittedError):
        make_embedding(embeddings_cache=SimpleKVStore()).get_text_embedding("red cat")


def test_a_cache_cannot_be_put_where_llama_index_would_look_by_text_alone(cached):
    with pytest.raises(ValidationError, match="frozen"):
        cached.embeddings_cache = SimpleKVStore()


@pytest.mark.parametrize("store", [{}, "cache", 0])
def test_other_objects_than_stores_are_refused(make_embedding, store):
    with pytest.raises(ConfigurationError, match="must be a key-value store of LlamaIndex"):
        make_embedding(embeddings_cache=store)
