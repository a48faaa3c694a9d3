"""Milvus' collections and their properties, in a real server of Milvus Lite."""

import pytest
from served import Milvus
from servers import OVER_SERVERS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import (
    ContextualRetriever,
    check_index,
    collection_metadata,
    context_filter,
    read_context,
    refit_store,
    stamped,
    write_context,
)

pytestmark = OVER_SERVERS


@pytest.fixture
def service(milvus, tmp_path):
    return Milvus(milvus, tmp_path)


@pytest.fixture
def built(service, documents):
    def build(embeddings, name, **options):
        given = {**service.options(name), **options}
        return ContextualRetriever.from_documents(
            documents, embeddings=embeddings, vectorstore_class=service.store_class(), **given
        )

    return build


def test_a_collection_keeps_its_other_properties(service, built, guarded):
    embeddings, name = guarded(), service.name()
    store = built(embeddings, name, collection_properties={"mine": "1"}).vectorstore
    write_context(store, embeddings)
    found = store.client.describe_collection(name)["properties"]
    assert (found["mine"], found["cde_context"]) == ("1", embeddings.context_fingerprint)


def test_properties_given_to_open_a_collection_do_not_replace_its_context(service, built, guarded, other):
    embeddings, foreign, name = guarded(), guarded(other), service.name()
    built(embeddings, name)
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        built(foreign, name, collection_properties=collection_metadata(foreign))
    assert read_context(service.open(embeddings, name)) == embeddings.context_fingerprint


@pytest.mark.filterwarnings("ignore:No ids provided:UserWarning")
def test_a_collection_that_numbers_its_documents_takes_more_of_them(service, built, documents, guarded):
    embeddings, name = guarded(), service.name()
    store = service.open(embeddings, name)
    store.add_documents(documents[:4])
    write_context(store, embeddings)
    assert len(built(embeddings, name).invoke("red cat", k=99)) == len(documents) + 4


def test_metadata_in_one_field_are_filtered_there(service, documents, guarded, other):
    embeddings, foreign = guarded(), guarded(other)
    store = service.store_class()(embeddings, metadata_field="about", **service.options(service.name()))
    store.add_documents(stamped(documents, embeddings), ids=[str(row) for row in range(len(documents))])
    write_context(store, embeddings)
    assert check_index(store, embeddings).verdict == "same context"
    wanted = context_filter(embeddings, store, also='about["row"] > 50 or about["row"] < 1')
    found = store.similarity_search("red cat", k=99, expr=wanted)
    assert {hit.metadata["row"] for hit in found} == {0, 51, 52, 53}
    assert store.similarity_search("red cat", k=99, expr=context_filter(foreign, store)) == []


@pytest.mark.parametrize("options", [{}, {"metadata_field": "about"}, {"enable_dynamic_field": True}])
def test_an_alias_moves_to_the_refitted_collection(service, documents, guarded, tmp_path, options, shows):
    embeddings, name = guarded(["red cat", "blue dog"]), service.name()
    named = {**service.options(name), "collection_name": f"first_{name}"}
    first = service.store_class()(embeddings, **named, **options)
    first.add_documents(documents, ids=[str(row) for row in range(len(documents))])
    write_context(first, embeddings)
    first.client.create_alias(f"first_{name}", name)
    store = service.store_class()(embeddings, **service.options(name), **options)
    reader = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    done = refit_store(store, embeddings, tmp_path / "new", batch_size=20)
    assert done.documents == done.embedded == len(documents)
    assert store.client.describe_collection(name)["aliases"] in ([], [name])
    assert store.client.describe_collection(done.old_collection)["collection_name"] == f"first_{name}"
    with pytest.raises(ContextMismatchError):
        reader.invoke("red cat")
    found = done.store.similarity_search("red cat", k=99, expr=context_filter(done.embeddings, done.store))
    assert sorted(hit.metadata["row"] for hit in found) == list(range(len(documents)))
    done.drop_old()
    assert not store.client.has_collection(f"first_{name}")
    shows(service, "refit", "the alias")


@pytest.mark.filterwarnings("ignore:No ids provided:UserWarning")
def test_a_collection_that_numbers_its_documents_is_not_refitted(service, documents, guarded, tmp_path):
    embeddings = guarded()
    store = service.open(embeddings, service.name())
    store.add_documents(documents[:4])
    with pytest.raises(ConfigurationError, match="auto_id"):
        refit_store(store, embeddings, tmp_path / "new")
