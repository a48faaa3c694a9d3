"""Equality, threads and progress bars: each case without the guard, then with it."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel, PrivateAttr
from tiny import CORPUS

from cde_retrievers.langchain import ContextualEmbeddings

BAR = "| 0/"  # a bar is drawn at 0 once, and at its end perhaps twice


def test_scenario_8_unguarded_a_tensor_in_a_private_attribute_breaks_equality():
    class PlainEmbedding(BaseModel):
        _context: torch.Tensor = PrivateAttr(default_factory=lambda: torch.zeros(2, 2))

    with pytest.raises(RuntimeError, match="Boolean value of Tensor"):
        _ = PlainEmbedding() == PlainEmbedding()


def test_scenario_8_equality_is_that_of_model_and_context(guarded, other):
    assert guarded() == guarded()
    assert guarded() != guarded(other)


def refitted_during_a_call(embeddings, refit, encoder, monkeypatch):
    """What `embed_documents` returns if the context is replaced after it was called and before it embeds."""
    entered, release, run = threading.Event(), threading.Event(), encoder._runner.run

    def wait_once(*arguments):
        monkeypatch.setattr(encoder._runner, "run", run)
        entered.set()
        assert release.wait(600)
        return run(*arguments)

    monkeypatch.setattr(encoder._runner, "run", wait_once)
    rows = []
    worker = threading.Thread(target=lambda: rows.extend(embeddings.embed_documents(CORPUS[:4])))
    worker.start()
    assert entered.wait(600)
    refit()
    release.set()
    worker.join()
    return rows


def test_scenario_8_unguarded_a_refit_during_a_call_mixes_its_rows(unguarded, other, encoder, monkeypatch):
    plain = unguarded()
    one_by_one = SimpleNamespace(embed_documents=lambda texts: [plain.embed_query(text) for text in texts])
    expected = [plain.embed_query(text) for text in CORPUS[:4]]
    rows = refitted_during_a_call(one_by_one, lambda: plain.refit(other), encoder, monkeypatch)
    assert np.abs(np.subtract(rows, expected)).max(axis=1).round(3).tolist()[0] == 0
    assert np.abs(np.subtract(rows, expected)).max(axis=1)[1:].min() > 0.1


def test_scenario_8_a_call_ends_under_the_context_it_began_with(guarded, other, encoder, monkeypatch):
    embeddings = guarded()
    expected = embeddings.embed_documents(CORPUS[:4])
    rows = refitted_during_a_call(embeddings, lambda: embeddings.fit(other, refit=True), encoder, monkeypatch)
    assert rows == expected != embeddings.embed_documents(CORPUS[:4])


def many(documents):
    return [
        document.model_copy(update={"page_content": f"{document.page_content} {i}"})
        for i in (1, 2, 3)
        for document in documents
    ]


def test_scenario_9_unguarded_qdrant_prints_a_bar_for_every_64_documents(unguarded, encoder, documents, capsys):
    qdrant = pytest.importorskip("langchain_qdrant")
    plain = unguarded()
    plain.embed_documents = lambda texts: encoder.encode_documents(texts, plain.context, show_progress=True).tolist()
    qdrant.QdrantVectorStore.from_documents(many(documents), plain, location=":memory:")
    assert capsys.readouterr().err.count(BAR) == 1 + 3  # the dummy text, then 64, 64 and 34 documents


def test_scenario_9_only_a_large_call_shows_a_bar(encoder, documents, capsys):
    qdrant = pytest.importorskip("langchain_qdrant")
    embeddings = ContextualEmbeddings(encoder=encoder, show_progress=True).fit(documents)
    assert capsys.readouterr().err.count(BAR) == 1
    qdrant.QdrantVectorStore.from_documents(many(documents), embeddings, location=":memory:")
    embeddings.embed_query("red cat")
    assert BAR not in capsys.readouterr().err
    InMemoryVectorStore.from_documents(many(documents), embeddings)
    assert capsys.readouterr().err.count(BAR) == 1
