"""Wrong Python types at the public entry points are errors of ours, before anything is read, embedded or written."""

from pathlib import Path

import numpy as np
import pytest
from bag_of_words import BagOfWords
from langchain_core.documents import Document
from tiny import CORPUS

from cde_retrievers import ContextualEncoder, CorpusContext, drift, evaluation, report
from cde_retrievers.corpora import Corpus
from cde_retrievers.errors import CDEError, ConfigurationError, InvalidDocumentError, InvalidTextError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.index import ContextualIndex
from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.langchain import ContextualRetriever as ChainRetriever
from cde_retrievers.langchain import ContextualVectorStore as ChainVectorStore
from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore, load_index
from cde_retrievers.llama_index import ContextualRetriever as LlamaRetriever
from cde_retrievers.training import TrainingConfig, train

NO_PATHS = [5, None, b"bytes", [], 1.5, "", "a\0b", Path("a\0b"), "a\ud800b"]
NO_PATHS += ["s3://bucket/x", "S3://bucket/x", Path("gs://bucket/x"), "hdfs:/x", "file:///x"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return ContextualIndex.build(CORPUS, BagOfWords(), tmp_path_factory.mktemp("indexes") / "index")


@pytest.fixture(scope="module")
def embedder():
    return BagOfWords()


@pytest.fixture(scope="module")
def context(embedder):
    return embedder.fit_context(CORPUS)


PATHS = {
    "context, load": lambda path, given: CorpusContext.load(path),
    "context, save": lambda path, given: given.context.save(path),
    "encoder": lambda path, given: ContextualEncoder.from_pretrained(path),
    "bi-encoder": lambda path, given: ContextualEncoder.from_biencoder(path),
    "index, build": lambda path, given: ContextualIndex.build(CORPUS, given.embedder, path),
    "index, create": lambda path, given: ContextualIndex.create(given.embedder, given.context, path),
    "index, open": lambda path, given: ContextualIndex.open(path),
    "corpus": lambda path, given: Corpus(path),
    "retrieval set": lambda path, given: RetrievalDataset.read(path),
    "evaluation": lambda path, given: evaluation.Evaluation.load(path),
    "report": lambda path, given: report.report("minilm", "data", path),
    "LangChain, context": lambda path, given: given.chain.save_context(path),
    "LangChain, store": lambda path, given: ChainVectorStore.open(path),
    "LlamaIndex, context": lambda path, given: given.llama.save_context(path),
    "LlamaIndex, store": lambda path, given: ContextualVectorStore.open(path),
    "LlamaIndex, load": lambda path, given: load_index(path, given.llama),
}


@pytest.fixture
def given(embedder, context):
    class Given:
        pass

    Given.embedder, Given.context = embedder, context
    Given.chain = ContextualEmbeddings(encoder=embedder).fit(CORPUS)
    Given.llama = ContextualEmbedding(encoder=embedder).fit(CORPUS)
    return Given


@pytest.mark.parametrize("use", PATHS.values(), ids=PATHS)
def test_what_is_no_path_is_refused(use, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in NO_PATHS:
        with pytest.raises(ConfigurationError, match="must be"):
            use(path, given)
    assert list(tmp_path.iterdir()) == []


CHOICES = [
    {"strategy": []},
    {"strategy": None},
    {"size": "x"},
    {"size": True},
    {"size": 3.0},
    {"size": 10**12},
    {"size": 10**400},
    {"seed": None},
    {"seed": 1.5},
    {"seed": 10**5_000},
    {"show_progress": "yes"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=[next(iter(choice)) for choice in CHOICES])
def test_choices_of_a_wrong_type_are_refused_before_the_corpus_is_read(choice, make_encoder, index, tmp_path):
    def corpus():
        pytest.fail("the corpus was read")
        yield

    calls = [
        lambda: make_encoder().fit_context(corpus(), **choice),
        lambda: WhitenedEmbedder("paid-1", lambda texts: pytest.fail("paid")).fit_context(corpus(), **choice),
        lambda: ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "index", **choice),
        lambda: index.refit(**choice),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=rf"^{next(iter(choice))} must be"):
            call()
    assert index.generation == 1


def test_numbers_of_numpy_are_numbers(make_encoder, index, tmp_path):
    encoder = make_encoder()
    assert encoder.fit_context(CORPUS, np.int64(8), seed=np.int32(3)) == encoder.fit_context(CORPUS, 8, seed=3)
    built = ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "index", size=np.int64(8), batch_size=np.int16(9))
    assert len(built.search("red cat", k=np.int64(3))) == 3


@pytest.mark.parametrize("k", ["3", 1.5, None, True, 0, 10**20, [3]])
def test_a_number_of_hits_that_is_none_is_refused(index, k):
    with pytest.raises(ConfigurationError, match="k must be"):
        index.search("red cat", k=k)


WRONG = {
    "drift, sample": lambda given: drift.measure(given.context, CORPUS, given.embedder, sample="x"),
    "drift, seed": lambda given: drift.measure(given.context, CORPUS, given.embedder, seed=None),
    "compare, seeds": lambda given: evaluation.compare("minilm", "data", seeds=5),
    "compare, sizes": lambda given: evaluation.compare("minilm", "data", sizes=["8"]),
    "compare, strategies": lambda given: evaluation.compare("minilm", "data", strategies="kmeans"),
    "report, split": lambda given: report.report("minilm", "data", "page.html", split=5),
    "index, kind": lambda given: ContextualIndex.create(given.embedder, given.context, "index", kind=[]),
    "index, open": lambda given: ContextualIndex.open("index", read_only="yes"),
    "train, config": lambda given: train("minilm", "data", {}),
    "train, checkpoint": lambda given: train("minilm", "data", TrainingConfig("out"), resume_from_checkpoint=5),
    "LangChain, documents": lambda given: ChainVectorStore(given.chain).add_documents(5),
    "LangChain, items": lambda given: ChainVectorStore(given.chain).add_documents([5]),
    "LangChain, retriever": lambda given: ChainRetriever.from_documents(5),
    "LangChain, k": lambda given: ChainRetriever.from_documents([Document(page_content="a")], k="4"),
    "LangChain, refit": lambda given: given.chain.fit(CORPUS, refit="yes"),
    "LlamaIndex, retriever": lambda given: LlamaRetriever.from_nodes(5),
    "LlamaIndex, documents": lambda given: LlamaRetriever.from_documents(5),
    "LlamaIndex, top k": lambda given: LlamaRetriever.from_nodes([], similarity_top_k="4"),
    "LlamaIndex, refit": lambda given: given.llama.fit(CORPUS, refit=1),
}


@pytest.mark.parametrize("use", WRONG.values(), ids=WRONG)
def test_other_wrong_types_are_refused(use, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CDEError) as caught:
        use(given)
    assert isinstance(caught.value, ConfigurationError | InvalidTextError | InvalidDocumentError)
    assert list(tmp_path.iterdir()) == []


def test_no_texts_are_no_tokens(make_encoder):
    ids, mask = make_encoder().tokenize([])
    assert ids.shape == mask.shape == (0, 0)
