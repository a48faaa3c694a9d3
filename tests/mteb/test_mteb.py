"""Whole tasks of the installed mteb, on its own small data."""

import numpy as np
import pytest
from tiny import CORPUS

pytest.importorskip("mteb", reason="needs the package of the `mteb` extra")

import mteb
from mteb.mocks.mock_tasks import (
    MockClassificationTask,
    MockInstructionRetrieval,
    MockRerankingTask,
    MockRetrievalTask,
    MockSTSTask,
)
from mteb.models.models_protocols import EncoderProtocol, SearchProtocol
from mteb.types import PromptType

from cde_retrievers.errors import ContextNotFittedError
from cde_retrievers.evaluation import RetrievalDataset, evaluate
from cde_retrievers.mteb import ContextualModelForMTEB

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("whitening", query_prompt="query: ", document_prompt="text: ")


def result_of(encoder, task):
    found = mteb.evaluate(ContextualModelForMTEB(encoder), task, cache=None, show_progress_bar=False)
    return found.task_results[0].scores["test"][0]


def test_it_is_what_mteb_calls_a_model(encoder):
    model = ContextualModelForMTEB(encoder)
    assert isinstance(model, EncoderProtocol)
    assert isinstance(model, SearchProtocol)
    assert model.mteb_model_meta.name == "cde-retrievers/tiny"
    assert encoder.fingerprint.startswith(model.mteb_model_meta.revision)


def test_results_of_other_contexts_are_filed_elsewhere(encoder, tmp_path):
    cache = mteb.ResultCache(tmp_path)
    choices = ({}, {"seed": 1}, {"strategy": "kmeans"})
    metas = [ContextualModelForMTEB(encoder, **choice).mteb_model_meta for choice in choices]
    assert len({cache.get_task_result_path("task", meta) for meta in metas}) == 3


def test_retrieval_is_judged_as_our_own_evaluation_does(encoder):
    task = MockRetrievalTask()
    task.load_data()
    split = task.dataset["default"]["test"]
    corpus = {row["id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in split["corpus"]}
    queries = {row["id"]: row["text"] for row in split["queries"]}
    own = evaluate(encoder, RetrievalDataset.of(queries, corpus, split["relevant_docs"]))
    scores = result_of(encoder, MockRetrievalTask())
    assert scores["ndcg_at_10"] == pytest.approx(own.mean().mean, abs=1e-4)
    assert scores["map_at_1000"] == pytest.approx(own.mean("map").mean, abs=1e-4)


@pytest.mark.parametrize("task", [MockRerankingTask, MockInstructionRetrieval, MockClassificationTask, MockSTSTask])
def test_other_kinds_of_tasks_run(encoder, task):
    assert abs(result_of(encoder, task())["main_score"]) <= 1 + 1e-6


class Task:
    def __init__(self, name):
        self.name = name


def rows(texts):
    return [{"id": f"d{place}", "title": "", "text": text} for place, text in enumerate(texts)]


def test_only_documents_to_rerank_are_found(encoder):
    model = ContextualModelForMTEB(encoder)
    model.index(rows(CORPUS), task_metadata=Task("a"), hf_subset="default")
    asked = [{"id": "q", "text": "red cat"}]
    found = model.search(asked, top_k=2, top_ranked={"q": ["d3", "d5", "d7"]})
    assert set(found["q"]) < {"d3", "d5", "d7"}
    assert len(found["q"]) == 2
    context = encoder.fit_context(CORPUS)
    scores = encoder.encode_documents(CORPUS, context) @ encoder.encode_queries(["red cat"], context)[0]
    best = sorted((3, 5, 7), key=lambda place: -scores[place])[:2]
    assert list(found["q"]) == [f"d{place}" for place in best]
    assert list(model.search(asked, top_k=3)["q"]) == [f"d{place}" for place in np.argsort(-scores, kind="stable")[:3]]


def test_titles_and_instructions_are_read(encoder):
    model, joined = ContextualModelForMTEB(encoder), ContextualModelForMTEB(encoder)
    titled = [{"id": row["id"], "title": "green", "text": row["text"]} for row in rows(CORPUS)]
    model.index(titled, task_metadata=Task("a"), hf_subset="default")
    joined.index(rows([f"green {text}" for text in CORPUS]), task_metadata=Task("a"), hf_subset="default")
    found = model.search([{"id": "q", "text": "red", "instruction": "cat"}], top_k=5)
    assert found == joined.search([{"id": "q", "text": "red cat"}], top_k=5)


def test_every_task_and_subset_has_the_context_of_its_first_texts(encoder):
    model = ContextualModelForMTEB(encoder, seed=3)
    first = model.encode([{"text": CORPUS[:9]}, {"text": CORPUS[9:]}], task_metadata=Task("a"), hf_subset="en")
    np.testing.assert_allclose(first, encoder.encode_documents(CORPUS, encoder.fit_context(CORPUS, seed=3)), atol=1e-6)
    again = model.encode([{"text": CORPUS[:4]}], task_metadata=Task("a"), hf_subset="en")
    np.testing.assert_allclose(again, first[:4], atol=1e-6)
    for task, subset in ((Task("b"), "en"), (Task("a"), "de")):
        other = model.encode([{"text": CORPUS[:4]}], task_metadata=task, hf_subset=subset)
        assert np.abs(other - first[:4]).max() > 1e-2


def test_queries_have_the_query_prompt(encoder):
    model = ContextualModelForMTEB(encoder)
    texts, context = [{"text": CORPUS}], encoder.fit_context(CORPUS)
    found = model.encode(texts, task_metadata=Task("a"), hf_subset="en", prompt_type=PromptType.query)
    np.testing.assert_allclose(found, encoder.encode_queries(CORPUS, context), atol=1e-6)


def test_similarities_are_cosines(encoder):
    model = ContextualModelForMTEB(encoder)
    one, other = np.eye(3, dtype=np.float32), np.ones((3, 3), dtype=np.float32)
    np.testing.assert_array_equal(model.similarity(one, other), other)
    np.testing.assert_array_equal(model.similarity_pairwise(one, one), np.ones(3))


def test_searching_before_indexing_is_refused(encoder):
    with pytest.raises(ContextNotFittedError, match=r"search needs an index; call index\(corpus\) first"):
        ContextualModelForMTEB(encoder).search([], top_k=3)
