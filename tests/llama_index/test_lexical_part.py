"""`lexical_width`: one vector of dense and lexical part, the same in both frameworks."""

import copy
import pickle
from dataclasses import replace

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import ValidationError
from services import PaidService
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.llama_index import (
    ContextualEmbedding,
    ContextualVectorStore,
    WhitenedEmbedding,
    check_index,
    stamped,
)


class PaidEmbedding(BaseEmbedding):
    model_name: str = "paid-1"

    _service: PaidService = PrivateAttr(default_factory=PaidService)

    def _get_text_embedding(self, text):
        return self._service.embed_documents([text])[0]

    def _get_query_embedding(self, query):
        return self._service.embed_query(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


@pytest.fixture(params=["contextual", "whitened"])
def make(request, model_folder):
    """Makes embeddings of either class with other settings."""
    if request.param == "contextual":
        return lambda **settings: ContextualEmbedding(str(model_folder), device="cpu", dtype="float32", **settings)
    base = PaidEmbedding()
    return lambda **settings: WhitenedEmbedding(base, **settings)


@pytest.fixture
def embed_model(make):
    return make(lexical_width=64).fit(CORPUS)


def test_both_frameworks_give_the_same_vectors(loaded):
    langchain = ContextualEmbeddings(encoder=loaded, lexical_width=64).fit(CORPUS)
    llama_index = ContextualEmbedding(encoder=loaded, lexical_width=64).fit(CORPUS)
    assert langchain.stamp == llama_index.stamp
    assert langchain.embed_query("red cat") == llama_index.get_query_embedding("red cat")
    assert langchain.embed_documents(CORPUS[:2]) == llama_index.get_text_embedding_batch(CORPUS[:2])


def test_an_exact_word_is_found_in_a_store_that_knows_cosine_alone(loaded):
    texts = [*CORPUS, "a note on ERR_4711 alone"]
    embed_model = ContextualEmbedding(encoder=loaded, lexical_width=256).fit(texts)
    index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=embed_model)
    (hit,) = index.as_retriever(similarity_top_k=1).retrieve("what is ERR_4711")
    assert hit.text == texts[-1]


def test_vectors_with_and_without_it_never_meet(make, embed_model, make_nodes):
    plain, wider = make().fit(CORPUS), make(lexical_width=65).fit(CORPUS)
    assert len({one.stamp for one in (embed_model, plain, wider)}) == 3
    store = SimpleVectorStore()
    store.add(embed_model(stamped(make_nodes(), embed_model)))
    check_index(store, embed_model).raise_if_different()
    for other in (plain, wider):
        with pytest.raises(ContextMismatchError):
            check_index(store, other).raise_if_different()


def test_a_context_that_carries_no_terms_says_what_to_do(make, tmp_path):
    replace(make().fit(CORPUS).context, terms=None).save(tmp_path / "context")
    with pytest.raises(ContextMismatchError, match=r"carries no term statistics.*fit a context with this release"):
        make(lexical_width=64, context_path=tmp_path / "context")


@pytest.mark.parametrize("cache", [None, SimpleKVStore()], ids=["without", "with a cache"])
def test_pickles_copies_and_views_keep_it(make, cache):
    embed_model = make(lexical_width=64, embeddings_cache=cache).fit(CORPUS)
    for one in (
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(embed_model)))),
        copy.copy(embed_model),
        copy.deepcopy(embed_model),
        embed_model.with_context(embed_model.context),
    ):
        assert (one.lexical_width, one.stamp) == (64, embed_model.stamp)
        assert one.get_query_embedding("red cat") == embed_model.get_query_embedding("red cat")


async def test_async_calls_are_the_same(embed_model):
    assert await embed_model.aget_query_embedding("red cat") == embed_model.get_query_embedding("red cat")
    assert await embed_model.aget_text_embedding("red cat") == embed_model.get_text_embedding("red cat")


def test_the_store_with_its_own_index_takes_them(embed_model, make_nodes, tmp_path):
    store = ContextualVectorStore(embed_model, tmp_path / "index")
    store.add(embed_model(make_nodes()))
    again = ContextualVectorStore.open(tmp_path / "index", embed_model)
    index = VectorStoreIndex.from_vector_store(again, embed_model=embed_model)
    simple = VectorStoreIndex(make_nodes(), embed_model=embed_model)
    found, nearest = (one.as_retriever(similarity_top_k=3).retrieve(CORPUS[5]) for one in (index, simple))
    assert [hit.node_id for hit in found] == [hit.node_id for hit in nearest]


def test_a_dictionary_brings_the_width_back(model_folder, tmp_path):
    embed_model = ContextualEmbedding(str(model_folder), device="cpu", dtype="float32", lexical_width=64).fit(CORPUS)
    embed_model.save_context(tmp_path / "context")
    restored = ContextualEmbedding.from_dict(embed_model.to_dict())
    assert restored.get_query_embedding("red cat") == embed_model.get_query_embedding("red cat")


def test_bad_widths_are_refused(make):
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        make(lexical_width=-1)
    with pytest.raises(ConfigurationError, match=r"side='query'.*give one of the two"):
        make(lexical_width=384, side="query")
