"""Collecting takes whole shards of the plan alone, and each row once."""

import shutil

import numpy as np
import pytest

from cde_retrievers.bulk import Worker, collect
from cde_retrievers.bulk.paths import shard_file
from cde_retrievers.bulk.targets import IndexTarget
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, PathInUseError, ShardError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.retrieval.document import Document

ROWS = [Document(f"a red cat eats file {number}", f"row-{number}", {"n": number}) for number in range(12)]


@pytest.fixture
def embedded(make_plan):
    made = make_plan(ROWS)
    worker = Worker(made)
    for number in range(len(made.shards)):
        worker.embed(number)
    return made


@pytest.fixture
def index(encoder, context, tmp_path):
    return ContextualIndex.create(encoder, context, tmp_path / "index")


def test_an_index_is_as_one_that_was_built(embedded, index, encoder, context, tmp_path):
    report = collect(embedded, index)
    assert (report.shards, report.rows, report.added) == (3, 12, 12)
    built = ContextualIndex.build(ROWS, encoder, tmp_path / "built", context=context)
    assert list(index.documents()) == list(built.documents()) == ROWS
    ids = index.ids()
    np.testing.assert_allclose(index.vectors(ids), built.vectors(ids), atol=1e-6)


def test_collecting_again_adds_nothing(embedded, index):
    collect(embedded, index)
    generation = index.generation
    assert collect(embedded.directory, index).added == 0
    assert index.generation == generation


def test_an_interrupted_collection_continues(embedded, index, monkeypatch):
    add = IndexTarget.add

    def interrupted(self, plan, number, shard):
        if number == 2:
            raise KeyboardInterrupt
        return add(self, plan, number, shard)

    with monkeypatch.context() as patch:
        patch.setattr(IndexTarget, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect(embedded, index)
    assert len(index) == 10
    assert collect(embedded, index).added == 2
    assert list(index.documents()) == ROWS


def test_a_row_that_was_changed_in_the_index_is_the_plans_again(embedded, index):
    collect(embedded, index)
    index.upsert([Document("a dog", "row-3")])
    index.delete(["row-7"])
    assert collect(embedded, index).added == 2
    assert index.get(["row-3", "row-7"]) == [ROWS[3], ROWS[7]]


def test_other_documents_of_the_index_stay(embedded, index):
    index.add([Document("a bird", "mine")])
    collect(embedded, index)
    assert len(index) == 13
    assert "mine" in index


def test_missing_shards_are_refused_before_anything_is_added(embedded, index):
    shard_file(embedded.directory, 1).unlink()
    with pytest.raises(ShardError, match=r"1 of 3 shards are not embedded yet \(1\)"):
        collect(embedded, index)
    assert len(index) == 0


def test_a_swapped_shard_is_refused(embedded, index):
    shutil.copy(shard_file(embedded.directory, 0), shard_file(embedded.directory, 1))
    with pytest.raises(ShardError, match="another input, number"):
        collect(embedded, index)


def test_a_cut_shard_is_refused(embedded, index):
    path = shard_file(embedded.directory, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match="cut, damaged"):
        collect(embedded, index)
    Worker(embedded).embed(2)
    collect(embedded, index)
    assert list(index.documents()) == ROWS


def test_an_index_of_another_context_is_refused(embedded, encoder, tmp_path):
    other = encoder.fit_context([f"the old bird {number}" for number in range(20)])
    index = ContextualIndex.create(encoder, other, tmp_path / "other")
    with pytest.raises(ContextMismatchError, match="index is of"):
        collect(embedded, index)


def test_parquet_files_read_as_one_data_set(embedded, tmp_path):
    import pyarrow.dataset

    assert collect(embedded, tmp_path / "rows").added == 12
    table = pyarrow.dataset.dataset(tmp_path / "rows").to_table()
    assert table.column("id").to_pylist() == [row.id for row in ROWS]
    assert table.column("metadata").to_pylist()[3] == '{"n":3}'
    assert collect(embedded, tmp_path / "rows").added == 0


def test_a_directory_with_other_files_is_refused(embedded, tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "00007.parquet").write_text("mine")
    with pytest.raises(PathInUseError, match="other files"):
        collect(embedded, tmp_path / "rows")


def test_collecting_into_parquet_continues_after_a_kill_inside_a_write(embedded, tmp_path):
    collect(embedded, tmp_path / "rows")
    (tmp_path / "rows" / "00002.parquet").unlink()
    (tmp_path / "rows" / ".cde-0123456789abcdef-ab12_cd3").mkdir()
    assert collect(embedded, tmp_path / "rows").added == 2


def test_a_file_is_refused(embedded, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PathInUseError, match="is a file"):
        collect(embedded, tmp_path / "file")


@pytest.mark.parametrize("into", [None, 3, ["rows"]])
def test_other_targets_are_refused(embedded, into):
    with pytest.raises(ConfigurationError, match="into must be"):
        collect(embedded, into)


def test_an_object_store_is_refused(embedded):
    with pytest.raises(ConfigurationError, match=r"into must be .* file system"):
        collect(embedded, "s3://bucket/rows")


def never_embeds(encoder):
    """The encoder, but for documents: those are embedded already."""

    class Silent(type(encoder)):
        def encode_documents(self, texts, context, show_progress=None):
            raise AssertionError("embedded again")

    silent = Silent.__new__(Silent)
    silent.__dict__.update(encoder.__dict__)
    return silent


def test_a_langchain_store_is_given_the_vectors(embedded, encoder):
    from langchain_core.vectorstores import InMemoryVectorStore

    from cde_retrievers.langchain import ContextualEmbeddings

    embeddings = ContextualEmbeddings(encoder=never_embeds(encoder), context_path=embedded.directory / "context")
    store = InMemoryVectorStore(embeddings)
    assert collect(embedded, store).added == 12
    assert collect(embedded, store).added == 0
    assert [found.id for found in store.similarity_search(ROWS[3].text, k=1)] == ["row-3"]
    [found] = store.get_by_ids(["row-3"])
    assert found.metadata == {"n": 3, "cde_context": embedded.context_fingerprint}
    texts = [row.text for row in ROWS]
    expected = encoder.encode_documents(texts, embeddings.context)
    np.testing.assert_allclose([store.store[row.id]["vector"] for row in ROWS], expected, atol=1e-6)
    with pytest.raises(AssertionError, match="embedded again"):
        embeddings.embed_documents(texts)


def test_a_langchain_store_over_our_index_is_that_index(embedded, encoder, index):
    from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore

    embeddings = ContextualEmbeddings(encoder=encoder, context_path=embedded.directory / "context")
    collect(embedded, ContextualVectorStore(embeddings, index=index))
    assert list(index.documents()) == ROWS


def test_a_llama_index_is_given_the_vectors(embedded, encoder):
    from llama_index.core import VectorStoreIndex

    from cde_retrievers.llama_index import ContextualEmbedding

    embed_model = ContextualEmbedding(encoder=never_embeds(encoder), context_path=embedded.directory / "context")
    index = VectorStoreIndex([], embed_model=embed_model)
    assert collect(embedded, index).added == 12
    assert collect(embedded, index).added == 0
    [found] = index.as_retriever(similarity_top_k=1).retrieve(ROWS[3].text)
    assert (found.node.node_id, found.node.text) == ("row-3", ROWS[3].text)
    assert found.node.metadata == {"n": 3, "cde_context": embedded.context_fingerprint}
    vectors = index.vector_store.data.embedding_dict
    expected = encoder.encode_documents([row.text for row in ROWS], embed_model.context)
    np.testing.assert_allclose([vectors[row.id] for row in ROWS], expected, atol=1e-6)


def test_a_store_of_another_context_is_refused(embedded, encoder):
    from langchain_core.vectorstores import InMemoryVectorStore
    from llama_index.core import VectorStoreIndex

    from cde_retrievers.langchain import ContextualEmbeddings
    from cde_retrievers.llama_index import ContextualEmbedding

    texts = [f"the old bird {number}" for number in range(20)]
    for store in (
        InMemoryVectorStore(ContextualEmbeddings(encoder=encoder).fit(texts)),
        VectorStoreIndex([], embed_model=ContextualEmbedding(encoder=encoder).fit(texts)),
    ):
        with pytest.raises(ContextMismatchError, match="store's embeddings give those of"):
            collect(embedded, store)


def test_a_langchain_store_is_not_mixed_with_rows_of_another_context(embedded, encoder):
    from langchain_core.vectorstores import InMemoryVectorStore

    from cde_retrievers.langchain import ContextualEmbeddings

    embeddings = ContextualEmbeddings(encoder=encoder, context_path=embedded.directory / "context")
    store = InMemoryVectorStore(embeddings)
    collect(embedded, store)
    store.store["row-3"]["metadata"]["cde_context"] = "f" * 64
    del store.store["row-7"]
    with pytest.raises(ContextMismatchError, match=r"has document 'row-3' under context ffff.* refit_store"):
        collect(embedded, store)
    del store.store["row-3"]["metadata"]["cde_context"]
    assert collect(embedded, store).added == 1  # what has no stamp is compared by its text


def test_a_langchain_collection_that_states_another_context_is_refused(embedded, encoder):
    chromadb = pytest.importorskip("chromadb")
    from langchain_chroma import Chroma

    from cde_retrievers.langchain import ContextualEmbeddings

    embeddings = ContextualEmbeddings(encoder=encoder, context_path=embedded.directory / "context")
    options = {"client": chromadb.EphemeralClient(), "collection_name": "of-another-context"}
    store = Chroma(embedding_function=embeddings, collection_metadata={"cde_context": "f" * 64}, **options)
    with pytest.raises(ContextMismatchError, match="ffff"):
        collect(embedded, store)


def test_a_llama_index_store_is_not_mixed_with_rows_of_another_context(embedded, encoder):
    from llama_index.core import VectorStoreIndex

    from cde_retrievers.llama_index import ContextualEmbedding

    embed_model = ContextualEmbedding(encoder=encoder, context_path=embedded.directory / "context")
    index = VectorStoreIndex([], embed_model=embed_model)
    collect(embedded, index)
    node = index.docstore.get_node("row-3")
    node.metadata["cde_context"] = "f" * 64
    index.docstore.add_documents([node])
    with pytest.raises(ContextMismatchError, match="has document 'row-3' under context ffff"):
        collect(embedded, index)


def test_another_row_of_an_id_is_replaced_in_a_store_that_only_adds(embedded, encoder):
    chromadb = pytest.importorskip("chromadb")
    vector_stores = pytest.importorskip("llama_index.vector_stores.chroma")
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode

    from cde_retrievers.llama_index import ContextualEmbedding

    embed_model = ContextualEmbedding(encoder=encoder, context_path=embedded.directory / "context")
    collection = chromadb.EphemeralClient().create_collection("only-adds")
    store = vector_stores.ChromaVectorStore(chroma_collection=collection)
    store.add([TextNode(id_="row-3", text="a dog", embedding=[1.0] * encoder.width)])
    index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    assert collect(embedded, index).added == 12
    assert collection.get("row-3")["documents"] == [ROWS[3].text]
    assert collect(embedded, index).added == 0


def test_a_store_that_does_not_tell_its_embeddings_is_refused_as_such(embedded, encoder):
    from langchain_core.vectorstores import InMemoryVectorStore

    class Silent(InMemoryVectorStore):
        embeddings = None

    with pytest.raises(ConfigurationError, match=r"if it tells its embeddings, found none; .* Parquet"):
        collect(embedded, Silent(None))


def test_a_store_with_other_embeddings_is_refused(embedded):
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.vectorstores import InMemoryVectorStore

    with pytest.raises(ConfigurationError, match="if its embeddings are of this library"):
        collect(embedded, InMemoryVectorStore(DeterministicFakeEmbedding(size=32)))
