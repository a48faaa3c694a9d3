"""Splitters of both frameworks whose parts the model reads whole."""

import pickle
from types import SimpleNamespace

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import Document as Source
from llama_index.core.schema import MetadataMode
from tiny import CORPUS

from cde_retrievers.binding.tokens import ModelTokens
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.llama_index import ContextualEmbedding

LONG = ". ".join(CORPUS[:40]) + "."


@pytest.fixture(params=["no prompt", "a prompt", "a lexical part", "a cache"])
def made(request, make_encoder):
    """An encoder, and how the frameworks' classes are made over it."""
    from llama_index.core.storage.kvstore import SimpleKVStore

    encoder = make_encoder("whitening", document_prompt="the cat " if request.param == "a prompt" else "")
    options = {"encoder": encoder, "lexical_width": 32 if request.param == "a lexical part" else 0}
    cache = {"embeddings_cache": SimpleKVStore()} if request.param == "a cache" else {}
    return encoder, ContextualEmbeddings(**options), ContextualEmbedding(**options, **cache)


def lengths(encoder, texts):
    whole = pickle.loads(pickle.dumps(encoder.tokenizer.backend_tokenizer))
    whole.no_truncation()
    return [len(whole.encode(encoder.config.document_prompt + text).ids) for text in texts]


def test_parts_are_as_long_as_the_model_reads_and_no_longer(made):
    encoder, embeddings, embed_model = made
    parts = [part.page_content for part in embeddings.text_splitter().split_documents([Document(LONG)])]
    nodes = [node.get_content(MetadataMode.EMBED) for node in embed_model.node_parser()([Source(text=LONG)])]
    for texts in (parts, nodes):
        assert len(texts) > 3
        assert max(lengths(encoder, texts)) <= encoder.config.max_length
        assert max(lengths(encoder, texts)) > encoder.config.max_length // 2
        assert set(LONG.replace(".", " ").split()) == set(" ".join(texts).replace(".", " ").split())


def test_room_is_left_for_metadata_that_are_embedded(made):
    encoder, _, embed_model = made
    nodes = embed_model.node_parser(overlap=0)([Source(text=LONG, metadata={"cat": "map"})])
    assert max(lengths(encoder, [node.get_content(MetadataMode.EMBED) for node in nodes])) <= encoder.config.max_length


def test_overlap_and_other_options_are_the_users(made):
    _, embeddings, embed_model = made
    assert embed_model.node_parser(overlap=1).chunk_overlap == 1
    assert embed_model.node_parser(chunk_size=9).chunk_size == 9
    assert (
        embed_model.node_parser(chunk_size=9).chunk_overlap
        == embeddings.text_splitter(chunk_size=9)._chunk_overlap
        == 1
    )
    assert embeddings.text_splitter(overlap=0, chunk_size=9)._chunk_size == 9
    for make in (embeddings.text_splitter, embed_model.node_parser):
        with pytest.raises(ConfigurationError, match=r"overlap must be less than the .* tokens of a part"):
            make(overlap=999)
        with pytest.raises(ConfigurationError, match=r"overlap must be a whole number of at least 0"):
            make(overlap=-1)


SECTIONS = "".join(
    f"{'#' * (1 + n % 3)} map\n{chr(10) * (n % 2)}" + " ".join(CORPUS[n : n + n % 4]) + "\n\n" for n in range(40)
)
SETEXT = "".join(f"map?\n---\n\n{' '.join(CORPUS[n : n + n % 4])}\n\n" for n in range(40))


def is_bare_heading(text):
    return text.rstrip().split("\n")[-1].strip("# ") in ("map", "map?", "---")


@pytest.mark.parametrize("text", [SECTIONS + "# map\n", SECTIONS.replace("\n", "\r\n"), SETEXT])
def test_no_part_ends_with_a_heading(made, text):
    encoder, embeddings, embed_model = made
    for options in ({}, {"chunk_size": 24}, {"overlap": 0}, {"overlap": 0, "chunk_size": 20}):
        parts = [part.page_content for part in embeddings.text_splitter(**options).split_documents([Document(text)])]
        nodes = [
            node.get_content(MetadataMode.NONE) for node in embed_model.node_parser(**options)([Source(text=text)])
        ]
        for texts in (parts, nodes):
            assert len(texts) > 5
            assert not [one for one in texts[:-1] if is_bare_heading(one)]
            assert all(one in text for one in texts)
            assert max(lengths(encoder, texts)) <= encoder.config.max_length


def test_headings_longer_than_half_a_part_are_split_as_text_is(made):
    _, embeddings, embed_model = made
    for text in ("# the cat\n" * 200 + "map", "# " + "the cat " * 200 + "\n\nmap"):
        parts = embeddings.text_splitter(overlap=0).split_text(text)
        nodes = embed_model.node_parser(overlap=0).split_text(text)
        assert "".join("".join(parts).split()) == "".join("".join(nodes).split()) == "".join(text.split())
    starts = [
        part.metadata["start_index"]
        for part in embeddings.text_splitter(overlap=0, add_start_index=True).create_documents([SECTIONS])
    ]
    assert starts == sorted(set(starts))


def test_a_node_parser_goes_to_other_processes(made):
    parser = made[2].node_parser()
    again = pickle.loads(pickle.dumps(parser))
    texts = [[node.text for node in one([Source(text=LONG)])] for one in (parser, again)]
    assert texts[0] == texts[1]


def test_an_embedder_of_unknown_tokens_is_refused():
    with pytest.raises(ConfigurationError, match=r"the tokens of mine are not known.*make a splitter with"):
        ModelTokens.of(SimpleNamespace(name="mine"))
