"""A vector store and its embeddings stay under one context; the store's directory."""

import gc
import pickle
import subprocess
import sys
import threading

import pytest
from bag_of_words import BagOfWords
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import (
    ConfigurationError,
    ContextInUseError,
    ContextMismatchError,
    ContextNotFittedError,
    DeviceMemoryError,
    IndexFileError,
    IndexLockedError,
    InvalidDocumentError,
    PathInUseError,
    ReadOnlyError,
)
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore

DOCUMENTS = [Document(id=f"d{i}", page_content=text, metadata={"row": i}) for i, text in enumerate(CORPUS)]
OTHER_CORPUS = CORPUS[:9]
SEARCHES = {
    "similarity": lambda store: store.similarity_search("x"),
    "score": lambda store: store.similarity_search_with_score("x"),
    "relevance": lambda store: store.similarity_search_with_relevance_scores("x"),
    "vector": lambda store: store.similarity_search_by_vector([0.1] * 32),
    "mmr": lambda store: store.max_marginal_relevance_search("x"),
    "mmr by vector": lambda store: store.max_marginal_relevance_search_by_vector([0.1] * 32),
    "retriever": lambda store: store.as_retriever().invoke("x"),
}


@pytest.fixture
def embedder():
    return BagOfWords()


@pytest.fixture
def embeddings(embedder):
    return ContextualEmbeddings(encoder=embedder).fit(CORPUS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


@pytest.fixture
def store(embeddings, path):
    return ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=path)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The directory that temporary ones are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def refit_elsewhere(path, embedder):
    """Refits the index as another process would."""

    def refit():
        other = ContextualIndex.open(path, embedder)
        other.refit(context=embedder.fit_context(OTHER_CORPUS))
        return other.context

    return refit


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_after_a_refit_nothing_is_searched(store, embeddings, search):
    search(store)
    embeddings.fit(OTHER_CORPUS, refit=True)
    with pytest.raises(
        ContextMismatchError, match=rf"{store.index.context.fingerprint}.*{embeddings.context_fingerprint}"
    ):
        search(store)


async def test_after_a_refit_nothing_is_added(store, embeddings, path):
    embeddings.fit(OTHER_CORPUS, refit=True)
    with pytest.raises(ContextMismatchError, match=r"the index was built under context"):
        store.add_documents(DOCUMENTS)
    with pytest.raises(ContextMismatchError, match=r"the index was built under context"):
        await store.aadd_texts(["x"])
    assert ContextualIndex.open(path, read_only=True).generation == 1


def test_an_index_that_another_process_refitted_takes_nothing(store, refit_elsewhere, embedder):
    theirs = refit_elsewhere()
    before = embedder.embedded
    with pytest.raises(ContextMismatchError, match=rf"built under context {theirs.fingerprint}"):
        store.add_texts(["x"])
    assert embedder.embedded == before
    with pytest.raises(ContextMismatchError, match=rf"built under context {theirs.fingerprint}"):
        store.similarity_search("x")


@pytest.mark.parametrize("search", ["similarity", "mmr"])
def test_an_index_that_is_refitted_during_a_search_gives_no_hits(store, refit_elsewhere, embedder, monkeypatch, search):
    encode = embedder.encode_queries

    def encode_and_lose_the_context(*args, **options):
        vectors = encode(*args, **options)
        refit_elsewhere()
        store.index.refresh()
        return vectors

    monkeypatch.setattr(embedder, "encode_queries", encode_and_lose_the_context)
    with pytest.raises(ContextMismatchError, match=r"made under context"):
        SEARCHES[search](store)


def test_vectors_of_another_context_take_no_part_in_marginal_relevance(store, refit_elsewhere, monkeypatch):
    look = store.index.vectors

    def look_after_a_refit(ids):
        refit_elsewhere()
        store.index.refresh()
        return look(ids)

    monkeypatch.setattr(store.index, "vectors", look_after_a_refit)
    with pytest.raises(ContextMismatchError, match=r"the index was built under context"):
        store.max_marginal_relevance_search("x")


def test_after_the_index_was_refitted_the_store_is_opened_again(store, embeddings, path):
    store.index.refit(context=store.embeddings.embedder.fit_context(OTHER_CORPUS))
    with pytest.raises(ContextMismatchError):
        store.similarity_search("x")
    again = ContextualVectorStore(embeddings.with_context(store.index.context), index=store.index)
    assert again.similarity_search(CORPUS[3], 1)[0].id == "d3"
    assert again.embeddings.context.corpus_size == len(OTHER_CORPUS)


@pytest.mark.parametrize(
    "make",
    [
        ContextualVectorStore,
        lambda embeddings, path: ContextualVectorStore.open(path, embeddings),
        lambda embeddings, path: ContextualVectorStore(
            embeddings, index=ContextualIndex.open(path, embeddings.embedder)
        ),
    ],
    ids=["constructor", "open", "index"],
)
def test_an_index_of_another_context_is_not_opened(store, path, embedder, make):
    foreign = ContextualEmbeddings(encoder=embedder).fit(OTHER_CORPUS)
    with pytest.raises(
        ContextMismatchError, match=rf"the index was built under context {store.index.context.fingerprint}"
    ):
        make(foreign, path)
    with pytest.raises(ContextMismatchError, match=r"fitted by model 'bag-of-words'"):
        make(ContextualEmbeddings(encoder=BagOfWords(name="other")).fit(CORPUS), path)


def test_embeddings_without_a_context_are_told_to_fit(embedder, path, temporary):
    unfitted = ContextualEmbeddings(encoder=embedder)
    for make in (
        lambda: ContextualVectorStore(unfitted),
        lambda: ContextualVectorStore(unfitted, path),
        lambda: ContextualVectorStore.from_documents(DOCUMENTS, unfitted),
    ):
        with pytest.raises(ContextNotFittedError, match=r"embeddings\.fit\(documents\)"):
            make()
    assert not path.exists()
    assert list(temporary.iterdir()) == []


def test_embeddings_without_contexts_are_refused(path):
    plain = DeterministicFakeEmbedding(size=6)
    for make in (
        lambda: ContextualVectorStore(plain),
        lambda: ContextualVectorStore.from_texts(CORPUS, plain, path=path),
        lambda: ContextualVectorStore.open(path, plain),
    ):
        with pytest.raises(ConfigurationError, match=r"DeterministicFakeEmbedding has none; .*WhitenedEmbeddings"):
            make()
    assert not path.exists()


@pytest.mark.parametrize(
    "use",
    [
        lambda store, path: store.add_texts(["x"]),
        lambda store, path: store.similarity_search("x"),
        lambda store, path: ContextualVectorStore.from_texts(["x"], store.embeddings),
        lambda store, path: ContextualVectorStore.open(path, store.embeddings),
    ],
    ids=["adding", "searching", "building", "opening"],
)
def test_what_a_store_embeds_keeps_the_context_from_being_replaced(embeddings, embedder, path, use):
    ContextualIndex.build(CORPUS, embedder, path, context=embeddings.context)
    store = ContextualVectorStore(embeddings)
    use(store, path)
    with pytest.raises(ContextInUseError, match=r"refit=True"):
        embeddings.fit(OTHER_CORPUS)


def test_an_empty_store_does_not_keep_it(embeddings):
    store = ContextualVectorStore(embeddings)
    assert store.add_documents([]) == []
    embeddings.fit(OTHER_CORPUS)
    with pytest.raises(ContextMismatchError):
        store.add_documents(DOCUMENTS)


def test_a_path_is_opened_where_there_is_an_index(embeddings, path):
    ContextualVectorStore(embeddings, path, kind="hnsw").add_documents(DOCUMENTS)
    again = ContextualVectorStore(embeddings, path)
    assert (len(again.index), again.index.kind) == (len(DOCUMENTS), "hnsw")
    assert ContextualVectorStore(embeddings, path, kind="hnsw").index.kind == "hnsw"
    with pytest.raises(ConfigurationError, match=r"is of kind 'hnsw', not 'flat'"):
        ContextualVectorStore(embeddings, path, kind="flat")
    with pytest.raises(ConfigurationError, match=r"give index= alone"):
        ContextualVectorStore(embeddings, path, index=again.index)


@pytest.mark.slow
def test_another_process_finds_the_same(model_folder, path):
    embeddings = ContextualEmbeddings(model=str(model_folder), device="cpu", dtype="float32").fit(CORPUS)
    store = ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=path)
    code = (
        "import sys; from cde_retrievers.langchain import ContextualVectorStore;"
        f"found = ContextualVectorStore.open({str(path)!r}).similarity_search({QUERIES[0]!r}, 5);"
        "sys.stdout.write(' '.join(document.id for document in found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [document.id for document in store.similarity_search(QUERIES[0], 5)]
    again = ContextualVectorStore.open(path)
    assert again.embeddings == embeddings
    assert again.similarity_search(QUERIES[0], 5) == store.similarity_search(QUERIES[0], 5)


def test_a_store_opened_for_reading_changes_nothing(store, embeddings, path):
    reader = ContextualVectorStore.open(path, embeddings, read_only=True)
    assert reader.similarity_search("x") == store.similarity_search("x")
    for change in (lambda: reader.add_texts(["x"]), lambda: reader.delete(["d1"])):
        with pytest.raises(ReadOnlyError):
            change()


def test_two_stores_on_one_path_write_in_turn(store, embeddings, path):
    other = ContextualVectorStore(embeddings, path)
    other.add_texts(["a purple whale"], ids=["other"])
    assert store.get_by_ids(["other"]) == []
    assert store.index.refresh()
    assert store.similarity_search("purple whale", 1)[0].id == "other"
    store.add_texts(["an orange snail"], ids=["this"])
    other.add_texts(["more"], ids=["more"])
    assert len(other.get_by_ids(["other", "this", "more"])) == 3


def test_the_index_speaks_for_itself_when_it_cannot(store, embeddings, embedder, path):
    before = embedder.embedded
    with writer_lock(path, "testing"), pytest.raises(IndexLockedError, match=r"being written to by process .*testing"):
        store.add_texts(["x"])
    assert embedder.embedded == before
    with pytest.raises(PathInUseError, match=r"already holds an index"):
        ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=path)
    with pytest.raises(PathInUseError, match=r"other files"):
        ContextualVectorStore(embeddings, path.parent)
    with pytest.raises(IndexFileError, match=r"holds no index"):
        ContextualVectorStore.open(path.parent)
    damaged = next(path.glob("segments/*/vectors.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(IndexFileError, match=r"vectors\.safetensors"):
        ContextualVectorStore(embeddings, path)


def test_an_interrupted_build_is_resumed_by_the_same_call(embeddings, embedder, path, monkeypatch):
    encode = embedder.encode_documents

    def fail_at_the_third_batch(texts, *args, **options):
        if CORPUS[20] in texts:
            raise DeviceMemoryError("full")
        return encode(texts, *args, **options)

    monkeypatch.setattr(embedder, "encode_documents", fail_at_the_third_batch)
    texts = [document.page_content for document in DOCUMENTS]
    with pytest.raises(DeviceMemoryError):
        ContextualVectorStore.from_texts(texts, embeddings, path=path, batch_size=10)
    with pytest.raises(IndexFileError, match=r"20 documents done"):
        ContextualVectorStore.open(path, embeddings)
    monkeypatch.undo()
    embedder.embedded = 0
    store = ContextualVectorStore.from_texts(texts, embeddings, path=path, batch_size=10)
    assert embedder.embedded == len(CORPUS) - 20
    assert [document.page_content for document in store.get_by_ids(["doc-0", "doc-53"])] == [CORPUS[0], CORPUS[53]]


def test_what_is_added_in_batches_stays_added(store, embedder, monkeypatch):
    encode = embedder.encode_documents

    def fail_at_the_last(texts, *args, **options):
        if "last" in texts:
            raise DeviceMemoryError("full")
        return encode(texts, *args, **options)

    monkeypatch.setattr(embedder, "encode_documents", fail_at_the_last)
    with pytest.raises(DeviceMemoryError):
        store.add_texts(["first", "second", "last"], ids=["1", "2", "3"], batch_size=1)
    assert [document.id for document in store.get_by_ids(["1", "2", "3"])] == ["1", "2"]


def test_a_temporary_directory_lasts_as_long_as_the_index(embeddings, temporary):
    store = ContextualVectorStore.from_documents(DOCUMENTS, embeddings)
    empty = ContextualVectorStore(embeddings)
    index = store.index
    assert {folder.name for folder in temporary.iterdir()} == {index.path.name, empty.index.path.name}
    del store, empty
    gc.collect()
    assert [folder.name for folder in temporary.iterdir()] == [index.path.name]
    assert len(index.search("x")) == 10
    del index
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_build_that_fails_leaves_no_temporary_directory(embeddings, embedder, temporary, monkeypatch):
    def fail(*args, **options):
        raise DeviceMemoryError("full")

    monkeypatch.setattr(embedder, "encode_documents", fail)
    with pytest.raises(DeviceMemoryError):
        ContextualVectorStore.from_documents(DOCUMENTS, embeddings)
    assert list(temporary.iterdir()) == []


def test_a_forked_child_that_ends_leaves_the_directory_to_its_parent(embeddings, temporary, monkeypatch):
    store = ContextualVectorStore(embeddings)
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        del store
        gc.collect()
    assert len(list(temporary.iterdir())) == 1


def test_threads_may_search_and_add_at_once(store):
    errors = []

    def work(number):
        try:
            for i in range(4):
                store.add_texts([f"thread {number} {i}"], ids=[f"t{number}-{i}"])
                assert len(store.max_marginal_relevance_search(QUERIES[0], k=5)) == 5
                assert store.similarity_search(f"thread {number} {i}", 60)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.index) == len(DOCUMENTS) + 16


@pytest.mark.parametrize("shown", [True, False])
def test_progress_is_shown_once_per_call_if_the_embeddings_say_so(embedder, shown, capsys):
    embeddings = ContextualEmbeddings(encoder=embedder, show_progress=shown).fit(CORPUS)
    ContextualVectorStore.from_documents(DOCUMENTS, embeddings, batch_size=10)
    assert capsys.readouterr().err.count("\n") == shown
    ContextualVectorStore(embeddings).add_documents(DOCUMENTS, batch_size=10)
    assert capsys.readouterr().err.count("\n") == shown


def test_nothing_is_pickled(embeddings, path, monkeypatch):
    def forbidden(*args, **options):
        raise AssertionError("pickled")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    store = ContextualVectorStore.from_documents(DOCUMENTS, embeddings, path=path)
    store.add_texts(["x"])
    assert ContextualVectorStore.open(path, embeddings).similarity_search("x", 1)[0].page_content == "x"


def test_metadata_that_json_does_not_hold_is_refused(store):
    with pytest.raises(InvalidDocumentError, match=r"metadata\['a'\] is a set"):
        store.add_documents([Document("x", metadata={"a": {1}})])
