import pytest
from langchain_core.documents import Document
from langchain_core.tracers.base import BaseTracer
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import ContextMismatchError, ContextNotFittedError, PathInUseError
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
        ContextualRetriever(embeddings=embeddings, vectorstore=store, search_type="mmr")


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
