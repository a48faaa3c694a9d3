"""The pipeline step between splitter and embedding: when it fits, and what it refuses."""

import pickle
from functools import partial

import numpy as np
import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.vector_stores import SimpleVectorStore
from tiny import CORPUS

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ContextMismatchError, ContextNotFittedError, ContextTooSmallError
from cde_retrievers.llama_index import ContextFitter, check_index, stamped

SPLITTER = SentenceSplitter(chunk_size=24, chunk_overlap=0)


@pytest.fixture
def embed_model(make_embedding):
    return make_embedding()


def make_documents():
    return [Document(text=". ".join(CORPUS[i : i + 9]), id_=f"d{i}") for i in range(0, 54, 9)]


def pipeline(embed_model, fitter=None, **options):
    steps = [SPLITTER, fitter or ContextFitter(embed_model=embed_model), embed_model]
    return IngestionPipeline(transformations=steps, **options)


def test_the_context_is_fitted_on_all_nodes_that_pass(embed_model, make_embedding):
    nodes = pipeline(embed_model).run(documents=make_documents())
    assert embed_model.context == make_embedding().fit(SPLITTER(make_documents())).context
    assert {node.metadata[CONTEXT_KEY] for node in nodes} == {embed_model.context_fingerprint}


async def test_async_runs_do_the_same(embed_model, make_embedding):
    nodes = await pipeline(embed_model).arun(documents=make_documents())
    pipeline(twin := make_embedding()).run(documents=make_documents())
    assert embed_model.context == twin.context
    assert {node.metadata[CONTEXT_KEY] for node in nodes} == {twin.context_fingerprint}


def test_a_second_run_with_other_nodes_keeps_the_context(embed_model):
    run = pipeline(embed_model).run
    run(documents=make_documents())
    context = embed_model.context
    (node,) = run(documents=[Document(text="one more cat")])
    assert embed_model.context == context
    assert node.metadata[CONTEXT_KEY] == context.fingerprint


def test_too_few_nodes_make_no_context(embed_model):
    with pytest.raises(ContextTooSmallError):
        pipeline(embed_model).run(documents=[Document(text="one cat")])


def test_a_cache_of_an_earlier_run_does_not_stand_in_for_the_fit(make_embedding):
    cache, fingerprints = IngestionCache(), []
    for _ in range(2):
        embed_model = make_embedding()
        pipeline(embed_model, cache=cache).run(documents=make_documents())
        fingerprints.append(embed_model.context.fingerprint)
    assert fingerprints[0] == fingerprints[1]


def test_a_fitted_step_is_answered_from_the_cache(embed_model, monkeypatch):
    run = pipeline(embed_model.fit(CORPUS), cache=IngestionCache()).run
    first = run(documents=make_documents())
    monkeypatch.delattr(ContextFitter, "__call__")
    assert [node.embedding for node in run(documents=make_documents())] == [node.embedding for node in first]


def test_a_store_of_another_context_is_refused_before_any_work(embed_model, make_embedding):
    store = SimpleVectorStore()
    fitter = partial(ContextFitter, vector_store=store)
    pipeline(embed_model, fitter(embed_model=embed_model), vector_store=store).run(documents=make_documents())
    with pytest.raises(ContextMismatchError, match="already holds nodes of context"):
        fitter(embed_model=make_embedding().fit(CORPUS))
    assert fitter(embed_model=embed_model.with_context(embed_model.context)).vector_store is store


def test_the_context_that_is_in_the_way_is_named(make_embedding, make_nodes):
    first, second = (make_embedding().fit(texts) for texts in (CORPUS, CORPUS[:9]))
    store = SimpleVectorStore()
    store.add([*first(stamped(make_nodes(CORPUS[:1]), first)), *second(stamped(make_nodes(CORPUS[:2])[1:], second))])
    for own, other in ((first, second), (second, first)):
        with pytest.raises(ContextMismatchError, match=f"holds nodes of context {other.context_fingerprint}"):
            ContextFitter(embed_model=own, vector_store=store)


def test_a_pipeline_that_starts_again_does_not_fit_on_what_changed(embed_model, make_embedding, tmp_path):
    store = SimpleVectorStore()
    fitter = ContextFitter(embed_model=embed_model, vector_store=store)
    pipeline(embed_model, fitter, vector_store=store).run(documents=make_documents())
    embed_model.save_context(tmp_path / "context")

    with pytest.raises(ContextMismatchError, match=r"has no context yet.*context_path"):
        ContextFitter(embed_model=make_embedding(), vector_store=store)
    again = make_embedding(context_path=tmp_path / "context")
    fitter = ContextFitter(embed_model=again, vector_store=store)
    pipeline(again, fitter, vector_store=store).run(documents=[Document(text="one more cat")])
    assert check_index(store, again).verdict == "same context"


def test_vectors_of_another_context_are_dropped_only_on_request(embed_model, make_embedding, make_nodes):
    nodes = embed_model(stamped(make_nodes(), embed_model.fit(CORPUS)))
    other = make_embedding().fit(CORPUS[:9])
    with pytest.raises(ContextMismatchError, match="reembed=True"):
        ContextFitter(embed_model=other)(nodes)
    assert ContextFitter(embed_model=other, reembed=True)(nodes)[0].embedding is None


def test_a_worker_process_may_stamp_but_not_fit(embed_model):
    fitter = ContextFitter(embed_model=embed_model, vector_store=SimpleVectorStore(), reembed=True)
    with pytest.raises(ContextNotFittedError, match=r"some of the nodes only.*\n.*embed_model\.fit"):
        pickle.dumps(fitter)
    embed_model.fit(CORPUS)
    steps = pickle.loads(pickle.dumps([fitter, embed_model]))
    assert steps[0].embed_model is steps[1]
    assert steps[0].reembed
    assert steps[0].vector_store is None
    assert steps[1].context == embed_model.context


def test_a_store_is_looked_at_once_more_before_work_goes_to_other_processes(embed_model, make_nodes):
    store = SimpleVectorStore()
    fitter = ContextFitter(embed_model=embed_model.fit(CORPUS), vector_store=store)
    store.add(embed_model(fitter(make_nodes())))
    embed_model.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError, match="already holds nodes of context"):
        pickle.dumps(fitter)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed")  # on a machine with one core
def test_a_pipeline_with_workers_stamps_and_embeds_like_one_without(embed_model, make_nodes):
    def run(**options):
        steps = [ContextFitter(embed_model=embed_model), embed_model]
        return IngestionPipeline(transformations=steps, disable_cache=True).run(nodes=make_nodes(), **options)

    with pytest.raises(ContextNotFittedError, match="some of the nodes only"):
        run(num_workers=2)
    embed_model.fit(make_nodes())
    alone, together = run(), run(num_workers=2)
    assert [node.metadata for node in together] == [node.metadata for node in alone]
    np.testing.assert_allclose([node.embedding for node in together], [node.embedding for node in alone], atol=1e-5)
