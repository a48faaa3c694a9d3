"""Hostile arguments of the stores and embeddings of LangChain and LlamaIndex: they work, or raise errors of ours.

What pydantic refuses in a framework's own models is the framework's error.
"""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from bag_of_words import BagOfWords
from fuzzed import DOCUMENTS, assert_same_content, cases, content_of, only_our_errors
from hostile import anything, texts
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cde_retrievers.index import ContextualIndex

VECTOR = [1.0] + [0.0] * 31
filters = st.one_of(st.none(), anything, st.dictionaries(st.sampled_from(["row", "lost"]), anything, max_size=1))
ids = st.one_of(
    anything, st.lists(st.sampled_from(["d1", "d2", None, "lost"]), max_size=2), st.lists(anything, max_size=2)
)
counts = st.one_of(st.integers(1, 5), anything)
vectors = st.one_of(st.just(VECTOR), anything, st.lists(st.floats(), min_size=32, max_size=32))
queries = st.one_of(texts, anything)
searches = st.one_of(st.sampled_from([None, "hybrid", "similarity", "lexical", "mmr"]), anything)
many = st.one_of(st.lists(st.one_of(texts, anything), max_size=3), anything)


@contextmanager
def copied(saved):
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(saved, Path(folder) / "index"))


def check_call(path, call):
    """Only our errors, after which everything is as it was; and an index that opens in any case."""
    before, done = content_of(path), False
    with only_our_errors(ValidationError):
        call()
        done = True
    if not done:
        assert_same_content(path, before)
    documents, *_ = content_of(path)
    assert len({document.id for document in documents}) == len(documents)


@st.composite
def langchain_documents(draw):
    from langchain_core.documents import Document

    good = st.builds(
        lambda text, number: Document(page_content=text, metadata={"row": number}), st.just("cat"), anything
    )
    return draw(st.one_of(st.lists(st.one_of(good, anything), max_size=2), anything))


LANGCHAIN = {
    "add_texts": {"texts": many, "metadatas": st.none() | many, "ids": st.none() | ids, "batch_size": counts},
    "add_documents": {"documents": langchain_documents(), "ids": st.none() | ids},
    "delete": {"ids": ids},
    "get_by_ids": {"ids": ids},
    "similarity_search": {"query": queries, "k": counts, "filter": filters, "search_type": searches},
    "similarity_search_with_relevance_scores": {"query": queries, "k": counts, "search_type": searches},
    "search": {"query": queries, "k": counts, "filter": filters, "search_type": searches},
    "similarity_search_by_vector": {"embedding": vectors, "k": counts, "filter": filters},
    "max_marginal_relevance_search": {
        "query": st.just("red cat"), "k": counts, "fetch_k": counts, "lambda_mult": st.floats(-1, 2) | anything,
    },
    "max_marginal_relevance_search_by_vector": {"embedding": vectors, "k": counts, "filter": filters},
}  # fmt: skip


@st.composite
def call_of(draw, methods):
    name = draw(st.sampled_from(sorted(methods)))
    return name, {argument: draw(values) for argument, values in methods[name].items()}


@cases(100)
@given(call=call_of(LANGCHAIN))
def test_a_store_of_langchain(saved, call):
    langchain = pytest.importorskip("cde_retrievers.langchain")
    name, drawn = call
    with copied(saved) as path:
        embeddings = langchain.ContextualEmbeddings(encoder=BagOfWords())
        store = langchain.ContextualFAISS.open(path, embeddings)
        positional = [drawn.pop("ids")] if name == "get_by_ids" else []
        check_call(path, lambda: getattr(store, name)(*positional, **drawn))


@cases(75)
@given(documents=many, kind=anything, path=st.none() | anything, batch=counts, metadatas=st.none() | many)
def test_a_new_store_of_langchain(documents, kind, path, batch, metadatas, tmp_path, monkeypatch):
    langchain = pytest.importorskip("cde_retrievers.langchain")
    monkeypatch.chdir(tmp_path)
    with only_our_errors(ValidationError):
        embeddings = langchain.ContextualEmbeddings(encoder=BagOfWords())
        embeddings.fit([document.text for document in DOCUMENTS])
        with only_our_errors(ValidationError):
            langchain.ContextualFAISS.from_texts(documents, embeddings, metadatas, batch_size=batch)
        for options in ({"kind": kind}, {"batch_size": batch}, {} if isinstance(path, str | Path) else {"path": path}):
            with only_our_errors(ValidationError):
                langchain.ContextualFAISS.from_texts(["a cat", "a dog"], embeddings, **options)


FIELDS = st.sampled_from(
    ["context_path", "context_size", "context_strategy", "context_seed", "show_progress", "encoder"]
)


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
@cases(50)
@given(
    chosen=st.dictionaries(FIELDS, anything, max_size=2),
    documents=st.one_of(st.just(["a cat", "a dog"]), many),
    single=queries,
)
def test_embeddings(framework, chosen, documents, single, tmp_path, monkeypatch):
    module = pytest.importorskip(f"cde_retrievers.{framework}")
    monkeypatch.chdir(tmp_path)
    if chosen.get("encoder", 0) is None:
        del chosen["encoder"]  # would load the model of that name
    options = {"encoder": BagOfWords(), **chosen}
    if framework == "llama_index":
        options.pop("show_progress", None)
    with only_our_errors(ValidationError):
        if framework == "langchain":
            embeddings = module.ContextualEmbeddings(**options).fit(documents)
            for embed, given_text in ((embeddings.embed_documents, documents), (embeddings.embed_query, single)):
                with only_our_errors():
                    embed(given_text)
        else:
            embedding = module.ContextualEmbedding(**options).fit(documents)
            with only_our_errors(ValidationError):
                embedding.fit(documents, refit=True)


def node(identity, text, metadata, vector):
    from llama_index.core.schema import TextNode

    made = TextNode(id_=identity, text=text, metadata=metadata)
    made.embedding = vector
    return made


def llama_store(path, *, verify=False):
    module = pytest.importorskip("cde_retrievers.llama_index")
    return module.ContextualVectorStore.open(path, module.ContextualEmbedding(encoder=BagOfWords()), verify=verify)


@cases(60)
@given(
    identity=st.sampled_from(["d1", "new"]),
    text=texts,
    metadata=st.dictionaries(texts, anything, max_size=1),
    vector=vectors,
    others=anything,
)
def test_nodes_for_a_store_of_llama_index(saved, identity, text, metadata, vector, others):
    pytest.importorskip("llama_index.core")
    with copied(saved) as path:
        store = llama_store(path)
        with only_our_errors(ValidationError):
            made = node(identity, text, metadata, vector)
            check_call(path, lambda: store.add([made]))
        check_call(path, lambda: store.add(others))


@cases(250)
@given(
    vector=vectors,
    k=counts,
    mode=st.one_of(st.sampled_from(["default", "mmr", "hybrid", "sparse"]), anything),
    text=st.none() | queries,
    alpha=st.one_of(st.none(), st.floats(-0.5, 1.5), anything),
    node_ids=st.none() | ids,
    doc_ids=st.none() | ids,
    options=st.dictionaries(st.sampled_from(["mmr_threshold", "mmr_prefetch_k", "other"]), anything, max_size=1),
)
def test_queries_to_a_store_of_llama_index(saved, vector, k, mode, text, alpha, node_ids, doc_ids, options):
    pytest.importorskip("llama_index.core")
    from llama_index.core.vector_stores.types import VectorStoreQuery

    store = llama_index_store_of_nodes(saved)
    with only_our_errors(ValidationError):
        query = VectorStoreQuery(
            vector, k, doc_ids, node_ids, query_str=text, mode=mode, alpha=alpha, hybrid_top_k=k, sparse_top_k=k
        )
        store.query(query, **options)


_STORES = {}


def llama_index_store_of_nodes(saved):
    """A store over nodes that LlamaIndex has made; one for all queries, which change nothing."""
    if saved not in _STORES:
        module = pytest.importorskip("cde_retrievers.llama_index")
        embedding = module.ContextualEmbedding(encoder=BagOfWords()).fit([document.text for document in DOCUMENTS])
        store = module.ContextualVectorStore(embedding, verify=False)
        made = [node(str(d.id), d.text, {"row": d.metadata["row"]}, None) for d in DOCUMENTS]
        for one in made:
            one.embedding = embedding.get_text_embedding(one.text)
        store.add(made)
        _STORES[saved] = store
    return _STORES[saved]


@cases(50)
@given(
    key=queries,
    operator=st.sampled_from(["==", "!=", ">", "in", "nin", "any", "all", "contains", "text_match", "is_empty"]),
    value=anything,
    node_ids=st.none() | ids,
)
def test_what_a_store_of_llama_index_selects(saved, key, operator, value, node_ids):
    pytest.importorskip("llama_index.core")
    from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

    with copied(saved) as path:
        store = llama_store(path)
        with only_our_errors(ValidationError):
            chosen = MetadataFilter(key=key, operator=FilterOperator(operator), value="a")
            chosen.value = value
            selected = MetadataFilters(filters=[chosen])
            check_call(path, lambda: store.delete_nodes(node_ids, selected))
        check_call(path, lambda: store.delete_nodes(node_ids))
        check_call(path, lambda: store.delete(value))
    assert len(ContextualIndex.open(saved)) == len(DOCUMENTS)
