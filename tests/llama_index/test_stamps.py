"""The stamps on nodes, and filters for them."""

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores import FilterCondition, MetadataFilter, MetadataFilters
from tiny import CORPUS

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ContextMismatchError, ContextNotFittedError, InvalidTextError
from cde_retrievers.llama_index import context_filter, docstore_namespace, stamped


@pytest.fixture
def embed_model(make_embedding):
    return make_embedding().fit(CORPUS)


@pytest.fixture
def nodes():
    return [TextNode(text=text, id_=f"n{i}", metadata={"animal": text.split()[1]}) for i, text in enumerate(CORPUS)]


def animal(name):
    return MetadataFilter(key="animal", value=name)


def test_a_stamp_changes_nothing_that_is_embedded_or_read(embed_model, nodes):
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        texts = [node.get_content(metadata_mode=mode) for node in stamped(nodes, embed_model)]
        assert texts == [node.get_content(metadata_mode=mode) for node in nodes]


def test_copies_are_stamped(embed_model, nodes):
    copies = stamped(iter(nodes), embed_model)
    assert {node.metadata[CONTEXT_KEY] for node in copies} == {embed_model.context_fingerprint}
    assert [node.node_id for node in copies] == [node.node_id for node in nodes]
    assert all(CONTEXT_KEY not in node.metadata for node in nodes)
    assert all(not node.excluded_embed_metadata_keys for node in nodes)
    assert stamped(copies, embed_model) == copies


def test_vectors_of_this_context_stay_and_others_are_refused_or_dropped(embed_model, make_embedding, nodes):
    embedded = embed_model(stamped(nodes, embed_model))
    assert stamped(embedded, embed_model)[0].embedding == embedded[0].embedding
    other = make_embedding().fit(CORPUS[:9])
    with pytest.raises(ContextMismatchError, match=f"made under {embed_model.context_fingerprint}"):
        stamped(embedded, other)
    assert {node.embedding is None for node in stamped(embedded, other, reembed=True)} == {True}
    assert embedded[0].embedding is not None

    unstamped = TextNode(text="red cat", embedding=[1.0, 0.0])
    with pytest.raises(ContextMismatchError, match="made under a context that it does not name"):
        stamped([unstamped], embed_model)


async def test_stamped_nodes_are_embedded_under_the_context_they_name(embed_model, make_embedding, nodes):
    other = make_embedding().fit(CORPUS[:9])
    with pytest.raises(ContextMismatchError, match="node n0 is stamped with context"):
        other(stamped(nodes, embed_model))
    with pytest.raises(ContextMismatchError, match="node n0 is stamped with context"):
        await other.acall(stamped(nodes, embed_model))
    assert len(await embed_model.acall(stamped(nodes[:2], embed_model))) == 2


@pytest.mark.parametrize("items", ["one text", [None], [TextNode(text="ok"), "text"]])
def test_other_items_than_nodes_are_refused(embed_model, items):
    with pytest.raises(InvalidTextError, match="must be a node, found"):
        stamped(items, embed_model)


def test_without_a_context_there_is_nothing_to_name(make_embedding, nodes):
    for name_it in (lambda model: stamped(nodes, model), context_filter, docstore_namespace):
        with pytest.raises(ContextNotFittedError):
            name_it(make_embedding())


def test_namespaces_differ_by_context(embed_model, make_embedding):
    assert docstore_namespace(embed_model) == docstore_namespace(make_embedding().fit(CORPUS))
    assert docstore_namespace(embed_model) != docstore_namespace(make_embedding().fit(CORPUS[:9]))


@pytest.mark.parametrize("condition", [FilterCondition.AND, None])
def test_the_users_filters_hold_as_well(embed_model, make_embedding, nodes, condition):
    index = VectorStoreIndex(stamped(nodes, embed_model), embed_model=embed_model)

    def found(model):
        filters = context_filter(model, MetadataFilters(filters=[animal("dog")], condition=condition))
        return index.as_retriever(similarity_top_k=54, embed_model=model, filters=filters).retrieve("red cat")

    assert {hit.metadata["animal"] for hit in found(embed_model)} == {"dog"}
    assert found(make_embedding().fit(CORPUS[:9])) == []


@pytest.mark.parametrize("condition", [FilterCondition.OR, FilterCondition.NOT])
def test_other_conditions_never_replace_the_contexts(embed_model, nodes, condition):
    theirs = MetadataFilters(filters=[animal("dog"), animal("cat")], condition=condition)
    filters = context_filter(embed_model, theirs)
    assert filters.condition == FilterCondition.AND
    assert filters.filters[1] == theirs
    index = VectorStoreIndex(stamped(nodes, embed_model), embed_model=embed_model)
    with pytest.raises(ValueError, match="Nested MetadataFilters are not supported"):
        index.as_retriever(filters=filters).retrieve("red cat")


def test_nodes_without_a_stamp_are_not_let_through(embed_model, nodes):
    index = VectorStoreIndex(nodes, embed_model=embed_model)
    assert index.as_retriever(filters=context_filter(embed_model)).retrieve("red cat") == []
