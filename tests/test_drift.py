import json
import random

import pytest
from tiny import WORDS

from cde_retrievers import drift
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
    report = drift.measure(context, animals(140, seed=1) + numbers(60, seed=1), encoder)
    assert report.verdict == "drifting"
    assert report.share == pytest.approx(0.3, abs=0.1)


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
    with pytest.raises(ConfigurationError, match=r"no fair sample.*give the index"):
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


def test_the_report_reads_in_three_lines(encoder, context):
    report = drift.measure(context, numbers(200, seed=1), encoder)
    first, second, third = str(report).splitlines()
    assert first.startswith(f"refit: about {report.share:.0%} of the new documents are unlike the corpus")
    assert second == "compared: 200 of 200 new documents with 128 of the corpus"
    assert third == f"retrieval: {report.expectation}"


def test_the_report_is_json(encoder, context):
    report = drift.measure(context, numbers(200, seed=1), encoder)
    loaded = json.loads(json.dumps(report.to_dict()))
    assert loaded["verdict"] == "refit"
    assert loaded["expectation"] == report.expectation
    assert loaded["share"] == report.share
    assert loaded["context"] == context.fingerprint


def test_too_few_new_texts_are_refused_before_anything_is_embedded(encoder, context, monkeypatch):
    monkeypatch.setattr(type(encoder), "first_stage_vectors", lambda *_: pytest.fail("embedded"))
    new = [*animals(15, seed=1), *animals(15, seed=1)]
    with pytest.raises(SampleTooSmallError, match=r"at least 16 distinct new texts are needed, found 15 \(0 more"):
        drift.measure(context, new, encoder)


def test_new_texts_that_are_all_known_are_refused(encoder):
    texts = animals(100, seed=0)
    with pytest.raises(SampleTooSmallError, match=r"found 0 \(100 more are in the corpus's sample already\)"):
        drift.measure(encoder.fit_context(texts), texts, encoder)


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
    with pytest.raises(ConfigurationError, match=r"must be a whole number of at least \d+, found"):
        drift.measure(context, animals(200, seed=1), encoder, **options)


@pytest.mark.parametrize("texts", ["one text", ["a text", 7]])
def test_what_is_no_collection_of_texts_is_refused(encoder, context, texts):
    with pytest.raises(InvalidTextError, match=r"collection of texts is expected|text 1 is no string"):
        drift.measure(context, texts, encoder)
