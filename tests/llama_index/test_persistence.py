"""An index persisted with its context: whole or not at all, and checked when it is loaded."""

import shutil

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from remote_store import RemoteStore
from tiny import CORPUS

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ContextFileError, ContextMismatchError, ContextNotFittedError, PathInUseError
from cde_retrievers.llama_index import check_index, load_index, persist_index, stamped


@pytest.fixture
def embed_model(make_embedding):
    return make_embedding().fit(CORPUS)


@pytest.fixture
def index(embed_model, make_nodes):
    return VectorStoreIndex(stamped(make_nodes(), embed_model), embed_model=embed_model)


@pytest.fixture
def folder(index, embed_model, tmp_path):
    persist_index(index, embed_model, tmp_path / "index")
    return tmp_path / "index"


def found(index):
    return [(hit.node_id, hit.score) for hit in index.as_retriever(similarity_top_k=3).retrieve("red cat")]


def test_the_model_is_loaded_by_the_name_in_the_context(index, folder):
    assert [node for node, _ in found(load_index(folder))] == [node for node, _ in found(index)]


def test_a_given_embedding_stays_as_it_is(index, folder, make_embedding, embed_model):
    unfitted = make_embedding()
    assert found(load_index(folder, unfitted)) == found(index)
    assert unfitted.context_fingerprint is None
    assert found(load_index(folder, embed_model)) == found(index)


def test_another_context_or_model_is_refused(folder, make_embedding, make_encoder):
    with pytest.raises(ContextMismatchError, match="load the context that was saved with the index"):
        load_index(folder, make_embedding().fit(CORPUS[:9]))
    restored = make_embedding(context_fingerprint="of another index")
    with pytest.raises(ContextMismatchError, match="of another index"):
        load_index(folder, restored)
    with pytest.raises(ContextMismatchError, match="fitted by model"):
        load_index(folder, type(restored)(encoder=make_encoder(document_prompt="the ")))


def test_only_the_context_it_was_built_under_is_saved(index, embed_model, make_embedding, tmp_path):
    with pytest.raises(ContextNotFittedError):
        persist_index(index, make_embedding(), tmp_path / "index")
    with pytest.raises(ContextMismatchError):
        persist_index(index, make_embedding().fit(CORPUS[:9]), tmp_path / "index")
    with pytest.raises(ContextMismatchError, match="load the context that was saved"):
        persist_index(index, embed_model.fit(CORPUS[:9], refit=True), tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_nodes_without_a_stamp_are_not_vouched_for(index, embed_model, make_embedding, tmp_path):
    other = make_embedding().fit(CORPUS[:9])
    index.insert_nodes(other([TextNode(text="one more cat")]))
    with pytest.raises(ContextMismatchError, match=r"nodes that carry no context.*stamped\(nodes, embed_model\)"):
        persist_index(index, embed_model, tmp_path / "index")


def test_vectors_that_are_elsewhere_are_looked_at_too(embed_model, make_embedding, make_nodes, tmp_path):
    def filled(model):
        store = RemoteStore()
        store.add(model(stamped(make_nodes(), model)))
        return store

    store, other = filled(embed_model), make_embedding().fit(CORPUS[:9])
    with pytest.raises(ContextMismatchError):
        persist_index(VectorStoreIndex.from_vector_store(store, embed_model=other), other, tmp_path / "index")
    index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    persist_index(index, embed_model, tmp_path / "index")
    assert found(load_index(tmp_path / "index", embed_model, vector_store=store)) == found(index)
    with pytest.raises(ContextMismatchError):
        load_index(tmp_path / "index", embed_model, vector_store=filled(other))


def test_a_second_time_replaces_the_first(folder, make_embedding, make_nodes):
    other = make_embedding().fit(CORPUS[:9])
    persist_index(VectorStoreIndex(stamped(make_nodes(CORPUS[:9]), other), embed_model=other), other, folder)
    assert check_index(folder, other).verdict == "same context"
    assert len(load_index(folder, other).docstore.docs) == 9


def test_an_interrupted_save_leaves_the_first_whole(folder, index, embed_model, monkeypatch):
    def interrupted(self, path):
        raise KeyboardInterrupt

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(CorpusContext, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        persist_index(index, embed_model, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_other_files_are_left_alone(index, embed_model, folder, tmp_path):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(PathInUseError, match=r"notes\.txt"):
        persist_index(index, embed_model, folder)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("mine")
    with pytest.raises(PathInUseError):
        persist_index(index, embed_model, tmp_path / "theirs")


def test_a_missing_or_foreign_context_is_noticed(folder, make_embedding, tmp_path):
    make_embedding().fit(CORPUS[:9]).save_context(tmp_path / "other")
    shutil.rmtree(folder / "context")
    with pytest.raises(ContextFileError, match="holds no context"):
        load_index(folder)
    shutil.copytree(tmp_path / "other", folder / "context")
    with pytest.raises(ContextFileError, match="the index next to it was built under"):
        load_index(folder)
    (folder / "cde_index.json").unlink()
    with pytest.raises(ContextFileError, match="was not saved with persist_index"):
        load_index(folder)


def test_an_index_written_over_it_is_noticed(folder, make_embedding, make_nodes):
    other = make_embedding().fit(CORPUS[:9])
    VectorStoreIndex(make_nodes(), embed_model=other).storage_context.persist(folder)
    for look in (load_index, lambda path: check_index(path, other)):
        with pytest.raises(ContextFileError, match="or was changed since by something other than persist_index"):
            look(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("docstore.json", "docstore.json is damaged"),
        ("default__vector_store.json", "default__vector_store.json is damaged"),
        ("cde_index.json", "cde_index.json is damaged"),
    ],
)
def test_a_damaged_file_is_named(folder, name, message):
    (folder / name).write_text((folder / name).read_text()[:-9])
    with pytest.raises(ContextFileError, match=message):
        load_index(folder)


def test_an_incomplete_or_edited_index_is_named(folder):
    seal = (folder / "cde_index.json").read_text()
    (folder / "index_store.json").rename(folder / "moved.json")
    with pytest.raises(ContextFileError, match=r"is incomplete: it has no index_store\.json"):
        load_index(folder)
    (folder / "cde_index.json").write_text(seal.replace("index_store.json", "moved.json"))
    with pytest.raises(ContextFileError, match=r"cde_index\.json was edited"):
        load_index(folder)
