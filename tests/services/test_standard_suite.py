"""LangChain's own test suite for vector stores: what a store passes without this library it passes with it."""

import pytest
from bag_of_words import BagOfWords
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from servers import OVER_SERVERS
from tiny import CORPUS

from cde_retrievers.langchain import ContextualEmbeddings, ContextualRetriever, verified

pytestmark = [*OVER_SERVERS, pytest.mark.filterwarnings("ignore:No ids provided:UserWarning")]
WIDTH = 32  # of the tables that the services make
# Most stores run the asynchronous ones in a thread, as the synchronous ones.
TESTS = [name for name in dir(VectorStoreIntegrationTests) if name.startswith("test_") and not name.endswith("_async")]


class Suite(VectorStoreIntegrationTests):
    """The suite, whose tests are called here."""

    __test__ = False

    @property
    def vectorstore(self):
        raise NotImplementedError


def run(test, store):
    try:
        getattr(Suite(), test)(store)
    finally:
        if type(store).__name__.endswith("PGVector"):  # whose ids are unique in the whole database
            store.delete_collection()


@pytest.mark.parametrize("test", TESTS)
def test_what_a_store_passes_without_us_it_passes_with_us(service, test):
    try:
        run(test, service.open(DeterministicFakeEmbedding(size=WIDTH), service.name()))
    except Exception as error:
        pytest.skip(f"the store fails it by itself: {type(error).__name__}")
    embeddings = ContextualEmbeddings(encoder=BagOfWords(WIDTH)).fit(CORPUS)
    options = {**service.options(service.name()), "vectorstore_class": service.store_class()}
    retriever = ContextualRetriever.from_documents([], embeddings=embeddings, **options)
    run(test, verified(retriever.vectorstore, embeddings))
