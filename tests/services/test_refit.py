"""`refit_store` over real servers: nothing lost or doubled where it is killed, and no reader mixes contexts."""

import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from bag_of_words import BagOfWords
from langchain_core.documents import Document
from refitted import Killed, kill_at, rows_of
from served import KINDS
from servers import OVER_SERVERS
from tiny import CORPUS

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    ContextualRetriever,
    check_index,
    read_context,
    refit_store,
    write_context,
)
from cde_retrievers.langchain.stores.registry import find_kind

pytestmark = OVER_SERVERS
HELPERS = Path(__file__).parents[1] / "helpers"
REFITTED = [name for name, kind in KINDS.items() if kind.refit]
NEW = [Document(f"grinder {number} has {number} burrs of steel", metadata={"row": 100 + number}) for number in range(9)]


@pytest.fixture
def embeddings(guarded, documents):
    """Embeddings under a context of fewer documents than there are now."""
    return guarded([document.page_content for document in documents[:40]])


def built(service, documents, embeddings, name):
    service.name_for_readers(name)
    return ContextualRetriever.from_documents(
        documents,
        embeddings=embeddings,
        vectorstore_class=service.store_class(),
        ids=[str(UUID(int=row)) for row in range(len(documents))],
        **service.options(name),
    )


def assert_embedded_under(done, documents):
    """The documents that a store finds are those of an exact search under its context."""
    rows = np.asarray(done.embeddings.embed_documents([document.page_content for document in documents]))
    by_text = {document.page_content: row for row, document in enumerate(documents)}
    for query in ("red cat", "grinder of steel"):
        cosines = rows @ np.asarray(done.embeddings.embed_query(query))
        found = [cosines[by_text[hit.page_content]] for hit in done.store.similarity_search(query, k=10)]
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:10], atol=1e-5)


@pytest.mark.parametrize("service", REFITTED, indirect=True)
def test_a_served_store_moves_to_a_new_context_twice(service, documents, embeddings, tmp_path, shows):
    name = service.name()
    reader = built(service, documents, embeddings, name)
    done = refit_store(service.open(embeddings, name), embeddings, tmp_path / "first", NEW, batch_size=20)
    assert (done.documents, done.embedded) == (len(documents) + len(NEW),) * 2
    assert_embedded_under(done, [*documents, *NEW])
    with pytest.raises(ContextMismatchError):
        reader.invoke("red cat")
    with pytest.raises(ContextMismatchError):
        reader.add_documents(documents[:1])
    again = ContextualEmbeddings(encoder=embeddings.embedder, context_path=tmp_path / "first")
    store = service.open(again, name)
    assert check_index(store, again).verdict == "same context"
    retriever = ContextualRetriever(embeddings=again, vectorstore=store)
    retriever.add_documents([Document("a kettle", metadata={"row": 60})], ids=[str(UUID(int=60))])
    assert rows_of(service.open(embeddings, done.old_collection)) == list(range(len(documents)))
    done.drop_old()
    second = refit_store(store, again, tmp_path / "second", [Document("a tamper", metadata={"row": 61})])
    assert second.documents == second.embedded == len(documents) + len(NEW) + 2
    assert rows_of(second.store) == [*range(len(documents)), 60, 61, *range(100, 109)]
    assert len(rows_of(service.open(again, second.old_collection))) == second.documents - 1
    assert read_context(service.open(again, second.old_collection)) == again.context_fingerprint
    shows(service, "refit", service.refit)


@pytest.mark.parametrize("service", REFITTED, indirect=True)
def test_a_store_of_another_width_is_named_before_a_context_is_fitted(service, documents, embeddings, tmp_path):
    narrow, name = ContextualEmbeddings(encoder=BagOfWords(8)).fit(CORPUS), service.name()
    built(service, documents, embeddings, name)
    store = service.open(embeddings, name)
    with pytest.raises(ContextMismatchError, match=r"does not hold vectors of 8 numbers, .* but of \d+, so"):
        refit_store(store, narrow, tmp_path / "new", NEW)
    assert not (tmp_path / "new").exists()
    assert rows_of(store) == list(range(len(documents)))


@pytest.mark.parametrize("service", ["Qdrant"], indirect=True)
def test_an_entry_without_a_vector_gets_one(service, documents, embeddings, tmp_path):
    name = service.name()
    built(service, documents, embeddings, name)
    store = service.open(embeddings, name)
    store.client.delete_vectors(name, vectors=[store.vector_name], points=[str(UUID(int=0))])
    done = refit_store(store, embeddings, tmp_path / "new")
    assert (done.documents, done.embedded) == (len(documents),) * 2
    assert_embedded_under(done, documents)


@pytest.mark.parametrize("service", [name for name, kind in KINDS.items() if not kind.refit], indirect=True)
def test_a_store_that_cannot_be_refitted_says_why(service, documents, embeddings, tmp_path, shows):
    name = service.name()
    built(service, documents, embeddings, name)
    store = service.open(embeddings, name)
    with pytest.raises(ConfigurationError, match=r"cannot be refitted: .* (table|database).* build a new store"):
        refit_store(store, embeddings, tmp_path / "new", NEW)
    assert not (tmp_path / "new").exists()
    assert rows_of(store) == list(range(len(documents)))
    assert check_index(store, embeddings).verdict == "same context"
    shows(service, "refit", "none")


@pytest.mark.parametrize("service", REFITTED, indirect=True)
def test_a_refit_that_is_killed_at_any_moment_is_continued(service, documents, embeddings, tmp_path):
    everything = [*documents, *NEW]
    for step in count(1):
        name, path = service.name(), tmp_path / f"context {step}"
        built(service, documents, embeddings, name)
        options = {"new_documents": NEW, "batch_size": 40}
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, find_kind(service.store_class()), step)
            try:
                refit_store(service.open(embeddings, name), embeddings, path, **options)
            except Killed:
                pass
            else:
                break
        done = refit_store(service.open(embeddings, name), embeddings, path, **options)
        assert done.documents == len(everything)
        assert rows_of(done.store) == sorted(document.metadata["row"] for document in everything)
        assert rows_of(service.open(embeddings, done.old_collection)) == list(range(len(documents)))
        assert_embedded_under(done, everything)
    assert step > 8


@pytest.mark.parametrize(
    ("service", "step", "left"),
    [("Chroma", 9, 0), ("Milvus", 4, 14), ("PGVectorStore", 7, 0)],  # between the renames, two batches, copy and switch
    indirect=["service"],
)
def test_a_process_that_is_killed_loses_and_doubles_nothing(service, step, left, documents, embeddings, tmp_path):
    name = service.name()
    built(service, documents, embeddings, name)
    embeddings.embedder.save(tmp_path / "model")
    encoder = ContextualEncoder.from_pretrained(tmp_path / "model", device="cpu")
    embeddings = ContextualEmbeddings(encoder=encoder).fit([document.page_content for document in documents[:40]])
    embeddings.save_context(tmp_path / "served")
    write_context(service.open(embeddings, name), embeddings, replace=True)
    values = [type(service).__name__, str(service.running.port), name, str(tmp_path), str(step)]
    killed = subprocess.run([sys.executable, HELPERS / "killed_refit.py", *values], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = refit_store(service.reopened(embeddings, name), embeddings, tmp_path / "new", batch_size=40)
    assert (done.documents, done.embedded) == (len(documents), left)
    assert rows_of(done.store) == rows_of(service.open(embeddings, done.old_collection)) == list(range(len(documents)))
    assert_embedded_under(done, documents)


@pytest.mark.parametrize("service", [name for name in REFITTED if KINDS[name].server], indirect=True)
def test_a_server_that_stops_during_a_refit_loses_nothing(service, documents, embeddings, tmp_path, monkeypatch):
    name, path = service.name(), tmp_path / "new"
    built(service, documents, embeddings, name)
    embed, batches = ContextualEmbeddings.embed_texts, []

    def embed_until_the_server_stops(self, texts):
        batches.append(len(texts))
        if len(batches) == 3:
            service.running.stop()
        return embed(self, texts)

    monkeypatch.setattr(ContextualEmbeddings, "embed_texts", embed_until_the_server_stops)
    try:
        with pytest.raises(Exception, match=service.lost):
            refit_store(service.open(embeddings, name), embeddings, path, batch_size=10)
    finally:
        service.running.start()
    store = service.reopened(embeddings, name)
    assert rows_of(store) == list(range(len(documents)))
    done = refit_store(store, embeddings, path, batch_size=10)
    assert (done.documents, done.embedded) == (len(documents), len(documents) - 20)
    assert_embedded_under(done, documents)
