"""LangChain's stores and `index()` where a server stops in the middle, is down, or refuses."""

import pytest
from langchain_core.indexing import InMemoryRecordManager, index
from served import KINDS
from servers import OVER_SERVERS

from cde_retrievers.langchain import ContextualRetriever, index_key_encoder, record_manager_namespace

pytestmark = OVER_SERVERS
ON_SERVERS = [name for name, kind in KINDS.items() if kind.server]


def ingest(documents, records, store, embeddings):
    key = index_key_encoder(embeddings)
    return index(documents, records, store, batch_size=10, cleanup=None, key_encoder=key)


def records_of(embeddings, name):
    records = InMemoryRecordManager(record_manager_namespace(embeddings, name))
    records.create_schema()
    return records


def in_collection(documents, name):
    """Documents of one collection alone: PGVector's ids are unique in the whole database."""
    return [document.model_copy(update={"metadata": {**document.metadata, "of": name}}) for document in documents]


def rows_in(store):
    return sorted(int(hit.metadata["row"]) for hit in store.similarity_search("red cat", k=200))


@pytest.mark.parametrize("service", ON_SERVERS, indirect=True)
def test_a_server_that_restarts_in_the_middle_loses_and_doubles_nothing(
    service, documents, guarded, monkeypatch, shows
):
    embeddings, name = guarded(), service.name()
    options = {**service.options(name), "vectorstore_class": service.store_class()}
    store = ContextualRetriever.from_documents([], embeddings=embeddings, **options).vectorstore
    documents = in_collection(documents, name)
    records, embed, batches = records_of(embeddings, name), type(embeddings).embed_documents, []

    def embed_until_the_server_stops(self, texts):
        batches.append(texts)
        if len(batches) == 4:
            service.running.stop()
        return embed(self, texts)

    monkeypatch.setattr(type(embeddings), "embed_documents", embed_until_the_server_stops)
    try:
        with pytest.raises(Exception, match=service.lost):
            ingest(documents, records, store, embeddings)
    finally:
        service.running.start()
    store = service.reopened(embeddings, name)
    assert rows_in(store) == list(range(30))
    report = ingest(documents, records, store, embeddings)
    assert (report["num_added"], report["num_skipped"]) == (24, 30)
    assert rows_in(store) == list(range(54))
    ContextualRetriever(embeddings=embeddings, vectorstore=store)
    shows(service, "a server that is", "restarted midway")


def test_a_batch_that_was_added_but_not_recorded_is_added_again(service, documents, guarded, monkeypatch, shows):
    embeddings, name = guarded(), service.name()
    options = {**service.options(name), "vectorstore_class": service.store_class()}
    store = ContextualRetriever.from_documents([], embeddings=embeddings, **options).vectorstore
    documents = in_collection(documents, name)
    records = records_of(embeddings, name)
    update, batches = records.update, []

    def update_until_killed(keys, **options):
        batches.append(keys)
        if len(batches) == 4:
            raise KeyboardInterrupt
        update(keys, **options)

    monkeypatch.setattr(records, "update", update_until_killed)
    with pytest.raises(KeyboardInterrupt):
        ingest(documents, records, store, embeddings)
    ingest(documents, records, store, embeddings)
    outcomes = {"replaced": list(range(54)), "doubled": sorted([*range(54), *range(30, 40)])}
    found = [outcome for outcome, rows in outcomes.items() if rows_in(store) == rows]
    assert len(found) == 1
    shows(service, "a batch added again", found[0])


@pytest.mark.parametrize("service", ON_SERVERS, indirect=True)
def test_a_server_that_is_down_is_an_error_and_nothing_is_lost(service, documents, guarded, shows):
    embeddings, name = guarded(), service.name()
    options = {**service.options(name), "vectorstore_class": service.store_class()}
    retriever = ContextualRetriever.from_documents(documents, embeddings=embeddings, **options)
    service.running.stop()
    try:
        with pytest.raises(Exception, match=service.lost):
            retriever.invoke("red cat")
        with pytest.raises(Exception, match=service.lost):
            retriever.add_documents(documents[:1])
        with pytest.raises(Exception, match=service.lost):
            ContextualRetriever(embeddings=embeddings, vectorstore=service.open(embeddings, name))
    finally:
        service.running.start()
    again = ContextualRetriever(embeddings=embeddings, vectorstore=service.reopened(embeddings, name))
    assert rows_in(again.vectorstore) == list(range(54))
    shows(service, "a server that is", "down")


@pytest.mark.parametrize("service", ["PGVector", "PGVectorStore"], indirect=True)
def test_a_wrong_password_is_an_error(service, guarded):
    with pytest.raises(Exception, match="password authentication failed"):
        service.open(guarded(), service.name(), password="wrong")
