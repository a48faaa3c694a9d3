"""How LlamaIndex can lose or mix a context: each case without the guard, then with it.

Without guards LlamaIndex silently gives a wrong result. With them the result is right, or an error names the way out.
"""

from functools import partial

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore
from tiny import CORPUS
from unguarded import UnguardedEmbedding

from cde_retrievers.errors import ContextFileError, ContextMismatchError, ContextNotFittedError
from cde_retrievers.llama_index import (
    ContextFitter,
    ContextualEmbedding,
    ContextualRetriever,
    check_index,
    context_filter,
    docstore_namespace,
    load_index,
    persist_index,
    stamped,
)

OTHERS = [text.replace("green", "walk").replace("cat", "key") for text in CORPUS[:20]]


def vectors(nodes):
    return np.array([node.embedding for node in nodes])


def furthest(a, b):
    return np.abs(np.array(a) - np.array(b)).max()


def hit_at_1(retriever):
    return np.mean([retriever.retrieve(CORPUS[i])[0].node_id == f"n{i}" for i in range(0, len(CORPUS), 6)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed")  # on a machine with one core
def test_scenario_1_worker_processes_embed_under_the_fitted_context(make_embedding, make_nodes):
    def run(embed_model, **options):
        return vectors(IngestionPipeline(transformations=[embed_model]).run(nodes=make_nodes(), **options))

    unguarded = UnguardedEmbedding().fit(make_nodes())
    assert furthest(run(unguarded, num_workers=2), run(unguarded)) > 0.1, "the context stayed behind"

    guarded = make_embedding().fit(make_nodes())
    np.testing.assert_allclose(run(guarded, num_workers=2), run(guarded), atol=1e-5)


def test_scenario_2_caches_and_copies_tell_contexts_apart(make_embedding, make_nodes):
    def run(embed_model, cache):
        return vectors(IngestionPipeline(transformations=[embed_model], cache=cache).run(nodes=make_nodes()))

    def restored(embed_model):
        return type(embed_model).from_dict(embed_model.to_dict())

    unguarded, cache = UnguardedEmbedding().fit(make_nodes()), IngestionCache()
    first, text = run(unguarded, cache), unguarded.get_text_embedding("red cat")
    assert furthest(restored(unguarded).get_text_embedding("red cat"), text) > 0.1, "restored without its context"
    assert furthest(run(unguarded.fit(make_nodes(OTHERS)), cache), first) == 0, "the old context's vectors"

    guarded, cache = make_embedding().fit(make_nodes()), IngestionCache()
    first = run(guarded, cache)
    with pytest.raises(ContextNotFittedError):
        restored(guarded).get_text_embedding("red cat")
    with pytest.raises(ContextMismatchError):
        restored(guarded).fit(make_nodes(OTHERS))
    assert furthest(run(guarded.fit(make_nodes(OTHERS), refit=True), cache), first) > 1e-3


def test_scenario_3_a_cache_of_vectors_is_kept_by_context_and_role(make_encoder, make_nodes):
    encoder = make_encoder(query_prompt="how do i ", document_prompt="the file ")

    def through_cache(make):
        cache = SimpleKVStore()
        first = make(embeddings_cache=cache).fit(make_nodes())
        second = make(embeddings_cache=cache).fit(make_nodes(OTHERS))
        text, query = first.get_text_embedding("red cat"), first.get_query_embedding("red cat")
        return furthest(query, text), furthest(second.get_text_embedding("red cat"), text)

    assert through_cache(UnguardedEmbedding) == (0, 0), "a document's vector for the query, and for another context"
    between_roles, between_contexts = through_cache(partial(ContextualEmbedding, encoder=encoder))
    assert between_roles > 1e-3
    assert between_contexts > 1e-3


def test_scenario_4_nodes_with_vectors_are_embedded_again_after_a_refit(make_embedding, make_nodes):
    def embedded(embed_model):
        return IngestionPipeline(transformations=[ContextFitter(embed_model=embed_model), embed_model])

    unguarded = UnguardedEmbedding().fit(make_nodes())
    nodes = IngestionPipeline(transformations=[unguarded]).run(nodes=make_nodes())
    index = VectorStoreIndex(nodes, embed_model=unguarded.fit(make_nodes(OTHERS)))
    assert furthest(index.vector_store.get("n0"), nodes[0].embedding) == 0, "the old vector, under the new context"

    guarded = make_embedding()
    nodes = embedded(guarded).run(nodes=make_nodes())
    guarded.fit(make_nodes(OTHERS), refit=True)
    with pytest.raises(ContextMismatchError, match=r"node n0 already has a vector.*reembed=True"):
        stamped(nodes, guarded)
    with pytest.raises(ContextMismatchError, match="index was built under"):
        ContextualRetriever(VectorStoreIndex(nodes, embed_model=guarded), guarded)
    index = VectorStoreIndex(stamped(nodes, guarded, reembed=True), embed_model=guarded)
    assert furthest(index.vector_store.get("n0"), nodes[0].embedding) > 1e-3


def test_scenario_4_unchanged_documents_are_embedded_again_after_a_refit(make_embedding, make_nodes):
    def run(steps, store, docstore):
        pipeline = IngestionPipeline(
            transformations=steps, vector_store=store, docstore=docstore, docstore_strategy=DocstoreStrategy.UPSERTS
        )
        return len(pipeline.run(documents=make_documents()))

    def make_documents():
        return [Document(text=text, id_=f"d{i}") for i, text in enumerate(CORPUS)]

    store, docstore = SimpleVectorStore(), SimpleDocumentStore()
    unguarded = UnguardedEmbedding().fit(make_documents())
    assert run([unguarded], store, docstore) == len(CORPUS)
    assert run([unguarded.fit(make_nodes(OTHERS))], store, docstore) == 0, "all skipped, under the new context"

    store, docstore = SimpleVectorStore(), SimpleDocumentStore()
    guarded = make_embedding().fit(make_documents())
    fitter = ContextFitter(embed_model=guarded, vector_store=store)
    assert run([fitter, guarded], store, docstore) == len(CORPUS)
    assert run([fitter, guarded], store, docstore) == 0
    guarded.fit(make_nodes(OTHERS), refit=True)
    with pytest.raises(ContextMismatchError, match=r"already holds nodes of.*empty vector store.*docstore_namespace"):
        run([fitter, guarded], store, docstore)

    # What the error says to do.
    def under(namespace):
        return SimpleDocumentStore(docstore._kvstore, namespace=namespace)

    store = SimpleVectorStore()
    fitter = ContextFitter(embed_model=guarded, vector_store=store)
    assert run([fitter, guarded], store, under(docstore_namespace(guarded))) == len(CORPUS)
    assert run([fitter, guarded], store, under(docstore_namespace(guarded))) == 0
    assert check_index(store, guarded).verdict == "same context"


def test_scenario_5_a_persisted_index_is_loaded_under_its_own_context(make_embedding, make_nodes, tmp_path):
    unguarded = UnguardedEmbedding().fit(make_nodes())
    VectorStoreIndex(make_nodes(), embed_model=unguarded).storage_context.persist(tmp_path / "plain")

    def reloaded(embed_model):
        storage = StorageContext.from_defaults(persist_dir=str(tmp_path / "plain"))
        return load_index_from_storage(storage, embed_model=embed_model).as_retriever(similarity_top_k=1)

    assert hit_at_1(reloaded(unguarded)) == 1
    assert hit_at_1(reloaded(UnguardedEmbedding().fit(make_nodes(OTHERS)))) < 0.1, "and no error"

    guarded = make_embedding().fit(make_nodes())
    index = VectorStoreIndex(stamped(make_nodes(), guarded), embed_model=guarded)
    persist_index(index, guarded, tmp_path / "index")
    with pytest.raises(ContextMismatchError, match="load the context that was saved with the index"):
        load_index(tmp_path / "index", make_embedding().fit(make_nodes(OTHERS)))
    assert hit_at_1(load_index(tmp_path / "index", make_embedding()).as_retriever(similarity_top_k=1)) == 1
    with pytest.raises(ContextFileError, match="holds no context"):
        load_index(tmp_path / "plain", make_embedding())


def test_scenario_6_filters_give_no_hits_instead_of_wrong_ones(make_embedding, make_nodes):
    unguarded = UnguardedEmbedding().fit(make_nodes())
    index = VectorStoreIndex(make_nodes(), embed_model=unguarded)
    wrong = index.as_retriever(similarity_top_k=1, embed_model=UnguardedEmbedding().fit(make_nodes(OTHERS)))
    assert len(wrong.retrieve(CORPUS[0])) == 1
    assert hit_at_1(wrong) < 0.1

    guarded = make_embedding().fit(make_nodes())
    index = VectorStoreIndex(stamped(make_nodes(), guarded), embed_model=guarded)
    other = make_embedding().fit(make_nodes(OTHERS))
    right = index.as_retriever(similarity_top_k=1, filters=context_filter(guarded))
    assert hit_at_1(right) == 1
    assert index.as_retriever(embed_model=other, filters=context_filter(other)).retrieve(CORPUS[0]) == []
