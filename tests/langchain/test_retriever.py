import pytest
from langchain_core.documents import Document
from langchain_core.tracers.base import BaseTracer
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    ContextNotFittedError,
    FilterError,
    PathInUseError,
)
from cde_retrievers.langchain import ContextualEmbeddings, ContextualRetriever, ContextualVectorStore

DOCUMENTS = [Document(page_content=text, metadata={"row": i}) for i, text in enumerate(CORPUS)]


@pytest.fixture
def embeddings(model_folder):
    return ContextualEmbeddings(model=str(model_folder), device="cpu", dtype="float32")


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self, embeddings):
        embeddings.fit(DOCUMENTS)
        store = InMemoryVectorStore.from_documents(DOCUMENTS, embeddings)
        self.parts = {"embeddings": embeddings, "vectorstore": store}

    @property
    def retriever_constructor(self):
        return ContextualRetriever

    @property
    def retriever_constructor_params(self):
        return self.parts

    @property
    def retriever_query_example(self):
        return "red cat"


def test_from_documents_fits_indexes_and_finds(model_folder):
    retriever = ContextualRetriever.from_documents(DOCUMENTS, model=str(model_folder), k=3)
    assert retriever.embeddings.context.corpus_size == len(DOCUMENTS)
    found = retriever.invoke(CORPUS[7])
    assert len(found) == 3
    assert found[0].metadata == {"row": 7}
    assert len(retriever.invoke(CORPUS[7], k=1)) == 1


def test_the_index_of_the_default_store_can_be_kept(embeddings, tmp_path):
    retriever = ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings, path=tmp_path / "index")
    store = ContextualVectorStore.open(tmp_path / "index")
    again = ContextualRetriever(embeddings=store.embeddings, vectorstore=store)
    assert again.invoke("red cat") == retriever.invoke("red cat")
    with pytest.raises(PathInUseError, match=r"already holds an index"):
        ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings, path=tmp_path / "index")


def test_embeddings_with_a_context_keep_it(embeddings):
    fitted = embeddings.fit(CORPUS[:9])
    retriever = ContextualRetriever.from_documents(DOCUMENTS, embeddings=fitted)
    assert retriever.embeddings.context.corpus_size == 9
    assert len(retriever.invoke("red cat")) == 4


def test_any_vector_store_class_with_its_options(embeddings):
    class Named(InMemoryVectorStore):
        @classmethod
        def from_documents(cls, documents, embedding, name, **options):
            store = super().from_documents(documents, embedding, **options)
            store.name = name
            return store

    made = ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings, vectorstore_class=Named, name="shop")
    assert made.vectorstore.name == "shop"


async def test_async_finds_the_same(embeddings):
    retriever = ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings)
    assert await retriever.ainvoke("red cat", k=2) == retriever.invoke("red cat", k=2)


def test_traces_name_model_and_context(embeddings, model_folder):
    class Tracer(BaseTracer):
        def _persist_run(self, run):
            self.metadata = run.extra["metadata"]

    retriever = ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings)
    tracer = Tracer()
    retriever.invoke("red cat", {"callbacks": [tracer]})
    assert tracer.metadata["context_fingerprint"] == embeddings.context_fingerprint
    assert tracer.metadata["embedding_model"] == str(model_folder)
    assert tracer.metadata["ls_embedding_provider"] == "cde_retrievers"
    assert tracer.metadata["ls_vector_store_provider"] == "ContextualVectorStore"


def test_bad_settings_are_refused(embeddings, model_folder):
    store = InMemoryVectorStore(embeddings)
    with pytest.raises(ContextNotFittedError):
        ContextualRetriever(embeddings=embeddings, vectorstore=store)
    embeddings.fit(DOCUMENTS)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        ContextualRetriever(embeddings=embeddings, vectorstore=store, k=0)
    with pytest.raises(ValidationError, match="Extra inputs"):
        ContextualRetriever(embeddings=embeddings, vectorstore=store, searchtype="mmr")
    with pytest.raises(ValidationError, match="Input should be 'hybrid', 'similarity', 'lexical', 'mmr' or"):
        ContextualRetriever(embeddings=embeddings, vectorstore=store, search_type="dense")
    for name in ("k", "search_type", "query"):
        with pytest.raises(ConfigurationError, match=f"search_kwargs must leave out '{name}'"):
            ContextualRetriever(embeddings=embeddings, vectorstore=store, search_kwargs={name: 3})
    for kwargs in ({}, {"score_threshold": 1.5}, {"score_threshold": "high"}):
        with pytest.raises(ConfigurationError, match="needs a number from 0 to 1, found"):
            ContextualRetriever(
                embeddings=embeddings,
                vectorstore=store,
                search_type="similarity_score_threshold",
                search_kwargs=kwargs,
            )


def test_a_store_that_was_filled_by_other_embeddings_is_refused(embeddings, model_folder):
    embeddings.fit(DOCUMENTS)
    encoder = ContextualEncoder.from_pretrained(model_folder, device="cpu", dtype="float32")
    foreign = ContextualEmbeddings(encoder=encoder).fit(CORPUS[:5])
    with pytest.raises(ContextMismatchError, match="the vector store embeds under context"):
        ContextualRetriever(embeddings=embeddings, vectorstore=InMemoryVectorStore(foreign))


def test_any_iterable_of_documents_is_indexed(embeddings):
    retriever = ContextualRetriever.from_documents(iter(DOCUMENTS), embeddings=embeddings)
    assert retriever.invoke(CORPUS[7])[0].metadata["row"] == 7


async def test_refitting_under_a_retriever_is_noticed(embeddings):
    retriever = ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings)
    embeddings.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError, match="build the index again"):
        retriever.invoke("red cat")
    with pytest.raises(ContextMismatchError, match="build the index again"):
        await retriever.ainvoke("red cat")


SEARCHES = {
    None: {},
    "hybrid": {},
    "similarity": {},
    "lexical": {},
    "mmr": {"fetch_k": 30, "lambda_mult": 0.3},
    "similarity_score_threshold": {"score_threshold": 0.2},
}


@pytest.mark.parametrize(("search_type", "search_kwargs"), SEARCHES.items())
async def test_every_search_of_the_store_finds_what_the_store_finds(embeddings, search_type, search_kwargs):
    retriever = ContextualRetriever.from_documents(
        DOCUMENTS, embeddings=embeddings, k=5, search_type=search_type, search_kwargs=search_kwargs
    )
    store = retriever.vectorstore

    def found(**options):
        if search_type is None:
            return store.similarity_search("red cat", **options)
        return store.search("red cat", search_type, **search_kwargs, **options)

    assert retriever.invoke("red cat") == await retriever.ainvoke("red cat") == found(k=5)
    assert len(found(k=5)) == 5
    options = {"k": 2, "filter": {"row": {"$lt": 20}}}
    assert retriever.invoke("red cat", **options) == await retriever.ainvoke("red cat", **options) == found(**options)
    expected = store.search("red cat", "lexical", k=3)
    if not search_kwargs:
        assert retriever.invoke("red cat", search_type="lexical", k=3) == expected
        assert await retriever.ainvoke("red cat", search_type="lexical", k=3) == expected
    with pytest.raises(FilterError):
        retriever.invoke("red cat", filter={"raw": 3})


def test_a_filter_of_the_retriever_holds_until_a_call_gives_another(embeddings):
    retriever = ContextualRetriever.from_documents(
        DOCUMENTS, embeddings=embeddings, search_kwargs={"filter": {"row": {"$gte": 40}}}
    )
    assert min(document.metadata["row"] for document in retriever.invoke("red cat")) >= 40
    assert max(document.metadata["row"] for document in retriever.invoke("red cat", filter={"row": {"$lt": 4}})) < 4


class Scored(InMemoryVectorStore):
    def _select_relevance_score_fn(self):
        return lambda score: (1 + score) / 2


@pytest.mark.parametrize("search_type", ["similarity", "mmr", "similarity_score_threshold"])
async def test_another_store_is_searched_by_what_it_has(embeddings, search_type):
    kwargs = {"score_threshold": 0.1} if search_type.endswith("threshold") else {}
    retriever = ContextualRetriever.from_documents(
        DOCUMENTS,
        embeddings=embeddings,
        vectorstore_class=Scored,
        search_type=search_type,
        search_kwargs=kwargs,
    )
    expected = retriever.vectorstore.search("red cat", search_type, k=4, **kwargs)
    assert retriever.invoke("red cat") == await retriever.ainvoke("red cat") == expected
    assert len(expected) == 4
    few = {"k": 2, "filter": lambda document: document.metadata["row"] < 20}
    assert len(retriever.invoke("red cat", **few)) == 2


@pytest.mark.parametrize("search_type", ["hybrid", "lexical"])
def test_a_store_without_words_is_refused_before_any_work(embeddings, search_type):
    options = {"embeddings": embeddings, "search_type": search_type}
    with pytest.raises(ConfigurationError, match=r"InMemoryVectorStore does not keep; .*ContextualHybridRetriever"):
        ContextualRetriever.from_documents(DOCUMENTS, vectorstore_class=InMemoryVectorStore, **options)
    assert not embeddings.is_fitted
    embeddings.fit(DOCUMENTS)
    with pytest.raises(ConfigurationError, match=r"QdrantVectorStore with ContextualSparseEmbeddings"):
        ContextualRetriever(vectorstore=InMemoryVectorStore(embeddings), **options)
