"""The contexts that the kinds of index state, compared with an embedding's."""

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.vector_stores import SimpleVectorStore
from remote_store import RemoteStore
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError, ContextNotFittedError
from cde_retrievers.llama_index import ContextFitter, ContextualRetriever, check_index, persist_index, stamped


@pytest.fixture
def embed_model(make_embedding):
    return make_embedding().fit(CORPUS)


@pytest.fixture
def other(make_embedding):
    return make_embedding().fit(CORPUS[:9])


@pytest.fixture(params=[SimpleVectorStore, RemoteStore])
def store(request):
    return request.param()


def test_a_store_answers_by_the_stamps_of_its_nodes(store, embed_model, other, make_nodes):
    assert check_index(store, embed_model).verdict == "index carries no context"
    store.add(embed_model(stamped(make_nodes(), embed_model)))
    for index in (store, StorageContext.from_defaults(vector_store=store)):
        assert check_index(index, embed_model).verdict == "same context"
        check = check_index(index, other)
        assert check.verdict == "another context"
        assert (check.theirs, check.yours) == (embed_model.context_fingerprint, other.context_fingerprint)


def test_one_foreign_node_is_enough(store, embed_model, other, make_nodes):
    first, second, *_ = make_nodes()
    store.add(embed_model(stamped([first], embed_model)) + other(stamped([second], other)))
    assert check_index(store, embed_model).theirs == other.context_fingerprint
    assert check_index(store, other).theirs == embed_model.context_fingerprint


def test_nodes_without_a_stamp_leave_the_question_open(store, embed_model, other, make_nodes):
    first, second, *_ = make_nodes()
    store.add(embed_model([first]))
    assert check_index(store, embed_model).verdict == "index carries no context"
    store.add(embed_model(stamped([second], embed_model)))
    assert check_index(store, embed_model).verdict == "index carries no context"
    assert check_index(store, other).verdict == "another context"


def test_a_store_may_speak_for_itself(embed_model, other, make_nodes):
    class OfOneContext(RemoteStore):
        context_fingerprint: str

    store = OfOneContext(context_fingerprint=embed_model.context_fingerprint)
    store.add(embed_model(make_nodes()))
    assert check_index(store, embed_model).verdict == "same context"
    assert check_index(store, other).verdict == "another context"
    with pytest.raises(ContextMismatchError, match="already holds nodes"):
        ContextFitter(embed_model=other, vector_store=store)


def test_an_index_answers_by_its_store(embed_model, other, make_nodes):
    index = VectorStoreIndex(stamped(make_nodes(), embed_model), embed_model=embed_model)
    assert check_index(index, embed_model).verdict == "same context"
    assert check_index(index, other).verdict == "another context"


def test_a_directory_answers_by_the_context_beside_the_index(embed_model, other, make_nodes, tmp_path):
    index = VectorStoreIndex(stamped(make_nodes(), embed_model), embed_model=embed_model)
    persist_index(index, embed_model, tmp_path / "index")
    for path in (tmp_path / "index", str(tmp_path / "index")):
        assert check_index(path, embed_model).verdict == "same context"
        assert check_index(path, other).verdict == "another context"


def test_a_directory_that_llama_index_wrote_answers_by_stamps(embed_model, other, make_nodes, tmp_path):
    def persisted(name, nodes):
        VectorStoreIndex(nodes, embed_model=embed_model).storage_context.persist(tmp_path / name)
        return tmp_path / name

    assert check_index(persisted("plain", make_nodes()), embed_model).verdict == "index carries no context"
    folder = persisted("stamped", stamped(make_nodes(), embed_model))
    assert check_index(folder, embed_model).verdict == "same context"
    assert check_index(folder, other).verdict == "another context"
    other.save_context(folder / "context")
    assert check_index(folder, embed_model).theirs == other.context_fingerprint, "beside it by mistake"
    assert check_index(folder, other).theirs == embed_model.context_fingerprint


def test_other_objects_and_empty_directories_are_refused(embed_model, make_embedding, tmp_path):
    with pytest.raises(ContextFileError, match="holds no index"):
        check_index(tmp_path, embed_model)
    with pytest.raises(ConfigurationError, match="found dict"):
        check_index({}, embed_model)
    with pytest.raises(ContextNotFittedError):
        check_index(SimpleVectorStore(), make_embedding())


def test_a_retriever_refuses_an_index_that_names_another_context(embed_model, other, make_nodes):
    nodes = embed_model(stamped(make_nodes(), embed_model))
    with pytest.raises(ContextMismatchError, match="load the context that was saved with the index"):
        ContextualRetriever(VectorStoreIndex(nodes, embed_model=other), other)
    unstamped = VectorStoreIndex(make_nodes(), embed_model=embed_model)
    assert ContextualRetriever(unstamped, embed_model).retrieve(CORPUS[7])[0].node_id == "n7"


def test_a_retrievers_own_nodes_are_stamped(embed_model, make_nodes):
    retriever = ContextualRetriever.from_nodes(make_nodes(), embed_model=embed_model)
    assert check_index(retriever.index, embed_model).verdict == "same context"
    with pytest.raises(ContextMismatchError, match="already has a vector"):
        ContextualRetriever.from_nodes(embed_model(make_nodes()), embed_model=embed_model)


class FailingStore(RemoteStore):
    """Answers a number of queries, then raises."""

    error: str
    answers: int = 0

    def query(self, query, **options):
        if self.answers == 0:
            raise RuntimeError(self.error)
        self.answers -= 1
        return super().query(query, **options)


NOTHING_THERE = [
    "query results are empty..",
    "Table vectors is not initialized. Please create it or add some data first.",
    "Collection nodes not found",
    'Unexpected Response: 404 (Not Found)\nb\'{"error":"Not found: Collection `nodes` doesn\\\\\'t exist!"}\'',
    "collection not found[database=default][collection=nodes]",
    "Collection [nodes] does not exist",
]
UNREACHABLE = [
    "Unexpected Response: 404 (Not Found)\nRaw response content: b'<html>nginx</html>'",
    "getaddrinfo: host not found",
    'FATAL: password authentication failed for user "reader"',
    "[Errno 111] Connection refused",
]


@pytest.mark.parametrize("error", NOTHING_THERE)
def test_a_collection_that_does_not_exist_yet_carries_no_context(error, embed_model):
    assert check_index(FailingStore(error=error), embed_model).verdict == "index carries no context"


@pytest.mark.parametrize("error", UNREACHABLE)
def test_a_store_that_cannot_be_reached_is_not_taken_for_an_empty_one(error, embed_model):
    with pytest.raises(RuntimeError) as raised:
        check_index(FailingStore(error=error), embed_model)
    assert str(raised.value) == error


OF_ANOTHER_WIDTH = [
    "Collection expecting embedding with dimension of 999, got {width}",
    "Invalid input, query dim({width}) doesn't match the column vector vector dim(999)",
    "shapes (54,999) and ({width},) not aligned: 999 (dim 1) != {width} (dim 0)",
    "mismatch in its core dimension 0, with gufunc signature (n?,k),(k,m?) (size 999 is different from {width})",
    "(builtins.ValueError) expected 999 dimensions, not {width}\n[SQL: SELECT id, metadata_ FROM data_nodes]",
]


@pytest.mark.parametrize("error", OF_ANOTHER_WIDTH)
def test_a_store_of_another_width_is_named(error, embed_model):
    said = error.format(width=embed_model.embedder.width)
    store = FailingStore(error=said)
    index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    retriever = ContextualRetriever(index=index, embed_model=embed_model)
    for call in (lambda: check_index(store, embed_model), lambda: retriever.retrieve("red cat")):
        with pytest.raises(ContextMismatchError, match="FailingStore does not hold vectors of") as raised:
            call()
        assert said.partition("\n")[0] in str(raised.value)
        assert "SELECT" not in str(raised.value)


@pytest.mark.parametrize("error", ["the dimensions of the disk are exhausted", "expected 999 dimensions, not 7"])
def test_another_error_that_speaks_of_dimensions_is_raised_as_it_is(error, embed_model):
    with pytest.raises(RuntimeError) as raised:
        check_index(FailingStore(error=error), embed_model)
    assert str(raised.value) == error


def test_a_store_that_is_lost_between_two_questions_is_an_error(embed_model, make_nodes):
    store = FailingStore(error="[Errno 111] Connection refused", answers=1)
    store.add(embed_model(stamped(make_nodes(), embed_model)))
    with pytest.raises(RuntimeError, match="refused"):
        check_index(store, embed_model)
