"""Embeddings in the workers of a process pool, which waits for ever if a worker cannot read its task."""

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from pooled import ServedEmbedding, ServedEmbeddings, vector_of_query
from tiny import CORPUS

from cde_retrievers.errors import CheckpointError, ContextMismatchError
from cde_retrievers.langchain import ContextualEmbeddings, WhitenedEmbeddings
from cde_retrievers.llama_index import ContextualEmbedding, WhitenedEmbedding

CPU = {"device": "cpu", "dtype": "float32"}
SPAWN = multiprocessing.get_context("spawn")
TOO_LONG = 300.0
"""Seconds after which a pool counts as waiting for ever; an answer takes a few."""


def executor_tasks():
    """Submits to a `ProcessPoolExecutor` -> a function that waits for the answer."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        yield lambda embedding: lambda: pool.submit(vector_of_query, embedding).result(TOO_LONG)


def pool_tasks():
    """The same by a `multiprocessing.Pool`, which replaces a worker that died and waits on."""
    with SPAWN.Pool(1) as pool:
        yield lambda embedding: lambda: pool.apply_async(vector_of_query, (embedding,)).get(TOO_LONG)


@pytest.fixture(params=[executor_tasks, pool_tasks])
def task(request):
    yield from request.param()


@pytest.mark.slow
def test_a_worker_that_misses_the_model_reports_an_error(task, model_folder, tmp_path):
    folder, served = tmp_path / "model", tmp_path / "served"
    shutil.copytree(model_folder, folder)
    served.write_text("a")
    embeddings = [
        (ContextualEmbeddings(model=folder, **CPU).fit(CORPUS), CheckpointError),
        (WhitenedEmbeddings(base=ServedEmbeddings(served)).fit(CORPUS), ContextMismatchError),
        (ContextualEmbedding(str(folder), **CPU).fit(CORPUS), CheckpointError),
        (WhitenedEmbedding(ServedEmbedding(file=served)).fit(CORPUS), ContextMismatchError),
    ]
    for embedding, _ in embeddings:
        np.testing.assert_allclose(task(embedding)(), vector_of_query(embedding), atol=1e-6)
    shutil.rmtree(folder)
    served.write_text("b")
    for embedding, error in embeddings:
        with pytest.raises(error, match=r"model|has changed"):
            task(embedding)()
    served.write_text("a")
    assert task(embeddings[1][0])() == vector_of_query(embeddings[1][0]), "the pool goes on"
