import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import WORDS

from cde_retrievers import drift
from cde_retrievers.drift.expectation import MEASURED_GAINS, REFIT_SHARE
from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    InvalidTextError,
    SampleTooSmallError,
)


def animals(count, seed):
    """Documents of a few plain words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=8)) for _ in range(count)]


def numbers(count, seed):
    """Documents of another kind."""
    rng = random.Random(seed)
    return [" ".join(str(rng.randrange(10**6)) for _ in range(3)) for _ in range(count)]


def report_of(**changes):
    """A report with some of its values changed."""
    report = drift.DriftReport(
        statistic=0.02,
        threshold=0.01,
        p_value=0.002,
        share=0.2,
        corpus_sample=512,
        new_sample=512,
        new_texts=2000,
        left_out=0,
        context="f" * 64,
        model_name="minilm",
    )
    return replace(report, **changes)


class Index:
    """The least that an index has to be."""

    def __init__(self, texts, embedder, **options):
        self.kept = texts
        self.embedder = embedder
        self.context = embedder.fit_context(texts, **options)

    def texts(self):
        yield from self.kept


@pytest.fixture
def encoder(make_encoder):
    return make_encoder(context_size=128)


@pytest.fixture
def context(encoder):
    return encoder.fit_context(animals(400, seed=0))


def test_more_of_the_same_is_as_expected(encoder, context):
    report = drift.measure(context, animals(200, seed=1), encoder)
    assert report.verdict == "as expected"
    assert report.p_value > 0.01
    assert report.statistic <= report.threshold
    assert (report.corpus_sample, report.new_sample, report.new_texts, report.left_out) == (128, 200, 200, 0)
    assert report.context == context.fingerprint
    assert report.model_name == "tiny"


def test_another_corpus_is_flagged(encoder, context):
    report = drift.measure(context, numbers(200, seed=1), encoder)
    assert report.verdict == "refit"
    assert report.statistic > report.threshold
    assert report.share > 0.9


def test_a_few_foreign_documents_are_drift_and_their_share_is_estimated(encoder, context):
    report = drift.measure(context, animals(160, seed=1) + numbers(40, seed=1), encoder)
    assert report.verdict == "drifting"
    assert report.share == pytest.approx(0.2, abs=0.1)


def test_an_index_needs_no_embedder(encoder):
    index = Index(animals(400, seed=0), encoder)
    assert drift.measure(index, animals(99, seed=1)) == drift.measure(index.context, animals(99, seed=1), encoder)


@pytest.mark.parametrize("strategy", ["kmeans", "diverse"])
def test_where_the_context_is_no_fair_sample_the_index_is_drawn_from(encoder, strategy):
    index = Index(animals(400, seed=0), encoder, strategy=strategy, size=16)
    assert drift.measure(index, animals(200, seed=1)).verdict == "as expected"
    report = drift.measure(index, numbers(200, seed=1), sample=100)
    assert report.verdict == "refit"
    assert (report.corpus_sample, report.new_sample) == (100, 100)
    with pytest.raises(ConfigurationError, match=r"not a fair sample.*give the index"):
        drift.measure(index.context, animals(200, seed=1), encoder)


def test_the_generic_context_is_no_sample_of_a_corpus(encoder):
    with pytest.raises(ConfigurationError, match=r"strategy 'generic'.*give the index"):
        drift.measure(encoder.generic_context(), animals(200, seed=1), encoder)


def test_a_corpus_smaller_than_its_context_counts_once(encoder):
    context = encoder.fit_context(animals(40, seed=0))
    assert len(context) == 128
    assert drift.measure(context, animals(200, seed=1), encoder).corpus_sample == 40


def test_the_same_seed_gives_the_same_report_in_any_order(encoder, context):
    texts = animals(300, seed=1)
    shuffled = random.Random(0).sample(texts, len(texts))
    first, again = (drift.measure(context, t, encoder, sample=50) for t in (texts, shuffled))
    other = drift.measure(context, texts, encoder, sample=50, seed=1)
    # Batches of other lengths round otherwise, in the last digits.
    assert first.statistic == pytest.approx(again.statistic, rel=1e-4)
    assert first.p_value == pytest.approx(again.p_value, abs=0.002)
    assert first.statistic != pytest.approx(other.statistic, rel=1e-3)


def test_new_texts_are_read_once_and_repeated_or_known_ones_do_not_count(encoder):
    known = animals(100, seed=0)
    context = encoder.fit_context(known)
    new = animals(60, seed=1)
    report = drift.measure(context, iter([*new, *known, *new]), encoder)
    assert (report.new_sample, report.new_texts, report.left_out) == (60, 120, 100)
    assert report.p_value == drift.measure(context, new, encoder).p_value


def test_the_report_says_in_plain_words_what_was_found_and_what_to_do(encoder, context):
    report = drift.measure(context, numbers(200, seed=1), encoder)
    first, second, third, last = str(report).splitlines()
    assert first == (
        f"refit: about {report.share:.0%} of the new documents look unlike those of the corpus (random draws from one "
        f"corpus differ as much in 0.2% of all cases)"
    )
    assert second == "compared: 200 of 200 new documents with a sample of 128 documents of the corpus"
    assert third == f"retrieval: {report.expectation}"
    assert last.startswith("what to do: add the new documents and refit")


def test_each_verdict_has_its_advice():
    advice = [report_of(p_value=p, share=share).advice for p, share in ((0.5, 0.9), (0.002, 0.1), (0.002, 0.9))]
    assert len(set(advice)) == 3
    assert "the context fits them" in str(report_of(p_value=0.5, share=0.9))
    assert "differ as much in 50% of all cases" in str(report_of(p_value=0.5, share=0.9))


def test_the_report_is_json(encoder, context):
    report = drift.measure(context, numbers(200, seed=1), encoder)
    loaded = json.loads(json.dumps(report.to_dict()))
    assert loaded["verdict"] == "refit"
    assert loaded["expectation"] == report.expectation
    assert loaded["share"] == report.share
    assert loaded["context"] == context.fingerprint


@pytest.mark.parametrize(
    ("p_value", "share", "verdict"),
    [
        (0.5, 0.9, "as expected"),
        (0.012, 0.9, "as expected"),
        (0.01, 0.0, "drifting"),
        (0.002, 0.29, "drifting"),
        (0.002, 0.3, "refit"),
        (0.002, 1.0, "refit"),
    ],
)
def test_the_verdict_asks_for_significance_first_and_for_the_share_then(p_value, share, verdict):
    assert report_of(p_value=p_value, share=share).verdict == verdict


@pytest.mark.parametrize(("share", "gain"), [(0.0, "+0.0"), (0.2, "+0.2"), (0.3, "+0.6"), (0.6, "+1.0"), (1.0, "+1.0")])
def test_the_expectation_is_what_was_measured_at_that_share(share, gain):
    built_in, other = (report_of(share=share, model_name=name).expectation for name in ("minilm", "mine"))
    assert f"refitting changed nDCG@10 by {gain} points on average" in built_in
    assert built_in.rstrip(".") in other
    assert other.startswith("with the built-in model, ")
    assert "'mine' was not measured" in other


def test_without_a_difference_beyond_chance_nothing_is_said_of_shares():
    report = report_of(p_value=0.5, share=0.7)
    assert str(report).startswith("as expected: the new documents look like those of the corpus (")
    assert report.expectation == report_of(share=0.0).expectation


def test_documents_left_out_are_reported():
    assert "with a sample of 512 documents of the corpus; 7 more are of the corpus already, and left out\n" in str(
        report_of(left_out=7)
    )


def test_the_gains_are_those_of_the_committed_measurement():
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "drift_retrieval.json"
    measured = json.loads(path.read_text(encoding="utf-8"))["summary"]["training"]
    assert [(row["mean"], row["tenth"], row["ninetieth"]) for row in measured] == [
        (gain.mean, gain.tenth, gain.ninetieth) for gain in MEASURED_GAINS
    ]
    assert [row["from"] for row in measured[1:]] == [gain.below for gain in MEASURED_GAINS[:-1]]
    assert min(row["from"] for row in measured if row["mean"] > 0.5) == REFIT_SHARE


def test_too_few_new_texts_are_said_to_be_before_anything_is_embedded(encoder, context, monkeypatch):
    monkeypatch.setattr(type(encoder), "first_stage_vectors", lambda *_: pytest.fail("embedded"))
    new = [*animals(15, seed=1), *animals(15, seed=1)]
    report = drift.measure(context, new, encoder)
    assert (report.verdict, report.new_sample, report.new_texts, report.p_value) == ("too few", 15, 30, 1.0)
    assert report.to_dict()["expectation"] == "nothing was compared."
    assert str(report) == (
        "too few: 15 different new documents cannot be compared with the corpus; 16 can\n"
        "what to do: add them, and measure with those that come after them once there are more"
    )
    assert str(drift.measure(context, new[:1], encoder)).startswith("too few: 1 new document cannot be")


@pytest.mark.parametrize("strategy", ["random", "kmeans"])
def test_the_corpus_itself_is_nothing_new(encoder, strategy, monkeypatch):
    texts = animals(400, seed=0)
    index = Index(texts, encoder, size=64, strategy=strategy)
    monkeypatch.setattr(type(encoder), "first_stage_vectors", lambda *_: pytest.fail("embedded"))
    for given in (texts, texts[100:130], texts[:1]):
        report = drift.measure(index, given)
        assert (report.verdict, report.new_sample, report.left_out) == ("nothing new", 0, len(given))
        assert str(report).startswith("nothing new: ")
        assert f"({len(given)} looked up); nothing has changed\nwhat to do: nothing" in str(report)


def test_a_context_knows_its_own_documents(encoder):
    texts = animals(100, seed=0)
    assert drift.measure(encoder.fit_context(texts), texts, encoder).verdict == "nothing new"


def test_documents_that_were_added_to_an_index_are_compared_still(encoder):
    index = Index(animals(200, seed=0), encoder, size=64)
    foreign = numbers(100, seed=1)
    index.kept = [*index.kept, *foreign]
    report = drift.measure(index, foreign)
    assert (report.verdict, report.new_sample, report.left_out) == ("refit", 100, 0)


def test_the_texts_of_an_index_are_not_of_a_corpus_that_the_context_was_fitted_on_elsewhere(encoder):
    index = Index(animals(200, seed=0), encoder, size=64)
    index.kept = numbers(200, seed=1)
    assert drift.measure(index, index.kept).verdict == "refit"


def test_no_documents_at_all_are_too_few(encoder, context):
    with pytest.raises(SampleTooSmallError, match="found 0"):
        drift.measure(context, [], encoder)


@pytest.mark.parametrize("strategy", ["random", "kmeans"])
def test_too_small_a_corpus_is_refused(encoder, strategy):
    index = Index(animals(15, seed=0), encoder, strategy=strategy)
    with pytest.raises(SampleTooSmallError, match=r"at least 16 distinct documents of the corpus.*found 15"):
        drift.measure(index, animals(200, seed=1))


def test_another_models_embedder_is_refused(context, make_encoder):
    with pytest.raises(ContextMismatchError, match=r"this context was fitted by model"):
        drift.measure(context, animals(200, seed=1), make_encoder("cached"))


def test_a_context_alone_needs_its_embedder(context):
    with pytest.raises(ConfigurationError, match=r"the embedder that fitted the context is needed, found NoneType"):
        drift.measure(context, animals(200, seed=1))


def test_what_is_neither_context_nor_index_is_refused(encoder):
    with pytest.raises(ConfigurationError, match=r"an index or a CorpusContext is needed, found list"):
        drift.measure(animals(400, seed=0), animals(200, seed=1), encoder)


@pytest.mark.parametrize("options", [{"sample": 15}, {"sample": 64.0}, {"sample": True}, {"seed": -1}, {"seed": "0"}])
def test_impossible_options_are_refused(encoder, context, options):
    with pytest.raises(ConfigurationError, match=r"(sample|seed) must be a whole number"):
        drift.measure(context, animals(200, seed=1), encoder, **options)


@pytest.mark.parametrize("texts", ["one text", ["a text", 7]])
def test_what_is_no_collection_of_texts_is_refused(encoder, context, texts):
    with pytest.raises(InvalidTextError, match=r"collection of texts is expected|text 1 must be a string"):
        drift.measure(context, texts, encoder)
