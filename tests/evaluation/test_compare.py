"""One model under many contexts."""

import json

import numpy as np
import pytest
from searched import ANIMALS, OTHERS

from cde_retrievers.errors import ConfigurationError, ContextTooSmallError, MissingDependencyError
from cde_retrievers.evaluation import (
    BM25,
    Comparison,
    ForeignContext,
    NamedCorpus,
    OwnContext,
    ShuffledContext,
    compare,
    context_matrix,
    evaluate,
)
from cde_retrievers.model.config import JointConditioning
from cde_retrievers.util import imports as optional


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("whitening")


@pytest.fixture
def comparison(encoder):
    return compare(encoder, ANIMALS, foreign=[OTHERS], strategies=["kmeans"], seeds=[1], sizes=[4, 8], others=[BM25()])


def test_every_row_is_what_evaluate_finds_alone(encoder, comparison):
    sources = [
        OwnContext(),
        None,
        ShuffledContext(),
        ForeignContext(OTHERS),
        OwnContext(strategy="kmeans"),
        OwnContext(seed=1),
        OwnContext(4),
        OwnContext(8),
    ]
    for row, source in zip(comparison.rows, sources, strict=False):
        if source is not None:
            found = evaluate(encoder, ANIMALS, source)
            np.testing.assert_array_equal(row.evaluation.values["ndcg@10"], found.values["ndcg@10"])
    np.testing.assert_array_equal(comparison.rows[-1].evaluation.values["map"], evaluate(BM25(), ANIMALS).values["map"])


def test_rows_say_what_they_are_there_for(comparison):
    assert [(row.label, row.group, row.size) for row in comparison.rows] == [
        ("own context", "context", None),
        ("no context (its bi-encoder), dense", "context", None),
        ("own context, shuffled", "context", None),
        ("context of others", "context", None),
        ("own context, kmeans", "strategy", None),
        ("own context, seed 1", "seed", None),
        ("own context, 4 documents", "size", 4),
        ("own context, 8 documents", "size", 8),
        ("BM25", "other", None),
    ]
    assert [row.size for row in comparison.of("size")] == [4, 8]


def test_the_table_has_the_measures_in_points_and_the_gain(comparison):
    lines = comparison.table().splitlines()
    assert lines[0] == "| animals | ndcg@10 | recall@100 | mrr@10 | map | own context gains, ndcg@10 |"
    assert len(lines) == 2 + len(comparison.rows)
    own = comparison.own.values
    figures = " | ".join(f"{100 * own[name].mean():.1f}" for name in ("ndcg@10", "recall@100", "mrr@10", "map"))
    assert lines[2] == f"| own context | {figures} |  |"
    gain = comparison.gain_over("BM25")
    assert lines[-1].endswith(f"| {100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) |")


def test_the_order_of_the_context_does_not_matter_to_the_closed_form(comparison):
    assert comparison.gain_over("own context, shuffled").mean == pytest.approx(0, abs=1e-9)


def test_an_unknown_row_is_refused(comparison):
    with pytest.raises(ConfigurationError, match=r"no row 'bm25'; there are \['own context'"):
        comparison.gain_over("bm25")


def test_a_comparison_comes_back_from_what_is_saved(comparison, tmp_path):
    comparison.save(tmp_path / "found.json")
    again = Comparison.from_dict(comparison.to_dict())
    assert again.table() == comparison.table()
    with pytest.raises(ConfigurationError, match=r"not a saved comparison"):
        Comparison.from_dict({"rows": []})


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


def test_another_corpus_is_read_without_judgements(encoder, tmp_path):
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in OTHERS.texts))
    rows = compare(encoder, ANIMALS, foreign=[tmp_path / "notes.jsonl"]).rows
    found = evaluate(encoder, ANIMALS, ForeignContext(OTHERS))
    assert rows[-1].label == "context of notes.jsonl"
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
