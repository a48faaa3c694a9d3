"""One searcher on one set."""

import json

import numpy as np
import pytest
from runs import write_beir
from searched import ANIMALS, IDS, OTHERS
from tiny import CORPUS

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.evaluation import (
    BM25,
    BiEncoder,
    Contextual,
    Evaluation,
    ForeignContext,
    GenericContext,
    NullContext,
    OwnContext,
    PlainEmbedding,
    RetrievalDataset,
    ShuffledContext,
    evaluate,
    mean_difference,
    mean_over_sets,
)
from cde_retrievers.evaluation.searchers import without_context
from cde_retrievers.model.config import CachedConditioning


def by_sorting(documents, queries):
    """The slow twin: nDCG@10 of each query whose one answer is known, by sorting all documents."""
    gains = []
    for place, row in enumerate(queries @ documents.T):
        rank = list(np.argsort(-row, kind="stable")).index(3 * place)
        gains.append(1 / np.log2(rank + 2) if rank < 10 else 0.0)
    return gains


@pytest.mark.parametrize(
    "source",
    [OwnContext(), OwnContext(size=6, strategy="kmeans", seed=2), ForeignContext(OTHERS), ShuffledContext(), None],
)
def test_a_contextual_model_is_judged_by_its_embeddings_under_that_context(make_encoder, source):
    encoder = make_encoder("whitening")
    context = (source or OwnContext()).fit(encoder, ANIMALS)
    expected = by_sorting(
        encoder.encode_documents(CORPUS, context), encoder.encode_queries(ANIMALS.judged.queries.values(), context)
    )
    found = evaluate(encoder, ANIMALS, source)
    np.testing.assert_allclose(found.values["ndcg@10"], expected, atol=1e-6)
    assert 0 < found.mean().low < np.mean(expected) < found.mean().high < 1
    assert (found.data, found.documents, found.queries) == ("animals", len(CORPUS), tuple(ANIMALS.judged.queries))


def test_a_context_fitted_before_is_used_and_another_models_refused(make_encoder):
    encoder = make_encoder("whitening")
    context = encoder.fit_context(OTHERS.texts)
    given, foreign = evaluate(encoder, ANIMALS, context), evaluate(encoder, ANIMALS, ForeignContext(OTHERS))
    np.testing.assert_array_equal(given.values["map"], foreign.values["map"])
    with pytest.raises(ContextMismatchError):
        evaluate(make_encoder("cached"), ANIMALS, context)


def test_own_contexts_are_named_by_what_is_special_about_them():
    assert OwnContext().label == "own context"
    assert OwnContext(16, "diverse", 3).label == "own context, 16 documents, diverse, seed 3"


def test_a_shuffled_context_holds_the_same_documents(make_encoder):
    encoder = make_encoder("joint")
    own, shuffled = (source.fit(encoder, ANIMALS) for source in (OwnContext(), ShuffledContext()))
    assert sorted(own.documents) == sorted(shuffled.documents)
    assert own.documents != shuffled.documents
    for place, document in enumerate(shuffled.documents):
        assert np.array_equal(shuffled.vectors[place], own.vectors[own.documents.index(document)])


def test_the_closed_form_without_a_context_is_its_bi_encoder(make_encoder):
    encoder = make_encoder("whitening")
    searcher = without_context(encoder)
    plain = encoder.biencoder_vectors(CORPUS, ""), encoder.biencoder_vectors(ANIMALS.judged.queries.values(), "")
    documents, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in plain)
    np.testing.assert_allclose(evaluate(searcher, ANIMALS).values["ndcg@10"], by_sorting(documents, queries), atol=1e-6)
    assert isinstance(searcher, BiEncoder)


def test_a_model_with_a_null_vector_is_given_that_for_no_context(make_encoder):
    encoder = make_encoder(CachedConditioning(null_vector=True))
    assert without_context(encoder) == Contextual(encoder, NullContext())
    context = NullContext().fit(encoder, ANIMALS)
    null = encoder.model.second_stage.null_vector.detach().numpy()
    assert len(context) == encoder.config.context_size
    assert np.array_equal(context.vectors, np.tile(null, (len(context), 1)))
    assert evaluate(encoder, ANIMALS, NullContext()).searcher.endswith("no context (null vector), dense")


def test_a_model_without_one_is_given_texts_that_are_no_corpus(make_encoder):
    encoder = make_encoder("cached")
    assert without_context(encoder) == Contextual(encoder, GenericContext())
    with pytest.raises(ConfigurationError, match=r"no null vector"):
        evaluate(encoder, ANIMALS, NullContext())


def test_bm25_finds_what_shares_words_and_nothing_else():
    data = RetrievalDataset.of(
        {"q1": "sleeping cats", "q2": "zebra"}, {**IDS, "z": "a fox"}, {"q1": {"d0"}, "q2": {"z"}}, "animals"
    )
    found = evaluate(BM25(), data)
    assert found.values["recall@100"].tolist() == [1, 0]
    assert all("cat" in IDS[best] or "sleeps" in IDS[best] for best in found.best[0])
    assert {"cat" in IDS[best] and "sleeps" in IDS[best] for best in found.best[0][:6]} == {True}
    assert found.best[1] == ()


class LangChains:
    def embed_documents(self, texts):
        return [[3.0, float("cat" in text)] for text in texts]

    def embed_query(self, text):
        return [0.0, 2.0]


class LlamaIndexs:
    def get_text_embedding_batch(self, texts):
        return LangChains().embed_documents(texts)

    def get_query_embedding(self, text):
        return [0.0, 2.0]


class SentenceTransformers:
    def encode(self, texts):
        return np.array([[0.0, 1.0] if len(text.split()) == 3 else [3.0, float("cat" in text)] for text in texts])


@pytest.mark.parametrize("embedding", [LangChains(), LlamaIndexs(), SentenceTransformers()])
def test_anybodys_embedding_is_judged_by_cosine(embedding):
    found = evaluate(PlainEmbedding(embedding, "words"), ANIMALS)
    assert {"cat" in IDS[best] for best in found.best[0]} == {True}
    assert found.searcher == "words"


def test_what_is_no_embedding_is_refused_at_once():
    with pytest.raises(ConfigurationError, match=r"not a supported embedding; give an embedding of LangChain"):
        PlainEmbedding(object())
    with pytest.raises(ConfigurationError, match=r"LangChains cannot be evaluated as it is; wrap"):
        evaluate(LangChains(), ANIMALS)
    with pytest.raises(ConfigurationError, match=r"BM25 takes no context; leave it out"):
        evaluate(BM25(), ANIMALS, OwnContext())


def test_a_name_and_a_folder_are_read(model_folder, tmp_path):
    folder = write_beir(tmp_path / "animals", IDS, [("green cat", "d0")])
    found = evaluate(str(model_folder), folder)
    assert (found.data, len(found.queries)) == ("animals", 1)


def test_a_saved_evaluation_is_the_same(make_encoder, tmp_path):
    encoder = make_encoder("whitening")
    found = evaluate(encoder, ANIMALS)
    found.save(tmp_path / "found.json")
    loaded = Evaluation.load(tmp_path / "found.json")
    assert str(loaded) == str(found)
    assert (loaded.best, loaded.queries) == (found.best, found.queries)
    np.testing.assert_allclose(loaded.values["map"], found.values["map"], atol=1e-6)
    assert loaded.minus(found).mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("content", ["no JSON", "[]", json.dumps({"searcher": "x"})])
def test_what_is_no_saved_evaluation_is_refused(tmp_path, content):
    (tmp_path / "found.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"not a saved evaluation.*evaluate again"):
        Evaluation.load(tmp_path / "found.json")


def test_a_file_that_cannot_be_read_is_no_saved_evaluation(tmp_path):
    for path, reason in ((tmp_path / "missing.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError, match=rf"cannot be read \({reason}.*or evaluate again"):
            Evaluation.load(path)


def test_a_saved_evaluation_has_a_value_for_every_query(make_encoder):
    saved = evaluate(make_encoder("whitening"), ANIMALS).to_dict()
    assert Evaluation.from_dict({**saved, "best": []}).best == ()  # left out to save space
    short = {name: values[1:] for name, values in saved["values"].items()}
    for wrong in ({"values": short}, {"values": {**saved["values"], "map": [1.0]}}, {"best": saved["best"][1:]}):
        with pytest.raises(ConfigurationError, match=r"of 18 queries it has values of shape .*; evaluate again"):
            Evaluation.from_dict({**saved, **wrong})


def test_differences_are_paired(make_encoder):
    """Two searches that differ by the same amount in every query differ for sure, however much queries differ."""
    found = evaluate(make_encoder("whitening"), ANIMALS)
    worse = Evaluation(
        "worse", found.data, found.documents, found.queries, {"ndcg@10": found.values["ndcg@10"] - 0.01}, found.best
    )
    difference = found.minus(worse)
    assert (difference.low, difference.mean, difference.high) == pytest.approx((0.01, 0.01, 0.01))
    assert difference.excludes_zero
    assert mean_difference([found, found], [worse, found]).mean == pytest.approx(0.005)
    assert mean_over_sets([found, worse]).mean == pytest.approx(found.mean().mean - 0.005)


def test_only_the_same_queries_can_be_compared(make_encoder):
    encoder = make_encoder("whitening")
    with pytest.raises(ConfigurationError, match=r"18 of 'animals' and 1 of 'others'; evaluate both on one set"):
        evaluate(encoder, ANIMALS).minus(evaluate(encoder, OTHERS))


def test_an_unknown_measure_is_refused(make_encoder):
    with pytest.raises(ConfigurationError, match=r"measure 'ndcg' is unknown; use one of ndcg@10, recall@100"):
        evaluate(make_encoder("whitening"), OTHERS).mean("ndcg")


def test_an_encoder_is_an_embedder(make_encoder):
    assert isinstance(make_encoder("whitening"), Embedder)
