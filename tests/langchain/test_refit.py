"""`refit_store`: a served store moves to a new context, in a collection beside the old one."""

from itertools import count
from uuid import UUID

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from refitted import Killed, kill_at, rows_of

from cde_retrievers.errors import ConfigurationError, ContextMismatchError, InvalidTextError, StoreRefitError
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualEmbeddings,
    ContextualRetriever,
    ContextualVectorStore,
    check_index,
    collection_metadata,
    read_context,
    refit_store,
    stamped,
    write_context,
)
from cde_retrievers.langchain.stores.registry import find_kind
from cde_retrievers.stores.chroma import ChromaCollection
from cde_retrievers.stores.copying import check_sample

NEW = [Document(f"grinder {number} has {number} burrs of steel", metadata={"row": 100 + number}) for number in range(9)]


def ids(number):
    return [str(UUID(int=row)) for row in range(number)]


class Chroma:
    """A store of Chroma on disk."""

    def __init__(self, folder):
        self.kind = pytest.importorskip("langchain_chroma").Chroma
        self.options = {"client": pytest.importorskip("chromadb").PersistentClient(str(folder / "chroma"))}

    def build(self, documents, embeddings, name="served"):
        options = {**self.options, "collection_metadata": {"hnsw:space": "cosine", "mine": 1}}
        return ContextualRetriever.from_documents(
            documents,
            embeddings=embeddings,
            vectorstore_class=self.kind,
            collection_name=name,
            ids=ids(len(documents)),
            **options,
        )

    def open(self, embeddings, name="served"):
        return self.kind(name, embeddings, **self.options)

    def names(self):
        return {found.name for found in self.options["client"].list_collections()}

    def add_without_text(self, vector):
        self.options["client"].get_collection("served").add("none", [vector], [{"row": 1}])

    def settings(self, name):
        return self.options["client"].get_collection(name).configuration_json["hnsw"]["space"]


class Qdrant:
    """A store of Qdrant in memory, opened by an alias."""

    def __init__(self, folder):
        self.kind = pytest.importorskip("langchain_qdrant").QdrantVectorStore
        self.client = pytest.importorskip("qdrant_client").QdrantClient(":memory:")

    def build(self, documents, embeddings, name="served"):
        from qdrant_client import models

        first = "first" if name == "served" else f"first {name}"

        options = {"vectors_config": models.VectorParams(size=32, distance=models.Distance.COSINE)}
        self.client.create_collection(first, **options, metadata={"mine": 1})
        self.alias(name, first)
        write_context(self.open(embeddings, name), embeddings)
        retriever = ContextualRetriever(embeddings=embeddings, vectorstore=self.open(embeddings, name))
        retriever.add_documents(documents, ids=ids(len(documents)))
        return retriever

    def alias(self, alias, name):
        from qdrant_client import models

        made = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
        self.client.update_collection_aliases([made])

    def open(self, embeddings, name="served"):
        return self.kind(self.client, name, embeddings)

    def names(self):
        collections = {found.name for found in self.client.get_collections().collections}
        return collections | {found.alias_name for found in self.client.get_aliases().aliases}

    def add_without_text(self, vector):
        from qdrant_client import models

        self.client.upsert("served", [models.PointStruct(id=7, vector=vector, payload={"mine": 1})])

    def settings(self, name):
        return self.client.get_collection(name).config.params.vectors.distance


SERVICES = {"chroma": Chroma, "qdrant": Qdrant}


@pytest.fixture(params=list(SERVICES))
def make_service(request, tmp_path):
    numbers = count()
    return lambda: SERVICES[request.param](tmp_path / f"service {next(numbers)}")


@pytest.fixture
def service(make_service):
    return make_service()


@pytest.fixture
def embeddings(guarded, documents):
    """Embeddings under a context of fewer documents than there are now."""
    return guarded([document.page_content for document in documents[:40]])


def embedded_under(done, documents):
    """The cosines that a store finds are those of an exact search under its context."""
    rows = np.asarray(done.embeddings.embed_documents([document.page_content for document in documents]))
    for query in ("red cat", "grinder of steel"):
        cosines = rows @ np.asarray(done.embeddings.embed_query(query))
        texts = [hit.page_content for hit in done.store.similarity_search(query, k=10)]
        by_text = {document.page_content: row for row, document in enumerate(documents)}
        found = [cosines[by_text[text]] for text in texts]
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:10], atol=1e-5)


def test_a_served_store_moves_to_a_new_context(service, documents, tmp_path, embeddings):
    service.build(documents, embeddings)
    before = embeddings.context_fingerprint
    settings = service.settings("served")
    done = refit_store(service.open(embeddings), embeddings, tmp_path / "new", NEW, batch_size=10)
    tail = done.embeddings.context_fingerprint[:12]
    assert embeddings.context_fingerprint == before != done.embeddings.context_fingerprint
    assert (done.documents, done.embedded) == (len(documents) + len(NEW),) * 2
    assert (done.collection, done.old_collection) == ("served", f"served_before_{tail}")
    assert service.settings("served") == settings
    embedded_under(done, [*documents, *NEW])
    again = ContextualEmbeddings(encoder=embeddings.embedder, context_path=tmp_path / "new")
    opened = service.open(again)
    assert check_index(opened, again).verdict == "same context"
    assert rows_of(opened) == sorted(document.metadata["row"] for document in [*documents, *NEW])
    assert {hit.metadata[CONTEXT_KEY] for hit in opened.similarity_search("cat", k=99)} == {again.context_fingerprint}
    assert rows_of(service.open(embeddings, done.old_collection)) == list(range(len(documents)))
    done.drop_old()
    done.drop_old()
    assert done.old_collection not in service.names()
    assert rows_of(opened) == rows_of(done.store)


def held(service, embeddings):
    """The number of documents that are there under the context of the embeddings."""
    named = f"served_{embeddings.context_fingerprint[:12]}"
    stores = [service.open(embeddings, name) for name in {named, "served"} & service.names()]
    return max((len(rows_of(store)) for store in stores if read_context(store) == embeddings.stamp), default=0)


async def test_a_store_of_unstamped_documents_that_is_replaced_by_hand_is_noticed(new_store, documents, guarded, other):
    embeddings, foreign = guarded(), guarded(other)
    store = new_store(embeddings)
    store.add_documents(documents)
    write_context(store, embeddings)
    reader = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    assert len(reader.invoke("red cat")) == len(await reader.ainvoke("red cat")) == 4
    write_context(store, foreign, replace=True)
    with pytest.raises(ContextMismatchError, match="embedded under"):
        reader.invoke("red cat")
    with pytest.raises(ContextMismatchError, match="embedded under"):
        await reader.ainvoke("red cat")


@pytest.mark.slow
def test_a_refit_that_is_killed_at_any_moment_is_continued(make_service, documents, tmp_path, embeddings):
    everything = [*documents, *NEW]
    for step in count(1):
        service, path = make_service(), tmp_path / f"context {step}"
        service.build(documents, embeddings)
        options = {"new_documents": NEW, "batch_size": 20}
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, find_kind(service.kind), step)
            try:
                refit_store(service.open(embeddings), embeddings, path, **options)
            except Killed:
                pass
            else:
                break
        before = held(service, ContextualEmbeddings(encoder=embeddings.embedder, context_path=path))
        done = refit_store(service.open(embeddings), embeddings, path, **options)
        assert (done.documents, done.embedded) == (len(everything), len(everything) - before)
        assert rows_of(done.store) == sorted(document.metadata["row"] for document in everything)
        assert rows_of(service.open(embeddings, done.old_collection)) == list(range(len(documents)))
        assert len(service.names() - {"first"}) == 2 + (service.kind.__name__ == "QdrantVectorStore")
        embedded_under(done, everything)
    assert step > 12


@pytest.mark.parametrize("added", [False, True])
def test_a_reader_that_makes_an_empty_collection_between_two_renames_loses_nothing(
    documents, tmp_path, embeddings, monkeypatch, added
):
    service, path = Chroma(tmp_path), tmp_path / "new"
    service.build(documents, embeddings)
    rename = ChromaCollection._rename_to

    def killed_before_the_second(self, other):
        if other.name == "served":
            raise Killed
        rename(self, other)

    monkeypatch.setattr(ChromaCollection, "_rename_to", killed_before_the_second)
    with pytest.raises(Killed):
        refit_store(service.open(embeddings), embeddings, path, NEW)
    monkeypatch.setattr(ChromaCollection, "_rename_to", rename)
    reader = ContextualEmbeddings(encoder=embeddings.embedder, context_path=path)
    metadata = collection_metadata(reader)
    opened = service.kind("served", reader, **service.options, collection_metadata=metadata)
    if added:
        opened.add_documents(stamped(NEW[:1], reader))
        with pytest.raises(StoreRefitError, match=r"1 documents were added to another one of the name 'served'"):
            refit_store(service.open(embeddings), embeddings, path, NEW)
        return
    done = refit_store(service.open(embeddings), embeddings, path, NEW)
    assert (done.documents, done.embedded) == (len(documents) + len(NEW), 0)
    done.drop_old()
    assert service.names() == {"served"}
    embedded_under(done, [*documents, *NEW])


def test_a_reader_under_the_old_context_gets_an_error(service, documents, tmp_path, embeddings):
    reader = service.build(documents, embeddings)
    assert len(reader.invoke("red cat", k=5)) == 5
    done = refit_store(service.open(embeddings), embeddings, tmp_path / "new", NEW)
    with pytest.raises(ContextMismatchError, match="embedded under"):
        reader.invoke("red cat", k=5)
    with pytest.raises(ContextMismatchError, match="built under context"):
        reader.add_documents(documents[:1])
    with pytest.raises(ContextMismatchError, match="built under context"):
        ContextualRetriever(embeddings=embeddings, vectorstore=service.open(embeddings))
    assert len(ContextualRetriever(embeddings=done.embeddings, vectorstore=done.store).invoke("red cat", k=5)) == 5


def test_a_second_refit_starts_from_the_first(service, documents, tmp_path, embeddings):
    service.build(documents, embeddings)
    first = refit_store(service.open(embeddings), embeddings, tmp_path / "first", NEW)
    more = [
        Document(f"tamper {number}", metadata={"row": 200 + number}, id=ids(70)[60 + number]) for number in range(9)
    ]
    second = refit_store(first.store, first.embeddings, tmp_path / "second", more)
    assert second.documents == second.embedded == len(documents) + len(NEW) + len(more)
    embedded_under(second, [*documents, *NEW, *more])
    assert rows_of(service.open(first.embeddings, second.old_collection)) == [*range(len(documents)), *range(100, 109)]


def test_what_changed_since_an_interruption_is_copied_again(service, documents, tmp_path, monkeypatch, embeddings):
    path = tmp_path / "new"
    reader = service.build(documents, embeddings)
    with monkeypatch.context() as patch:
        patch.setattr(f"cde_retrievers.stores.refit.{check_sample.__name__}", killed)
        with pytest.raises(Killed):
            refit_store(service.open(embeddings), embeddings, path, batch_size=20)
    store = reader.vectorstore
    changed = Document("a kettle", metadata={"row": 3})
    added = Document("a scale", metadata={"row": 99})
    store.delete([ids(60)[row] for row in (0, 1, 20, 21)])  # 20 and 21 begin the second page
    reader.add_documents([changed, added], ids=[ids(4)[3], ids(100)[99]])
    done = refit_store(service.open(embeddings), embeddings, path, batch_size=20)
    now = [documents[2], changed, *documents[4:20], *documents[22:], added]
    assert (done.documents, done.embedded) == (len(now), 2)
    assert rows_of(done.store) == sorted(document.metadata["row"] for document in now)
    embedded_under(done, now)


def test_new_documents_replace_those_of_their_ids(service, documents, tmp_path, embeddings):
    service.build(documents, embeddings)
    new = [Document("a kettle", metadata={"row": 3}, id=ids(4)[3])]
    done = refit_store(service.open(embeddings), embeddings, tmp_path / "new", new)
    now = [*documents[:3], *new, *documents[4:]]
    assert done.documents == done.embedded == len(now)
    embedded_under(done, now)


def test_new_documents_of_a_later_call_are_added(service, documents, tmp_path, embeddings):
    path = tmp_path / "new"
    service.build(documents, embeddings)
    refit_store(service.open(embeddings), embeddings, path, NEW[:4])
    done = refit_store(service.open(embeddings), embeddings, path, NEW)
    assert (done.documents, done.embedded) == (len(documents) + len(NEW), 5)
    embedded_under(done, [*documents, *NEW])


def test_without_a_switch_the_name_stays(service, documents, tmp_path, embeddings):
    path = tmp_path / "new"
    reader = service.build(documents, embeddings)
    done = refit_store(service.open(embeddings), embeddings, path, NEW, switch=False)
    assert (done.collection, done.old_collection) == (f"served_{done.embeddings.context_fingerprint[:12]}", None)
    done.drop_old()
    embedded_under(done, [*documents, *NEW])
    assert rows_of(reader.vectorstore) == list(range(len(documents)))
    switched = refit_store(service.open(embeddings), embeddings, path, NEW)
    assert (switched.collection, switched.embedded) == ("served", 0)


def test_a_vector_of_another_context_is_found_before_the_switch(
    service, documents, guarded, other, tmp_path, monkeypatch, embeddings
):
    foreign = guarded(other)
    service.build(documents, embeddings)
    embed = ContextualEmbeddings.embed_texts

    def embed_wrongly(self, texts):
        monkeypatch.setattr(ContextualEmbeddings, "embed_texts", embed)
        return embed(foreign, texts)

    monkeypatch.setattr(ContextualEmbeddings, "embed_texts", embed_wrongly)
    with pytest.raises(StoreRefitError, match="is not the one that its text has"):
        refit_store(service.open(embeddings), embeddings, tmp_path / "new")
    assert rows_of(service.open(embeddings)) == list(range(len(documents)))
    assert check_index(service.open(embeddings), embeddings).verdict == "same context"


def test_documents_that_change_all_the_time_are_an_error(service, documents, tmp_path, monkeypatch, embeddings):
    reader = service.build(documents, embeddings)
    embed, rows = ContextualEmbeddings.embed_texts, count(1)

    def embed_while_one_changes(self, texts):
        reader.add_documents([Document("a kettle", metadata={"row": next(rows)})], ids=ids(1))
        return embed(self, texts)

    monkeypatch.setattr(ContextualEmbeddings, "embed_texts", embed_while_one_changes)
    with pytest.raises(StoreRefitError, match="were changed during each of 5 copies"):
        refit_store(service.open(embeddings), embeddings, tmp_path / "new")
    assert check_index(service.open(embeddings), embeddings).verdict == "same context"


def test_a_name_that_is_taken_is_an_error(service, documents, tmp_path, embeddings):
    path = tmp_path / "new"
    service.build(documents, embeddings)
    done = refit_store(service.open(embeddings), embeddings, path)
    tail = done.embeddings.context_fingerprint[:12]
    foreign = {"served_before": "the name that the old one gets", "served": "the name of the new one"}
    for name, message in foreign.items():
        options = {"switch": False}
        service.build(documents, embeddings, f"other {name}".replace(" ", "_"))
        store = service.open(embeddings, f"other_{name}")
        service.build(documents[:3], embeddings, f"other_{name}" + ("_before" if "before" in name else "") + f"_{tail}")
        with pytest.raises(StoreRefitError, match=message):
            refit_store(store, embeddings, path, **options)


def test_under_the_context_that_the_store_has_already_nothing_is_embedded(service, documents, guarded, tmp_path):
    embeddings = guarded()
    service.build(documents, embeddings)
    done = refit_store(service.open(embeddings), embeddings, tmp_path / "same")
    assert (done.documents, done.embedded, done.old_collection) == (len(documents), 0, None)
    assert done.embeddings.context_fingerprint == embeddings.context_fingerprint
    assert len(service.names() - {"first"}) == 1


def test_an_entry_without_a_text_is_an_error_before_anything_is_written(service, documents, tmp_path, embeddings):
    service.build(documents, embeddings)
    before = service.names()
    service.add_without_text(embeddings.embed_query("cat"))
    with pytest.raises(InvalidTextError, match="has no text"):
        refit_store(service.open(embeddings), embeddings, tmp_path / "new")
    assert service.names() == before


def test_a_name_of_qdrant_that_is_no_alias_is_refused(documents, tmp_path, embeddings):
    service = Qdrant(tmp_path)
    service.build(documents, embeddings)
    store = service.open(embeddings, "first")
    with pytest.raises(ConfigurationError, match="'first' is the collection itself"):
        refit_store(store, embeddings, tmp_path / "new")
    done = refit_store(store, embeddings, tmp_path / "new", switch=False)
    assert done.documents == len(documents)


def test_stores_without_a_second_collection_are_named(documents, tmp_path, embeddings):
    with pytest.raises(ConfigurationError, match="refitted are Chroma, Milvus, PGVectorStore, Qdrant"):
        refit_store(InMemoryVectorStore.from_documents(documents, embeddings), embeddings, tmp_path / "new")
    with pytest.raises(ConfigurationError, match=r"store\.index\.refit"):
        refit_store(ContextualVectorStore.from_documents(documents, embeddings), embeddings, tmp_path / "new")


def test_plain_vectors_stay_as_they_are(service, documents, encoder, guarded, tmp_path):
    plain = ContextualEmbeddings(encoder=encoder, side="query").fit([document.page_content for document in documents])
    service.build(documents, guarded())
    with pytest.raises(ConfigurationError, match="plain vectors, which stay the same under every context"):
        refit_store(service.open(plain), plain, tmp_path / "new")


def killed(*values):
    raise Killed
