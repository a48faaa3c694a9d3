"""The clients that people have, unchanged, against a running server: the vectors are the library's own."""

import numpy as np
import pytest
from tiny import CORPUS, QUERIES


@pytest.fixture
def expected(served):
    context = served.context("cats")
    return (
        served.encoder.encode_documents(CORPUS, context),
        served.encoder.encode_queries(QUERIES, context),
    )


def same(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)


@pytest.fixture
def client(served):
    from openai import OpenAI

    with OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def vectors(answer):
    return [item.embedding for item in answer.data]


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_openai_client(client, expected, encoding):
    documents, queries = expected
    answer = client.embeddings.create(model="cats:document", input=CORPUS, **encoding)
    if encoding.get("encoding_format") == "base64":
        import base64

        found = [np.frombuffer(base64.b64decode(item.embedding), dtype="<f4") for item in answer.data]
    else:
        found = vectors(answer)
    same(found, documents)
    same(vectors(client.embeddings.create(model="cats", input=QUERIES, extra_body={"input_type": "query"})), queries)
    same(vectors(client.embeddings.create(model="cats:query", input=QUERIES[0])), queries[:1])


def test_the_answer_names_the_context_by_its_fingerprint(client, served):
    answer = client.embeddings.create(model="cats:query", input=QUERIES)
    fingerprint = served.context("cats").fingerprint
    assert answer.model == f"{fingerprint}:query"
    again = client.embeddings.create(model=answer.model, input=QUERIES)
    same(vectors(again), vectors(answer))
    tokenizer = served.encoder.tokenizer
    prompt = served.encoder.config.query_prompt
    assert answer.usage.prompt_tokens == sum(map(len, tokenizer.encode([prompt + query for query in QUERIES])))


def test_openai_client_lists_models(client):
    ids = [model.id for model in client.models.list()]
    assert ids == ["birds:document", "birds:query", "cats:document", "cats:query"]
    assert client.models.retrieve("cats:query").id == "cats:query"
    by_fingerprint = client.embeddings.create(model="cats:query", input="x").model
    assert client.models.retrieve(by_fingerprint).id == by_fingerprint


def test_openai_client_gets_openai_errors(client):
    from openai import BadRequestError, NotFoundError

    with pytest.raises(NotFoundError, match="birds, cats") as found:
        client.embeddings.create(model="dogs:query", input="x")
    assert found.value.code == "model_not_found"
    with pytest.raises(BadRequestError, match="input_type") as found:
        client.embeddings.create(model="cats", input="x")
    assert found.value.code == "input_type_missing"


def test_langchain(served, expected):
    openai = pytest.importorskip("langchain_openai")
    documents, queries = expected
    make = {"base_url": f"{served.url}/v1", "api_key": "unused", "check_embedding_ctx_length": False}
    same(openai.OpenAIEmbeddings(model="cats:document", **make).embed_documents(CORPUS), documents)
    same(openai.OpenAIEmbeddings(model="cats:query", **make).embed_query(QUERIES[0]), queries[0])


async def test_llama_index(served, expected):
    openai = pytest.importorskip("llama_index.embeddings.openai")
    documents, queries = expected
    make = {"api_base": f"{served.url}/v1", "api_key": "unused", "max_retries": 0}
    of_documents, of_queries = (
        openai.OpenAIEmbedding(model_name=f"cats:{side}", **make) for side in ("document", "query")
    )
    same(of_documents.get_text_embedding_batch(CORPUS), documents)
    same(of_queries.get_query_embedding(QUERIES[0]), queries[0])
    same(await of_queries.aget_query_embedding(QUERIES[0]), queries[0])
    # It leaves its connections open.
    of_documents._get_client().close()
    of_queries._get_client().close()
    await of_queries._get_aclient().close()
