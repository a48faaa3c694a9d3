"""An embedder that answers wrongly, or fails in the middle: refused where its answer enters, and nothing is changed."""

import asyncio

import numpy as np
import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS, QUERIES

from cde_retrievers import drift
from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.errors import ConfigurationError, EmbeddingServiceError
from cde_retrievers.evaluation import evaluate
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.index import ContextualIndex
from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore
from cde_retrievers.llama_index import ContextualEmbedding
from cde_retrievers.retrieval.judgements import JudgedQueries

DATA = RetrievalDataset(
    "animals",
    tuple(f"d{i}" for i in range(len(CORPUS))),
    tuple(CORPUS),
    JudgedQueries({"q0": QUERIES[0]}, {"q0": {"d0": 1}}),
)


class OwnError(Exception):
    """The embedder's own."""


def failing(vectors):
    raise OwnError


async def coroutine():
    return np.eye(3)


WRONG = {
    "a row too few": lambda vectors: vectors[:-1],
    "a row too many": lambda vectors: np.concatenate([vectors, vectors[:1]]),
    "narrower": lambda vectors: vectors[:, 1:],
    "NaN": lambda vectors: vectors * np.nan,
    "longer": lambda vectors: vectors * 7,
    "nothing": lambda vectors: None,
    "ragged": lambda vectors: [vectors[0][:1], *vectors[1:]],
    "objects": lambda vectors: vectors.astype(object),
    "a coroutine": lambda vectors: coroutine(),
}


class Answering(BagOfWords):
    """Answers as told.

    Attributes:
        documents, queries, first_stage, context: what becomes of each kind of answer.
        after: how many calls for documents are answered rightly before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.documents = self.queries = self.first_stage = self.context = lambda answer: answer
        self.after = 0

    def encode_documents(self, texts, context, show_progress=None):
        vectors = super().encode_documents(texts, context)
        self.after -= 1
        return vectors if self.after >= 0 else self.documents(vectors)

    def encode_queries(self, texts, context, show_progress=None):
        return self.queries(super().encode_documents(texts, context))

    def first_stage_vectors(self, texts, show_progress=None):
        return self.first_stage(super().first_stage_vectors(texts))

    def _counts(self, text):
        return BagOfWords()._counts(text)  # its true width, whatever it says

    def fit_context(self, *choice, **options):
        return self.context(super().fit_context(*choice, **options))


@pytest.fixture
def embedder():
    return Answering()


@pytest.fixture
def index(embedder, tmp_path):
    return ContextualIndex.build(CORPUS, embedder, tmp_path / "index")


@pytest.fixture(params=WRONG)
def wrong(request):
    return WRONG[request.param]


CHANGES = {
    "add": lambda index: index.add(["a purple whale", "an orange snail"]),
    "upsert": lambda index: index.upsert(["a purple whale", "an orange snail"]),
    "refit": lambda index: index.refit(size=8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_wrong_answer_leaves_an_index_as_it_was(index, embedder, wrong, change):
    before = index.search(QUERIES[0], k=5)
    embedder.documents = wrong
    with pytest.raises(EmbeddingServiceError, match="needed"):
        change(index)
    embedder.documents = lambda answer: answer
    for seen in (index, ContextualIndex.open(index.path, embedder)):
        assert len(seen) == len(CORPUS)
        assert seen.search(QUERIES[0], k=5) == before
    change(index)  # with right answers it goes on


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_embedder_that_fails_leaves_an_index_as_it_was(index, embedder, change):
    embedder.documents = failing
    with pytest.raises(OwnError):
        change(index)
    embedder.documents = lambda answer: answer
    assert len(ContextualIndex.open(index.path, embedder)) == len(CORPUS)
    change(index)


@pytest.mark.parametrize("wrong", [*WRONG.values(), failing], ids=[*WRONG, "failing"])
def test_a_build_keeps_the_right_batches_and_goes_on(embedder, wrong, tmp_path):
    embedder.documents, embedder.after = wrong, 2
    with pytest.raises((EmbeddingServiceError, OwnError)):
        ContextualIndex.build(CORPUS, embedder, tmp_path / "index", batch_size=20)
    embedder.documents, embedder.embedded = lambda answer: answer, 0
    index = ContextualIndex.build(CORPUS, embedder, tmp_path / "index", batch_size=20)
    assert (len(index), embedder.embedded) == (len(CORPUS), len(CORPUS) - 40)
    assert index.search(CORPUS[3], k=1)[0].text == CORPUS[3]


def test_a_wrong_answer_to_a_query_is_refused(index, embedder, wrong):
    embedder.queries = wrong
    for query in (QUERIES[0], QUERIES[:3]):
        with pytest.raises(EmbeddingServiceError, match="needed"):
            index.search(query)


def test_answers_that_share_a_buffer_are_told_apart(embedder, tmp_path, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.build._AT_A_TIME", 18)
    buffer = np.empty((18, embedder.width), dtype=np.float32)

    def into_buffer(vectors):
        buffer[:] = vectors
        return buffer

    embedder.documents = into_buffer
    index = ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    expected = BagOfWords().encode_documents(CORPUS, index.context)
    np.testing.assert_array_equal(index.vectors(index.ids()), expected)


CONTEXTS = {
    "nothing": lambda context: None,
    "vectors": lambda context: context.vectors,
    "a coroutine": lambda context: coroutine(),
    "another model's": lambda context: BagOfWords(name="other").fit_context(CORPUS),
}


@pytest.mark.parametrize("wrong", CONTEXTS.values(), ids=CONTEXTS)
def test_what_is_no_context_is_refused(embedder, tmp_path, wrong):
    embedder.context = wrong
    binding = ContextBinding(embedder, "fit")
    for fit in (lambda: ContextualIndex.build(CORPUS, embedder, tmp_path / "index"), lambda: binding.fit(CORPUS)):
        with pytest.raises(Exception, match=r"must return a CorpusContext|was fitted by model 'other'"):
            fit()
    assert not binding.is_fitted
    embedder.context = lambda answer: answer
    assert len(ContextualIndex.build(CORPUS, embedder, tmp_path / "index")) == len(CORPUS)


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in ("longer", "narrower")])
def test_wrong_context_vectors_are_refused(embedder, wrong):
    context = embedder.fit_context(CORPUS)
    embedder.first_stage = WRONG[wrong]
    with pytest.raises(EmbeddingServiceError, match="needed"):
        embedder.fit_context(CORPUS)
    with pytest.raises(EmbeddingServiceError, match="needed"):
        drift.measure(context, [f"something new {i}" for i in range(40)], embedder)


def test_a_refit_by_an_embedder_of_another_width_is_refused(index, embedder):
    embedder.width = 31
    with pytest.raises(EmbeddingServiceError, match=r"shape \(54, 31\) are needed, found \(54, 32\)"):
        index.refit(size=8)
    assert len(ContextualIndex.open(index.path)) == len(CORPUS)


@pytest.mark.parametrize("width", ["32", 0, None, 32.0])
def test_an_embedder_that_knows_no_width_is_refused(embedder, tmp_path, width):
    embedder.width = width
    with pytest.raises((EmbeddingServiceError, ConfigurationError), match="width"):
        ContextualIndex.build(CORPUS, embedder, tmp_path / "index")


def test_a_binding_refuses_wrong_answers_and_stays_as_it_was(embedder, wrong):
    binding = ContextBinding(embedder, "fit")
    binding.fit(CORPUS)
    embedder.documents = embedder.queries = wrong
    for encode in (binding.encode_documents, binding.encode_queries):
        with pytest.raises(EmbeddingServiceError, match="needed"):
            encode(iter(CORPUS[:3]))
    binding.fit(CORPUS, seed=1)  # nothing counts as embedded


def test_a_binding_is_free_again_after_a_failure(embedder):
    binding = ContextBinding(embedder, "fit")
    binding.fit(CORPUS)
    embedder.documents = failing
    with pytest.raises(OwnError):
        binding.encode_documents(CORPUS)
    embedder.context = failing
    with pytest.raises(OwnError):
        binding.fit(CORPUS, seed=1)
    assert binding.context.seed == 0
    embedder.context = lambda answer: answer
    binding.fit(CORPUS, seed=1)


def test_frameworks_refuse_wrong_answers_awaited_ones_too(embedder, wrong):
    chain = ContextualEmbeddings(encoder=embedder).fit(CORPUS)
    llama = ContextualEmbedding(encoder=embedder).fit(CORPUS)
    embedder.documents = embedder.queries = wrong
    for call in (
        lambda: chain.embed_documents(CORPUS[:3]),
        lambda: chain.embed_query("red cat"),
        lambda: asyncio.run(chain.aembed_documents(CORPUS[:3])),
        lambda: asyncio.run(chain.aembed_query("red cat")),
        lambda: llama.get_text_embedding_batch(CORPUS[:3]),
        lambda: llama.get_query_embedding("red cat"),
        lambda: asyncio.run(llama.aget_text_embedding_batch(CORPUS[:3])),
        lambda: asyncio.run(llama.aget_query_embedding("red cat")),
    ):
        with pytest.raises(EmbeddingServiceError, match="needed"):
            call()


def test_a_store_refuses_wrong_answers(embedder, wrong):
    store = ContextualVectorStore.from_texts(CORPUS, ContextualEmbeddings(encoder=embedder).fit(CORPUS))
    embedder.documents = embedder.queries = wrong
    for call in (
        lambda: store.add_texts(["a purple whale"]),
        lambda: store.similarity_search("red cat"),
        lambda: store.max_marginal_relevance_search("red cat"),
        lambda: asyncio.run(store.asimilarity_search("red cat")),
        lambda: asyncio.run(store.aadd_texts(["a purple whale"])),
    ):
        with pytest.raises(EmbeddingServiceError, match="needed"):
            call()
    assert len(store.index) == len(CORPUS)


@pytest.mark.parametrize("kind", ["documents", "queries"])
def test_an_evaluation_refuses_wrong_answers(embedder, wrong, kind):
    pytest.importorskip("ir_measures")
    setattr(embedder, kind, wrong)
    with pytest.raises(EmbeddingServiceError, match="needed"):
        evaluate(embedder, DATA)


@pytest.mark.parametrize("missing", ["name", "fingerprint", "width", "encode_queries", "fit_context"])
def test_what_is_no_embedder_is_refused(missing, embedder):
    kind = type("Part", (), {name: getattr(embedder, name) for name in MEMBERS if name != missing})
    with pytest.raises(ConfigurationError, match=f"found Part, which has no {missing}"):
        ContextBinding(kind(), "fit")


MEMBERS = (
    "name",
    "fingerprint",
    "width",
    "check_context",
    "fit_context",
    "first_stage_vectors",
    "encode_documents",
    "encode_queries",
)
