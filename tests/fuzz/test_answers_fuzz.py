"""An embedder that answers anything: refused as ours where it enters, and the index stays as it was."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from bag_of_words import BagOfWords
from fuzzed import DOCUMENTS, assert_same_content, cases, content_of, only_our_errors
from hostile import anything
from hypothesis import given
from hypothesis import strategies as st
from topics import unit

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.index import ContextualIndex

# What a right answer becomes.
CHANGES = {
    "short": lambda vectors: vectors[:-1],
    "long": lambda vectors: np.concatenate([vectors, vectors[:1]]),
    "narrow": lambda vectors: vectors[:, :-1],
    "wide": lambda vectors: np.pad(vectors, ((0, 0), (0, 1))),
    "flat": lambda vectors: vectors.ravel(),
    "deep": lambda vectors: vectors[None],
    "scaled": lambda vectors: vectors * 3,
    "one NaN": lambda vectors: np.where(np.arange(vectors.size).reshape(vectors.shape) == 5, np.nan, vectors),
    "infinite": lambda vectors: vectors + np.inf,
    "huge": lambda vectors: vectors.astype(np.float64) * 1e300,
    "text": lambda vectors: vectors.astype(str),
    "objects": lambda vectors: vectors.astype(object),
    "complex": lambda vectors: vectors.astype(complex),
    "truth": lambda vectors: vectors > 0,
    "ragged": lambda vectors: [row[: 1 + number] for number, row in enumerate(vectors)],
    "generator": lambda vectors: (row for row in vectors),
    "set": lambda vectors: {1, 2},
    "right list": lambda vectors: vectors.tolist(),
    "right doubles": lambda vectors: vectors.astype(np.float64),
    "right halves": lambda vectors: vectors.astype(np.float16),
}
answers = st.one_of(
    st.sampled_from(sorted(CHANGES)).map(lambda name: CHANGES[name]),
    anything.map(lambda value: lambda vectors: value),
)


class Answering(BagOfWords):
    """Answers as told.

    Attributes:
        role: which answer is changed.
        change: what becomes of it.
    """

    def __init__(self, role=None, change=None):
        super().__init__()
        self.role, self.change = role, change

    def encode_documents(self, texts, context, show_progress=None):
        vectors = unit(BagOfWords().first_stage_vectors(texts))  # whatever the context is
        return self.change(vectors) if self.role == "documents" else vectors

    def encode_queries(self, texts, context, show_progress=None):
        vectors = unit(BagOfWords().first_stage_vectors(texts))  # whatever the context is
        return self.change(vectors) if self.role == "queries" else vectors

    def first_stage_vectors(self, texts, show_progress=None):
        vectors = super().first_stage_vectors(texts)
        return self.change(vectors) if self.role == "first stage" else vectors

    def _counts(self, text):
        return BagOfWords()._counts(text)  # its true width, whatever it says

    def fit_context(self, *choice, **options):
        context = super().fit_context(*choice, **options)
        return self.change(context.vectors) if self.role == "context" else context


ROLES = st.sampled_from(["documents", "queries", "first stage", "context"])
USES = {
    "add": lambda index: index.add(["a purple whale", "an orange snail"]),
    "upsert": lambda index: index.upsert(["a purple whale", DOCUMENTS[3]]),
    "refit": lambda index: index.refit(seed=1, size=3),
    "search": lambda index: index.search(["red cat", "a dog"], k=3),
}


@cases(100)
@given(role=ROLES, change=answers, use=st.sampled_from(sorted(USES)))
def test_an_index_takes_only_unit_vectors(saved, role, change, use):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copytree(saved, Path(folder) / "index"))
        before = content_of(path)
        done = False
        with only_our_errors():
            USES[use](ContextualIndex.open(path, Answering(role, change)))
            done = True
        if not done or use == "search":
            assert_same_content(path, before)
        index = ContextualIndex.open(path, BagOfWords())
        lengths = np.linalg.norm(index.vectors(index.ids()), axis=1)
        assert (np.abs(lengths - 1) < 0.02).all() or 0 in lengths
        index.optimize()


@cases(60)
@given(role=ROLES, change=answers)
def test_a_build_takes_only_unit_vectors(role, change):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        with only_our_errors():
            ContextualIndex.build(DOCUMENTS, Answering(role, change), path)
        with only_our_errors():
            ContextualIndex.build(DOCUMENTS, BagOfWords(), path)  # goes on from there, or says that it is done
        assert len(ContextualIndex.open(path)) == len(DOCUMENTS)


@cases(200)
@given(role=ROLES, change=answers)
def test_a_binding_takes_only_unit_vectors(role, change):
    binding = ContextBinding(Answering(role, change), "fit")
    with only_our_errors():
        binding.fit([document.text for document in DOCUMENTS])
        for encode in (binding.encode_documents, binding.encode_queries):
            vectors = encode(["red cat", "a dog"])
            assert vectors.shape == (2, 32)
            assert vectors.dtype == np.float32


@cases(80)
@given(
    name=anything,
    fingerprint=anything,
    width=anything,
    hostile=st.sets(st.sampled_from(["name", "fingerprint", "width"])),
)
def test_an_embedder_that_is_anything(name, fingerprint, width, hostile):
    embedder = Answering()
    for attribute, value in (("name", name), ("fingerprint", fingerprint), ("width", width)):
        if attribute in hostile:
            setattr(embedder, attribute, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        with only_our_errors():
            ContextualIndex.build(DOCUMENTS, embedder, path)
            assert len(ContextualIndex.open(path)) == len(DOCUMENTS)
