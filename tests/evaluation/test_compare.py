"""One model under many contexts."""

import json

import numpy as np
import pytest
from searched import ANIMALS, OTHERS, THEMSELVES

from cde_retrievers.errors import (
    ConfigurationError,
    ContextTooSmallError,
    EvaluationDataError,
    MissingDependencyError,
)
from cde_retrievers.evaluation import (
    BM25,
    BiEncoder,
    Comparison,
    Contextual,
    ForeignContext,
    GenericContext,
    NamedCorpus,
    NullContext,
    OwnContext,
    ReciprocalRankFusion,
    RetrievalDataset,
    compare,
    context_matrix,
    evaluate,
)
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.model.config import CachedConditioning, JointConditioning
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.util import imports as optional

MODES = ("hybrid", "dense", "lexical")


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("whitening")


@pytest.fixture
def comparison(encoder):
    return compared(encoder, ANIMALS)


def compared(encoder, data):
    return compare(encoder, data, foreign=[OTHERS], strategies=["kmeans"], seeds=[1], sizes=[4, 8], others=[BM25()])


@pytest.mark.parametrize("data", [ANIMALS, THEMSELVES], ids=lambda data: data.name)
def test_every_row_is_what_evaluate_finds_alone(encoder, data):
    by_hand = ReciprocalRankFusion(BiEncoder(encoder), OfTheWholeCorpus())
    searchers = [
        *(Contextual(encoder, mode=mode) for mode in MODES),
        ReciprocalRankFusion(Contextual(encoder), Contextual(encoder, mode="lexical")),
        *(BiEncoder(encoder, mode) for mode in MODES),
        ReciprocalRankFusion(BiEncoder(encoder), BiEncoder(encoder, "lexical")),
        by_hand,
        *(
            Contextual(encoder, source, "hybrid")
            for source in (
                ForeignContext(OTHERS),
                OwnContext(strategy="kmeans"),
                OwnContext(seed=1),
                OwnContext(4),
                OwnContext(8),
            )
        ),
        BM25(),
    ]
    for row, searcher in zip(compared(encoder, data).rows, searchers, strict=True):
        found = evaluate(searcher, data)
        for measure in ("ndcg@10", "map"):
            np.testing.assert_array_equal(row.evaluation.values[measure], found.values[measure], row.label)


class OfTheWholeCorpus:
    """BM25 that knows every document, one query at a time."""

    name = "BM25"

    def search(self, data, depth, show_progress=None):
        statistics = TermStatistics.of(data.texts, Analyzer())
        documents = document_rows(data.texts, statistics)
        queries = query_rows(data.judged.queries.values(), statistics)
        scores = (queries @ documents.T).toarray()
        scores[data.own_rows >= 0, data.own_rows[data.own_rows >= 0]] = 0
        return Hits.of_scores(np.where(scores > 0, scores, -np.inf).astype(np.float32), depth)


def test_rows_say_what_they_are(comparison):
    assert [(row.label, row.group, row.size, row.mode) for row in comparison.rows] == [
        ("own context, hybrid", "context", None, "hybrid"),
        ("own context, dense", "context", None, "dense"),
        ("own context, lexical", "context", None, "lexical"),
        ("own context, RRF", "context", None, "rrf"),
        ("no context (its bi-encoder, generic texts), hybrid", "context", None, "hybrid"),
        ("no context (its bi-encoder), dense", "context", None, "dense"),
        ("no context (generic texts), lexical", "context", None, "lexical"),
        ("no context (its bi-encoder, generic texts), RRF", "context", None, "rrf"),
        ("RRF of plain vectors and BM25", "other", None, "rrf"),
        ("context of others, hybrid", "context", None, "hybrid"),
        ("own context, kmeans, hybrid", "strategy", None, "hybrid"),
        ("own context, seed 1, hybrid", "seed", None, "hybrid"),
        ("own context, 4 documents, hybrid", "size", 4, "hybrid"),
        ("own context, 8 documents, hybrid", "size", 8, "hybrid"),
        ("BM25", "other", None, None),
    ]
    assert [row.size for row in comparison.of("size")] == [4, 8]
    names = [row.evaluation.searcher for row in comparison.rows if row.group != "other"]
    assert names == [f"tiny, {row.label}" for row in comparison.rows if row.group != "other"]


@pytest.mark.parametrize(
    ("modes", "labels"),
    [
        (["dense"], ["own context, dense", "no context (its bi-encoder), dense"]),
        (
            ["lexical"],
            ["own context, lexical", "no context (generic texts), lexical", "no context (its bi-encoder), dense"],
        ),
        (
            ("hybrid",),
            [
                "own context, hybrid",
                "own context, RRF",
                "no context (its bi-encoder, generic texts), hybrid",
                "no context (its bi-encoder), dense",
                "no context (its bi-encoder, generic texts), RRF",
                "RRF of plain vectors and BM25",
            ],
        ),
    ],
)
def test_modes_may_be_chosen(encoder, modes, labels):
    found = compare(encoder, ANIMALS, modes=modes, seeds=[3])
    assert [row.label for row in found.rows] == [*labels, f"own context, seed 3, {modes[0]}"]
    assert found.without.label == "no context (its bi-encoder), dense"


@pytest.mark.parametrize("modes", [(), ("dense", "dense"), ("sparse",), "dense"])
def test_impossible_modes_are_refused_before_the_model_is_loaded(modes):
    with pytest.raises(ConfigurationError, match=r"mode"):
        compare("no such model", ANIMALS, modes=modes)


@pytest.mark.parametrize("null", [True, False])
def test_other_models_are_compared_too_and_embed_once_under_each_context(make_encoder, null, monkeypatch):
    encoder = make_encoder(CachedConditioning(null_vector=null))
    runs, run = [], encoder._runner.run
    monkeypatch.setattr(
        encoder._runner, "run", lambda texts, *a, **k: (runs.append(len(texts)), run(texts, *a, **k))[1]
    )
    found = compare(encoder, ANIMALS)
    embedded = sum(runs)
    name, source = ("null vector", NullContext()) if null else ("generic texts", GenericContext())
    labels = [f"{context}, {mode}" for context in ("own context", f"no context ({name})") for mode in (*MODES, "RRF")]
    assert [row.label for row in found.rows] == [*labels, "RRF of plain vectors and BM25"]
    runs.clear()
    for row, same in ((found.rows[0], OwnContext()), (found.rows[4], source)):
        alone = evaluate(encoder, ANIMALS, same, mode="hybrid")
        np.testing.assert_array_equal(row.evaluation.values["map"], alone.values["map"])
    assert embedded == sum(runs)


def test_the_table_has_the_measures_in_points_and_the_gain(comparison):
    lines = comparison.table().splitlines()
    assert lines[0] == "| animals | ndcg@10 | recall@100 | mrr@10 | map | first row gains, ndcg@10 |"
    assert len(lines) == 2 + len(comparison.rows)
    own = comparison.own.values
    figures = " | ".join(f"{100 * own[name].mean():.1f}" for name in ("ndcg@10", "recall@100", "mrr@10", "map"))
    assert lines[2] == f"| own context, hybrid | {figures} |  |"
    gain = comparison.gain_over("BM25")
    assert lines[-1].endswith(f"| {100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) |")


def test_an_unknown_row_is_refused(comparison):
    with pytest.raises(ConfigurationError, match=r"no row 'bm25'; there are \['own context, hybrid'"):
        comparison.gain_over("bm25")


def test_a_comparison_comes_back_from_what_is_saved(comparison, tmp_path):
    comparison.save(tmp_path / "found.json")
    again = Comparison.from_dict(comparison.to_dict())
    assert again.table() == comparison.table()
    assert [row.mode for row in again.rows] == [row.mode for row in comparison.rows]
    with pytest.raises(ConfigurationError, match=r"not a saved comparison"):
        Comparison.from_dict({"rows": []})


def test_a_comparison_that_an_earlier_release_saved_is_read(encoder):
    saved = compare(encoder, ANIMALS, modes=["dense"]).to_dict()
    for row in saved["rows"]:
        del row["mode"]
        row["label"] = row["label"].removesuffix(", dense")
    assert Comparison.from_dict(saved).without.label == "no context (its bi-encoder)"


def test_a_model_of_fixed_slots_takes_no_sizes(make_encoder):
    with pytest.raises(ConfigurationError, match=r"reads exactly 6 context vectors; leave sizes=\[3\] out"):
        compare(make_encoder(JointConditioning(context_slots=6)), ANIMALS, sizes=[3])


def test_a_matrix_has_every_corpus_under_every_context(encoder):
    matrix = context_matrix(encoder, [ANIMALS, OTHERS])
    assert matrix.names == ("animals", "others")
    foreign = evaluate(encoder, ANIMALS, ForeignContext(OTHERS))
    np.testing.assert_array_equal(matrix.evaluations[0][1].values["ndcg@10"], foreign.values["ndcg@10"])
    own = evaluate(encoder, OTHERS)
    np.testing.assert_array_equal(matrix.evaluations[1][1].values["ndcg@10"], own.values["ndcg@10"])
    gains = matrix.gains()
    assert gains.shape == (2, 2)
    assert gains[0, 1] == pytest.approx(100 * foreign.minus(matrix.without[0]).mean)
    assert matrix.own_wins() == [
        name for name, row, at in (("animals", gains[0], 0), ("others", gains[1], 1)) if row[at] > row[1 - at]
    ]


def test_a_matrix_is_refused_before_anything_is_embedded(encoder, monkeypatch):
    monkeypatch.setattr(encoder._runner, "run", lambda *_: pytest.fail("embedded before checking"))
    with pytest.raises(ConfigurationError, match=r"at least two sets, found 1; use evaluate\(\) for one"):
        context_matrix(encoder, [ANIMALS])
    unjudged = RetrievalDataset.of({"q": "red cat"}, {"a": "a cat", "b": "a dog"}, {"q": {"a": 0}}, name="unjudged")
    with pytest.raises(EvaluationDataError, match="unjudged: none of the 1 queries has an answer"):
        context_matrix(encoder, [ANIMALS, unjudged])
    monkeypatch.setattr(optional, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"cde-retrievers\[eval\]"):
        context_matrix(encoder, [ANIMALS, OTHERS])


def test_another_corpus_is_read_without_judgements(encoder, tmp_path):
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in OTHERS.texts))
    rows = compare(encoder, ANIMALS, foreign=[tmp_path / "notes.jsonl"]).rows
    found = evaluate(encoder, ANIMALS, ForeignContext(OTHERS), mode="hybrid")
    assert rows[-1].label == "context of notes.jsonl, hybrid"
    np.testing.assert_array_equal(rows[-1].evaluation.values["map"], found.values["map"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategies": ["best"]}, r"strategy 'best' is unknown"),
        ({"sizes": [1]}, r"at least 2, found 1"),
        ({"seeds": ["one"]}, r"each of seeds must be a whole number, found 'one'"),
        ({"foreign": [["a text"]]}, r"needs a name and texts, found list; give NamedCorpus"),
        ({"others": [BM25]}, r"model must be an instance, found the class BM25; give an instance"),
        ({"others": [print]}, r"builtin_function_or_method cannot be evaluated as it is"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_is_embedded(asked, message, encoder, monkeypatch):
    monkeypatch.setattr(encoder._runner, "run", lambda *_: pytest.fail("embedded before checking"))
    with pytest.raises(ConfigurationError, match=message):
        compare(encoder, ANIMALS, **asked)


def test_a_corpus_that_makes_no_context_is_refused_before_the_searched_one_is_embedded(encoder, monkeypatch):
    embedded, run = [], encoder._runner.run
    monkeypatch.setattr(encoder._runner, "run", lambda texts, *a: (embedded.extend(texts), run(texts, *a))[1])
    with pytest.raises(
        ContextTooSmallError,
        match=r"no context can be made of one; give more documents of it, or leave it out \(a context needs",
    ):
        compare(encoder, ANIMALS, foreign=[NamedCorpus("one", ("alone", "alone"))])
    assert not set(embedded) & set(ANIMALS.texts)


def test_another_model_may_search_as_well(encoder, make_encoder):
    other = make_encoder("cached")
    found = compare(encoder, ANIMALS, others=[other]).rows[-1].evaluation
    np.testing.assert_array_equal(found.values["map"], evaluate(other, ANIMALS).values["map"])


def test_bm25_without_its_packages_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"BM25 needs bm25s: pip install 'cde-retrievers\[eval\]'"):
        BM25()
