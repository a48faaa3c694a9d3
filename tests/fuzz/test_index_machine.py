"""An index in any order of changes, failures and restarts holds and finds what a dictionary would."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from approximate import approximate_from
from bag_of_words import BagOfWords
from fuzzed import cases
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cde_retrievers.errors import (
    CDEError,
    DuplicateIdError,
    EmbeddingServiceError,
    FilterError,
    InvalidDocumentError,
    ReadOnlyError,
)
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.retrieval.fusion import LEXICAL_POWER, LEXICAL_WEIGHT
from cde_retrievers.sparse.bm25 import document_rows, query_rows

WORDS = ["red", "green", "cat", "dog", "bird", "tree", "sleeps", "runs"]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
ids = st.sampled_from([f"n{i}" for i in range(12)])
rows = st.integers(0, 5)
documents = st.lists(
    st.builds(lambda text, identity, row: Document(text, identity, {"row": row}), texts, st.none() | ids, rows),
    max_size=4,
)


class Answering(BagOfWords):
    """Answers wrongly as often as it is told."""

    wrong = 0
    share = 0.37  # of a mean of counts this leaves no text without a vector

    def encode_documents(self, texts, context, show_progress=None):
        vectors = super().encode_documents(texts, context)
        self.wrong -= 1
        return vectors if self.wrong < 0 else vectors * np.nan


class IndexMachine(RuleBasedStateMachine):
    """The index, and the dictionary that it should be like; a reader of an old generation beside them."""

    @initialize(kind=st.sampled_from(["flat", "hnsw"]), first=st.lists(texts, min_size=2, max_size=14, unique=True))
    def build(self, kind, first):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "index"
        self.embedder = Answering()
        given = [Document(text, metadata={"row": row}) for row, text in enumerate(first)]
        self.index = ContextualIndex.build(given, self.embedder, self.path, kind=kind, batch_size=5)
        self.twin = {f"doc-{row}": Document(text, f"doc-{row}", {"row": row}) for row, text in enumerate(first)}
        self.look()

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule()
    def look(self):
        self.reader = ContextualIndex.open(self.path, BagOfWords(), read_only=True)
        self.seen_by_reader = list(self.twin.values())

    @rule(given=documents)
    def add(self, given):
        named = [document.id for document in given if document.id is not None]
        if len(set(named)) < len(named) or set(named) & set(self.twin):
            with pytest.raises(DuplicateIdError):
                self.index.add(given)
        else:
            self.put(given, self.index.add(given))

    @rule(given=documents)
    def upsert(self, given):
        named = [document.id for document in given if document.id is not None]
        if len(set(named)) < len(named):
            with pytest.raises(DuplicateIdError):
                self.index.upsert(given)
        else:
            self.put(given, self.index.upsert(given))

    def put(self, given, given_ids):
        assert len(set(given_ids)) == len(given)
        for document, identity in zip(given, given_ids, strict=True):
            assert document.id in (None, identity)
            assert document.id is not None or identity not in self.twin
            self.twin.pop(identity, None)
            self.twin[identity] = Document(document.text, identity, document.metadata)

    @rule(chosen=st.sets(ids | st.sampled_from([f"doc-{i}" for i in range(14)]), max_size=9))
    def delete(self, chosen):
        gone = self.index.delete(sorted(chosen))
        assert set(gone) == chosen & set(self.twin)
        for identity in gone:
            del self.twin[identity]

    @rule()
    def optimize(self):
        self.index.optimize()

    @rule(seed=st.integers(0, 2), size=st.integers(2, 6))
    def refit(self, seed, size):
        if len({document.text for document in self.twin.values()}) < 2:
            with pytest.raises(CDEError):
                self.index.refit(seed=seed, size=size)
        else:
            self.index.refit(seed=seed, size=size, batch_size=4)
            assert self.index.context.seed == seed

    @rule()
    def open_again(self):
        self.index = ContextualIndex.open(self.path, self.embedder)

    @rule()
    def move(self):
        self.path = Path(shutil.move(self.path, Path(self.folder.name) / f"{self.path.name}x"))
        self.open_again()
        self.look()

    @rule()
    def salvage(self):
        salvaged = ContextualIndex.open(self.path, salvage=True)
        assert salvaged.damaged == ()
        assert list(salvaged.documents()) == list(self.twin.values())
        with pytest.raises(ReadOnlyError):
            salvaged.delete(["n1"])

    @rule(given=documents, bad=st.sampled_from([Document("x", metadata={"a": 1j}), Document("x", id=""), 3]))
    def add_what_cannot_be_stored(self, given, bad):
        for change in (self.index.add, self.index.upsert):
            with pytest.raises((InvalidDocumentError, DuplicateIdError)):
                change([*given, bad])

    @rule(text=texts)
    def add_with_wrong_vectors(self, text):
        self.embedder.wrong = 1
        with pytest.raises(EmbeddingServiceError):
            self.index.add([text])  # an upsert reuses the vector of a text that is there

    @rule(seed=st.integers(3, 5))
    @precondition(lambda self: len({document.text for document in self.twin.values()}) > 1)
    def refit_with_wrong_vectors(self, seed):
        self.embedder.wrong = 1
        before = self.index.context.seed
        if before != seed:
            with pytest.raises(EmbeddingServiceError):
                self.index.refit(seed=seed, batch_size=3)
            assert self.index.context.seed == before
        self.embedder.wrong = 0

    @rule(query=texts, k=st.integers(1, 8), least=st.none() | rows, mode=st.sampled_from(["dense", "hybrid"]))
    def search(self, query, k, least, mode):
        allowed = {
            identity: document
            for identity, document in self.twin.items()
            if least is None or document.metadata["row"] >= least
        }
        query_filter = None if least is None else {"row": {"$gte": least}}
        hits = self.index.search(query, k=k, filter=query_filter, mode=mode)
        scores = self.scores(query, list(allowed.values()), mode)
        wanted = sorted(scores.values(), reverse=True)[:k]
        np.testing.assert_allclose([hit.score for hit in hits], wanted, atol=1e-5)
        for hit in hits:
            assert abs(hit.score - scores[hit.id]) < 1e-5
            assert (hit.text, hit.metadata) == (allowed[hit.id].text, allowed[hit.id].metadata)
        assert len({hit.id for hit in hits}) == len(hits)
        if self.twin:
            with pytest.raises(FilterError):
                self.index.search(query, filter={"unknown": 1})

    def scores(self, query, known, mode):
        """One by one."""
        plain, context = Answering(), self.index.context
        (vector,) = plain.encode_queries([query], context)
        asked = query_rows([query], context.term_statistics())
        words = LEXICAL_WEIGHT if mode == "hybrid" else 0

        def score(text):
            lexical = (document_rows([text], context.term_statistics()) @ asked.T).sum()
            cosine = float(plain.encode_documents([text], context)[0] @ vector)
            return cosine + words * (lexical / (asked.sum() or 1)) ** LEXICAL_POWER

        return {document.id: score(document.text) for document in known}

    @invariant()
    def holds_what_the_dictionary_holds(self):
        if not hasattr(self, "index"):
            return
        assert list(self.index.documents()) == list(self.twin.values())
        assert self.index.ids() == list(self.twin)
        assert len(self.index) == len(self.twin)
        assert list(self.reader.documents()) == self.seen_by_reader


def test_an_index_is_like_a_dictionary(monkeypatch):
    approximate_from(10, monkeypatch)
    run_state_machine_as_test(IndexMachine, settings=cases(40, stateful_step_count=12))
