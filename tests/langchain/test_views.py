"""Several contexts over one loaded model, from several threads and in other processes."""

import multiprocessing
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from tiny import CORPUS, QUERIES

from cde_retrievers.langchain import ContextualEmbeddings


@pytest.fixture
def embeddings(model_folder):
    return ContextualEmbeddings(model=str(model_folder), device="cpu", dtype="float32").fit(CORPUS)


@pytest.fixture
def view(embeddings, other):
    return embeddings.with_context(embeddings._binding.encoder.fit_context(other))


def weights(embeddings):
    return embeddings._binding.encoder.model.state_dict()


def test_a_view_shares_every_weight(embeddings, view):
    assert view._binding.encoder is embeddings._binding.encoder
    addresses = {name: weight.data_ptr() for name, weight in weights(embeddings).items()}
    assert {name: weight.data_ptr() for name, weight in weights(view).items()} == addresses


def test_a_view_costs_almost_no_memory(embeddings, view):
    context = view.context
    tracemalloc.start()
    views = [embeddings.with_context(context) for _ in range(100)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len({id(each.context) for each in views}) == 1
    model = sum(weight.numel() * weight.element_size() for weight in weights(embeddings).values())
    assert used / len(views) < min(20_000, model / 5)


def test_two_views_used_from_eight_threads_keep_to_their_contexts(embeddings, view):
    def both(each):
        return [*each.embed_documents(CORPUS[:6]), *map(each.embed_query, QUERIES)]

    expected = [both(embeddings), both(view)]
    assert np.abs(np.subtract(*expected)).max() > 0.1
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(both, [embeddings, view] * 16))
    for index, vectors in enumerate(found):
        np.testing.assert_array_equal(vectors, expected[index % 2])


def test_refitting_a_view_leaves_the_other(embeddings, view, other):
    first, second = embeddings.embed_query("red cat"), view.embed_query("red cat")
    view.fit(CORPUS[:9], refit=True)
    assert (embeddings.embed_query("red cat"), embeddings.context.corpus_size) == (first, len(CORPUS))
    assert view.embed_query("red cat") != second
    again = embeddings.with_context(embeddings._binding.encoder.fit_context(other))
    embeddings.fit(CORPUS[:5], refit=True)
    assert again.embed_query("red cat") == second


@pytest.mark.slow
def test_spawned_workers_embed_under_the_same_context(embeddings, view, tmp_path):
    # A directory may hold another context by the time that a worker starts, so a pickle carries the context itself.
    view.save_context(tmp_path / "context")
    embeddings.context.save(tmp_path / "context")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workers:
        found = [workers.submit(each.embed_documents, CORPUS[:6]).result() for each in (embeddings, view)]
        query = workers.submit(view.embed_query, "red cat").result()
    for vectors, each in zip(found, (embeddings, view), strict=True):
        np.testing.assert_allclose(vectors, each.embed_documents(CORPUS[:6]), atol=1e-6)
    np.testing.assert_allclose(query, view.embed_query("red cat"), atol=1e-6)
