import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import QueryBundle, TextNode
from tiny import CORPUS

from cde_retrievers.errors import ContextMismatchError, ContextNotFittedError, PathInUseError
from cde_retrievers.llama_index import ContextualEmbedding, ContextualRetriever, ContextualVectorStore

NODES = [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(CORPUS)]


@pytest.fixture
def embed_model(model_folder):
    return ContextualEmbedding(str(model_folder), device="cpu", dtype="float32")


def test_from_nodes_fits_indexes_and_finds(model_folder):
    retriever = ContextualRetriever.from_nodes(NODES, model=str(model_folder), similarity_top_k=3)
    found = retriever.retrieve(CORPUS[7])
    assert retriever.embed_model.context.corpus_size == len(NODES)
    assert len(found) == 3
    assert found[0].node_id == "n7"


def test_from_documents_fits_on_the_chunks(embed_model):
    documents = [Document(text=". ".join(CORPUS[i : i + 9])) for i in range(0, 54, 9)]
    splitter = SentenceSplitter(chunk_size=24, chunk_overlap=0)
    retriever = ContextualRetriever.from_documents(documents, transformations=[splitter], embed_model=embed_model)
    assert embed_model.context.corpus_size == len(splitter(documents)) > len(documents)
    assert len(retriever.retrieve("red cat")) == 4


def test_embeddings_with_a_context_keep_it(embed_model):
    embed_model.fit(CORPUS[:9])
    ContextualRetriever.from_nodes(NODES, embed_model=embed_model)
    assert embed_model.context.corpus_size == 9


def test_the_index_is_kept_where_it_is_told(embed_model, tmp_path):
    retriever = ContextualRetriever.from_nodes(NODES, embed_model=embed_model, path=tmp_path / "index")
    store = ContextualVectorStore.open(tmp_path / "index")
    again = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    found = ContextualRetriever(again, store.embed_model).retrieve(CORPUS[7])
    assert [hit.node_id for hit in found] == [hit.node_id for hit in retriever.retrieve(CORPUS[7])]
    with pytest.raises(PathInUseError, match=r"ContextualVectorStore\.open\("):
        ContextualRetriever.from_nodes(NODES, embed_model=embed_model, path=tmp_path / "index")


def test_queries_may_be_embedded_from_other_texts(embed_model):
    hyde = QueryBundle("where is it?", custom_embedding_strs=[CORPUS[7]])
    assert ContextualRetriever.from_nodes(NODES, embed_model=embed_model).retrieve(hyde)[0].node_id == "n7"


async def test_async_finds_the_same(embed_model):
    retriever = ContextualRetriever.from_nodes(NODES, embed_model=embed_model)
    assert [n.node_id for n in await retriever.aretrieve("red cat")] == [
        n.node_id for n in retriever.retrieve("red cat")
    ]


def test_any_iterable_of_nodes_is_indexed(embed_model):
    assert ContextualRetriever.from_nodes(iter(NODES), embed_model=embed_model).retrieve(CORPUS[7])[0].node_id == "n7"


def test_an_index_of_another_context_is_refused(embed_model, model_folder):
    other = ContextualEmbedding(str(model_folder), device="cpu", dtype="float32").fit(CORPUS[:9])
    index = VectorStoreIndex(NODES, embed_model=other)
    with pytest.raises(ContextNotFittedError):
        ContextualRetriever(index, embed_model)
    with pytest.raises(ContextMismatchError):
        ContextualRetriever(index, embed_model.fit(NODES))


async def test_refitting_under_a_retriever_is_noticed(embed_model):
    retriever = ContextualRetriever.from_nodes(NODES, embed_model=embed_model)
    embed_model.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError, match="build the index again"):
        retriever.retrieve("red cat")
    with pytest.raises(ContextMismatchError, match="build the index again"):
        await retriever.aretrieve("red cat")


def test_an_embedding_that_expects_a_context_is_fitted(embed_model, model_folder):
    expected = embed_model.fit(NODES).context.fingerprint
    other = ContextualEmbedding(str(model_folder), device="cpu", dtype="float32", context_fingerprint=expected)
    assert ContextualRetriever.from_nodes(NODES, embed_model=other).retrieve(CORPUS[7])[0].node_id == "n7"
