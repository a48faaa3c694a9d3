"""Hard negatives out of a pair's own domain."""

import logging

import pytest
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches import hard_negatives
from cde_retrievers.training.batches.hard_negatives import MiningRules, mine_hard_negatives
from cde_retrievers.training.data.pairs import Pair, TrainingPairs


def zoo(domains=1):
    """A query for every document: the document itself without its place, so that two answer each."""
    return TrainingPairs.of(
        Pair(text.rsplit(" ", 1)[0], text, domain=f"part {i // 2 % domains}") for i, text in enumerate(CORPUS)
    )


def slow(pairs, encoder, count, *, margin=None, relative=None, low=-9.0, high=9.0, first=0, window=None):
    """One query at a time, every document of its domain, sorted."""
    found, embedded = [], {}
    for name in pairs.domains:
        domain = [pair for pair in pairs if pair.domain == name]
        known = {text for pair in domain for text in (pair.positive, *pair.negatives)}
        texts = sorted(known, key=pairs.documents.index)
        context = encoder.fit_context(texts)
        embedded[name] = texts, context, encoder.encode_documents(texts, context)
    for pair in pairs:
        texts, context, vectors = embedded[pair.domain]
        answers = {other.positive for other in pairs if other.query == pair.query}
        scores = dict(zip(texts, vectors @ encoder.encode_queries([pair.query], context)[0], strict=True))
        worst = min(score for text, score in scores.items() if text in answers)
        passing = [
            text
            for text, score in sorted(scores.items(), key=lambda item: -item[1])
            if text not in answers
            and low <= score <= high
            and (margin is None or score + margin <= worst)
            and (relative is None or score <= worst - abs(worst) * relative)
            and text not in pair.negatives
        ]
        found.append((*pair.negatives, *passing[first:window][:count]))
    return found


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        ({"num_negatives": 1}, {}),
        ({"num_negatives": 3}, {}),
        ({"num_negatives": 2, "range_min": 2, "range_max": 5}, {"first": 2, "window": 5}),
        ({"num_negatives": 2, "range_max": 40, "max_score": 0.5}, {"high": 0.5}),
        ({"num_negatives": 9, "range_max": 40, "min_score": 0.5}, {"low": 0.5}),
        ({"num_negatives": 2, "range_max": 40, "absolute_margin": 0.1}, {"margin": 0.1}),
        ({"num_negatives": 2, "range_max": 40, "relative_margin": 0.05}, {"relative": 0.05}),
    ],
)
def test_negatives_equal_those_of_a_plain_search_through_the_domain(make_encoder, settings, rules):
    pairs, encoder = zoo(domains=2), make_encoder()
    mined = mine_hard_negatives(pairs, encoder, **settings)
    assert [pair.negatives for pair in mined] == slow(pairs, encoder, settings["num_negatives"], **rules)
    assert any(mined.negatives_of)


def test_queries_are_searched_a_block_at_a_time(make_encoder, monkeypatch):
    whole = mine_hard_negatives(zoo(), make_encoder())
    monkeypatch.setattr(hard_negatives, "_QUERIES_AT_ONCE", 5)
    assert mine_hard_negatives(zoo(), make_encoder()).negatives_of == whole.negatives_of


def test_everything_but_the_negatives_stays(make_encoder):
    pairs = zoo()
    mined = mine_hard_negatives(pairs, make_encoder(), num_negatives=2)
    assert (mined.queries, mined.documents, mined.domains) == (pairs.queries, pairs.documents, pairs.domains)
    assert [(p.query, p.positive, p.domain) for p in mined] == [(p.query, p.positive, p.domain) for p in pairs]
    assert mined.fingerprint != pairs.fingerprint
    assert not any(pairs.negatives_of)


def test_a_known_answer_is_never_a_negative_even_if_another_pair_or_domain_knows_it(make_encoder):
    pairs = TrainingPairs.of(
        [
            Pair("red cat", CORPUS[0], domain="here"),
            Pair("red cat", CORPUS[1], domain="here"),
            Pair("red cat", CORPUS[2], domain="there"),
            Pair("dog", CORPUS[2], domain="here"),
            Pair("bird", CORPUS[3], domain="here"),
            Pair("tree", CORPUS[4], domain="there"),
        ]
    )
    mined = mine_hard_negatives(pairs, make_encoder(), num_negatives=5)
    for pair in mined:
        answers = {other.positive for other in pairs if other.query == pair.query}
        assert answers.isdisjoint(pair.negatives)
    assert mined[0].negatives == mined[1].negatives == (CORPUS[3],)
    assert mined[2].negatives == (CORPUS[4],)


def test_given_negatives_stay_first_and_are_not_mined_again(make_encoder):
    encoder = make_encoder()
    best = mine_hard_negatives(zoo(), encoder)[0].negatives[0]
    given = TrainingPairs.of(
        Pair(pair.query, pair.positive, (best,) if i == 0 else (), pair.domain) for i, pair in enumerate(zoo())
    )
    mined = mine_hard_negatives(given, encoder, num_negatives=2)
    assert mined[0].negatives[0] == best
    assert len(set(mined[0].negatives)) == 3


def test_pairs_that_got_fewer_are_counted(make_encoder, caplog):
    pairs = TrainingPairs.of([Pair(f"dog {i}", CORPUS[i], domain="a") for i in range(3)])
    with caplog.at_level(logging.WARNING):
        mined = mine_hard_negatives(pairs, make_encoder(), num_negatives=4)
    assert [len(pair.negatives) for pair in mined] == [2, 2, 2]
    assert "3 of 3 pairs got fewer than 4 hard negatives" in caplog.text


def test_nothing_is_said_when_every_pair_got_enough(make_encoder, caplog):
    with caplog.at_level(logging.WARNING, "cde_retrievers.training"):
        mine_hard_negatives(zoo(), make_encoder(), num_negatives=4)
    assert caplog.text == ""


def test_a_domain_without_a_second_document_gets_none_and_is_named(make_encoder, caplog):
    pairs = TrainingPairs.of([Pair("lonely", "one text", domain="small"), *zoo()])
    with caplog.at_level(logging.WARNING):
        mined = mine_hard_negatives(pairs, make_encoder())
    assert mined[0].negatives == ()
    assert all(pair.negatives for pair in list(mined)[1:])
    assert "no hard negatives in domain 'small'" in caplog.text
    assert f"1 of {len(pairs)} pairs got fewer than 1" in caplog.text


def test_random_negatives_are_drawn_from_the_window_and_by_the_seed(make_encoder):
    encoder = make_encoder()
    window = mine_hard_negatives(zoo(), encoder, num_negatives=8, seed=1)
    first, again, other = (
        mine_hard_negatives(zoo(), encoder, num_negatives=2, range_max=8, sampling_strategy="random", seed=seed)
        for seed in (1, 1, 2)
    )
    assert first.negatives_of == again.negatives_of != other.negatives_of
    for drawn, allowed in zip(first.negatives_of, window.negatives_of, strict=True):
        assert len(set(drawn)) == 2
        assert set(drawn) <= set(allowed)
    assert first.negatives_of != tuple(rows[:2] for rows in window.negatives_of)


def test_random_negatives_have_something_to_choose_from_without_a_window():
    assert MiningRules(num_negatives=3, sampling_strategy="random").window == 30
    assert MiningRules(num_negatives=3, range_min=2).window == 5
    assert MiningRules(num_negatives=3, range_min=2, relative_margin=0.05).window == 32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_negatives": 0}, r"num_negatives must be a whole number of at least 1, found 0"),
        ({"num_negatives": 1.5}, r"num_negatives must be a whole number of at least 1, found 1.5"),
        ({"num_negatives": True}, r"num_negatives must be a whole number of at least 1, found True"),
        ({"range_min": -1}, r"range_min must be a whole number of at least 0, found -1"),
        ({"range_max": 0}, r"range_max must be a whole number of at least 1, found 0"),
        ({"range_min": 5, "range_max": 5}, r"ranks 5 to 5 are too few for 1 negatives"),
        ({"min_score": 0.5, "max_score": 0.4}, r"min_score=0.5 is above max_score"),
        ({"sampling_strategy": "best"}, r"sampling_strategy 'best' is unknown; use one of top, random"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_embedded(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        mine_hard_negatives(zoo(), None, **settings)


def test_an_embedding_without_contexts_is_refused():
    pairs = TrainingPairs.of([Pair("red cat", CORPUS[0]), Pair("green dog", CORPUS[1])])
    with pytest.raises(ConfigurationError, match=r"list does not support; give a ContextualEncoder"):
        mine_hard_negatives(pairs, [])


def test_rows_that_were_not_read_are_refused():
    with pytest.raises(TrainingDataError, match=r"pairs must be TrainingPairs, found list; make them"):
        mine_hard_negatives([{"query": "red cat", "positive": "the cat"}], None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", [{"absolute_margin": 0.05}, {"relative_margin": 0.05, "range_min": 1}, {}])
def test_the_settings_mean_what_they_mean_in_sentence_transformers(biencoder_folder, make_encoder, settings):
    """One domain and a context that changes nothing: the same negatives, but for the order of equal scores."""
    library = pytest.importorskip("sentence_transformers")
    datasets = pytest.importorskip("datasets")
    from cde_retrievers.model.config import WhiteningConditioning

    pairs = zoo()
    encoder = make_encoder(WhiteningConditioning(power=0))
    settings = {"num_negatives": 3, "range_max": 12, **settings}
    mined = mine_hard_negatives(pairs, encoder, **settings)
    rows = datasets.Dataset.from_dict({"query": [p.query for p in pairs], "answer": [p.positive for p in pairs]})
    theirs = library.util.mine_hard_negatives(
        rows, library.SentenceTransformer(str(biencoder_folder), device="cpu"), verbose=False, **settings
    )
    wanted = {}
    for row in theirs:
        wanted.setdefault((row["query"], row["answer"]), set()).add(row["negative"])
    found = {(pair.query, pair.positive): set(pair.negatives) for pair in mined if pair.negatives}
    assert found == wanted
    assert sum(map(len, wanted.values())) > 20
