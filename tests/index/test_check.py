"""An index says under which context it was built, to whichever framework asks."""

import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index import ContextualIndex, context_of_index
from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.langchain import ContextualVectorStore as ChainVectorStore
from cde_retrievers.langchain import check_index as check_for_langchain
from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore
from cde_retrievers.llama_index import check_index as check_for_llama_index


@pytest.fixture
def index(tmp_path):
    return ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "index")


def test_the_manifest_is_enough(index):
    assert context_of_index(index) == context_of_index(index.path) == index.context.fingerprint


def test_where_there_is_none_that_is_said(tmp_path):
    with pytest.raises(IndexFileError, match=r"holds no index"):
        context_of_index(tmp_path)


def test_both_frameworks_can_ask(index):
    same = ContextualEmbeddings(encoder=index.embedder).with_context(index.context)
    other = same.with_context(index.embedder.fit_context(CORPUS, seed=1))
    for asked in (index, index.path, str(index.path), ChainVectorStore(same, index=index)):
        assert check_for_langchain(asked, same).verdict == "same context"
        assert check_for_langchain(asked, other).theirs == index.context.fingerprint
        assert check_for_langchain(asked, other).verdict == "another context"

    same = ContextualEmbedding(encoder=index.embedder).with_context(index.context)
    other = same.with_context(index.embedder.fit_context(CORPUS, seed=1))
    for asked in (index, index.path, str(index.path), ContextualVectorStore(same, index=index)):
        assert check_for_llama_index(asked, same).verdict == "same context"
        assert check_for_llama_index(asked, other).verdict == "another context"
