import asyncio
import copy
import pickle

import numpy as np
import pytest
from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode, TextNode
from pydantic import ValidationError
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextInUseError,
    ContextMismatchError,
    ContextNotFittedError,
    ContextTooSmallError,
    InvalidTextError,
)
from cde_retrievers.llama_index import ContextualEmbedding

CPU = {"device": "cpu", "dtype": "float32"}


def make_nodes():
    return [TextNode(text=text, id_=f"n{i}", metadata={"animal": text.split()[1]}) for i, text in enumerate(CORPUS)]


@pytest.fixture
def embed_model(model_folder):
    return ContextualEmbedding(str(model_folder), **CPU)


def test_the_context_is_fitted_on_what_the_index_embeds(embed_model, model_folder):
    embedded = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in make_nodes()]
    assert embedded[0] != CORPUS[0], "metadata is part of it"
    encoder = ContextualEncoder.from_pretrained(model_folder, **CPU)
    assert embed_model.fit(make_nodes()).context == encoder.fit_context(embedded)
    assert embed_model.fit(CORPUS).context == encoder.fit_context(CORPUS)
    assert embed_model.context_fingerprint == embed_model.context.fingerprint


def test_build_query_persist_reload(embed_model, model_folder, tmp_path):
    index = VectorStoreIndex(make_nodes(), embed_model=embed_model.fit(make_nodes()))
    found = index.as_retriever(similarity_top_k=3).retrieve(CORPUS[7])
    index.storage_context.persist(tmp_path / "index")
    embed_model.save_context(tmp_path / "index" / "context")

    again = ContextualEmbedding(str(model_folder), context_path=tmp_path / "index" / "context", **CPU)
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path / "index"))
    reloaded = load_index_from_storage(storage, embed_model=again).as_retriever(similarity_top_k=3).retrieve(CORPUS[7])
    assert again.context_fingerprint == embed_model.context_fingerprint
    assert [hit.node_id for hit in reloaded] == [hit.node_id for hit in found]
    assert [hit.score for hit in reloaded] == pytest.approx([hit.score for hit in found])


def test_ingestion_pipeline_in_process(embed_model):
    documents = [Document(text=". ".join(CORPUS[i : i + 9])) for i in range(0, 54, 9)]
    splitter = SentenceSplitter(chunk_size=24, chunk_overlap=0)
    embed_model.fit(splitter(documents))
    nodes = IngestionPipeline(transformations=[splitter, embed_model]).run(documents=documents)
    texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
    assert len(nodes) > len(documents)
    np.testing.assert_allclose(
        [node.embedding for node in nodes], embed_model.get_text_embedding_batch(texts), atol=1e-5
    )


def test_an_ingestion_cache_notices_another_context(model_folder):
    cache = IngestionCache()

    def run(corpus):
        embed_model = ContextualEmbedding(str(model_folder), **CPU).fit(corpus)
        nodes = IngestionPipeline(transformations=[embed_model], cache=cache).run(nodes=make_nodes())
        return np.array([node.embedding for node in nodes])

    first = run(CORPUS)
    np.testing.assert_array_equal(run(CORPUS), first)
    assert np.abs(run(QUERIES) - first).max() > 1e-3


def test_vectors_are_lists_of_python_floats(embed_model):
    embed_model.fit(CORPUS)
    for row in (embed_model.get_text_embedding("cat"), embed_model.get_query_embedding("cat")):
        assert type(row) is list
        assert type(row[0]) is float
    assert embed_model.get_text_embedding_batch([]) == []


async def test_async_gives_the_same(embed_model):
    embed_model.fit(CORPUS)
    text, texts, query = await asyncio.gather(
        embed_model.aget_text_embedding("red cat"),
        embed_model.aget_text_embedding_batch(["red cat", "dog"]),
        embed_model.aget_query_embedding("red cat"),
    )
    assert text == embed_model.get_text_embedding("red cat")
    np.testing.assert_allclose(texts, embed_model.get_text_embedding_batch(["red cat", "dog"]), atol=1e-6)
    assert query == embed_model.get_query_embedding("red cat")


def test_before_fit_nothing_can_be_embedded(embed_model):
    with pytest.raises(ContextNotFittedError, match=r"embed_model\.fit\(nodes\)  # the same nodes that go"):
        VectorStoreIndex(make_nodes(), embed_model=embed_model)
    with pytest.raises(ContextNotFittedError):
        embed_model.get_query_embedding("cat")


def test_fitting_again_after_indexing_needs_refit(embed_model):
    VectorStoreIndex(make_nodes(), embed_model=embed_model.fit(make_nodes()))
    with pytest.raises(ContextInUseError, match="refit=True"):
        embed_model.fit(CORPUS)
    before = embed_model.context_fingerprint
    assert embed_model.fit(CORPUS, refit=True).context_fingerprint != before


def test_a_restored_fingerprint_accepts_its_own_context_only(embed_model, model_folder, tmp_path):
    embed_model.fit(CORPUS)
    restored = ContextualEmbedding.from_dict(embed_model.to_dict())
    with pytest.raises(ContextNotFittedError):
        restored.get_text_embedding("cat")
    with pytest.raises(ContextMismatchError, match="is expected; load the context that was saved with the index"):
        restored.fit(QUERIES)
    assert restored.fit(CORPUS).get_text_embedding("cat") == embed_model.get_text_embedding("cat")

    ContextualEmbedding(str(model_folder), **CPU).fit(QUERIES).save_context(tmp_path / "context")
    with pytest.raises(ContextMismatchError):
        ContextualEmbedding.from_dict({**embed_model.to_dict(), "context_path": str(tmp_path / "context")})


def test_pickles_carry_the_context(embed_model):
    twin = pickle.loads(pickle.dumps(embed_model.fit(CORPUS)))
    assert twin.context_fingerprint == embed_model.context_fingerprint
    assert twin.get_text_embedding("cat") == embed_model.get_text_embedding("cat")


def test_what_cannot_be_loaded_again_says_so_at_its_first_use(biencoder_folder):
    embed_model = ContextualEmbedding(encoder=ContextualEncoder.from_biencoder(biencoder_folder, **CPU)).fit(CORPUS)
    twin = pickle.loads(pickle.dumps(embed_model))  # an error here would keep a process pool waiting for ever
    assert twin.context_fingerprint == embed_model.context_fingerprint
    with pytest.raises(CheckpointError, match="is not a contextual model"):
        twin.get_text_embedding("cat")


def test_a_pickle_loads_its_model_again_with_the_same_settings(model_folder):
    settings = {"context_size": 5, "context_strategy": "kmeans", "embed_batch_size": 7}
    twin = pickle.loads(pickle.dumps(ContextualEmbedding(str(model_folder), **settings, **CPU)))
    assert {key: getattr(twin, key) for key in settings} == settings
    assert len(twin.fit(CORPUS).context) == 5


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_refitted_alone(embed_model, copied):
    twin = copied(embed_model.fit(CORPUS))
    twin.fit(QUERIES)
    assert embed_model.context.corpus_size == len(CORPUS)


def test_settings_hold_the_embedding(embed_model, monkeypatch):
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embed_model.fit(make_nodes())
    assert VectorStoreIndex(make_nodes()).as_retriever(similarity_top_k=1).retrieve("red cat")


def test_unknown_settings_are_refused(model_folder):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ContextualEmbedding(str(model_folder), context_stratgy="kmeans", **CPU)


def test_two_indexes_share_one_loaded_model(model_folder):
    encoder = ContextualEncoder.from_pretrained(model_folder, **CPU)
    first, second = (ContextualEmbedding(encoder=encoder).fit(texts) for texts in (CORPUS, QUERIES))
    assert first.model_name == str(model_folder)
    assert first.get_query_embedding("red cat") != second.get_query_embedding("red cat")


def test_the_options_of_the_context_are_used(model_folder):
    options = {"context_size": 5, "context_strategy": "kmeans", "context_seed": 3}
    context = ContextualEmbedding(str(model_folder), **options, **CPU).fit(CORPUS).context
    assert (len(context), context.strategy, context.seed) == (5, "kmeans", 3)


def test_traces_name_the_context(embed_model):
    assert embed_model.fit(CORPUS).to_payload()["context_fingerprint"] == embed_model.context.fingerprint


@pytest.mark.parametrize("nodes", ["one text", None, [None], [3], [b"x"], [TextNode(text="ok"), None]])
def test_what_is_neither_node_nor_text_is_refused(embed_model, nodes):
    with pytest.raises(InvalidTextError):
        embed_model.fit(nodes)
    assert embed_model.context_fingerprint is None


def test_too_few_nodes_are_refused(embed_model):
    with pytest.raises(ContextTooSmallError):
        embed_model.fit([TextNode(text="same")] * 5)


def test_backend_and_precision_reach_the_model(model_folder):
    with pytest.raises(ConfigurationError, match="the torch backend has no int8"):
        ContextualEmbedding(str(model_folder), backend="torch", precision="int8")
