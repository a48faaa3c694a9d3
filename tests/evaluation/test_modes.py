"""Search by words, and by vectors and words, against scoring every document, and against an index."""

import dataclasses

import numpy as np
import pytest
from searched import ANIMALS, IDS, OTHERS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.evaluation import (
    BM25,
    BiEncoder,
    Contextual,
    FittedContext,
    ForeignContext,
    GenericContext,
    NullContext,
    OwnContext,
    RetrievalDataset,
    evaluate,
)
from cde_retrievers.evaluation.contexts import generic_statistics
from cde_retrievers.evaluation.searchers import without_context
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.model.config import CachedConditioning
from cde_retrievers.retrieval.fusion import LEXICAL_POWER, LEXICAL_WEIGHT
from cde_retrievers.sparse.bm25 import document_rows, query_rows

# Some queries share many words with the corpus, one shares none, and one has no terms.
ASKED = {**ANIMALS.judged.queries, "unknown": "xylophone", "empty": "to the", "many": " ".join(ANIMALS.texts[:9])}
DATA = RetrievalDataset.of(ASKED, IDS, {query: {"d0"} for query in ASKED}, name="animals")


def scores_by_hand(mode, documents, queries, statistics):
    """The slow twin: one query at a time, over all documents at once."""
    for place, text in enumerate(ASKED.values()):
        asked = query_rows([text], statistics)
        words = (document_rows(DATA.texts, statistics) @ asked.T).toarray().T
        if mode == "lexical":
            yield np.where(words > 0, words, -np.inf)[0]
        else:
            share = words[0] / (asked.sum() or 1)
            yield documents @ queries[place] + LEXICAL_WEIGHT * share**LEXICAL_POWER


def assert_best(hits, scores, depth):
    for rows, found, every in zip(hits.rows, hits.scores, scores, strict=True):
        np.testing.assert_allclose(found, np.sort(every)[::-1][:depth], atol=1e-5)
        np.testing.assert_allclose(found, every[rows], atol=1e-5)
        assert len(set(rows.tolist())) == len(rows)


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize("source", [OwnContext(), OwnContext(size=6, seed=2), ForeignContext(OTHERS)])
@pytest.mark.parametrize("depth", [5, 1_000])
def test_hits_are_those_of_scoring_every_document(make_encoder, mode, source, depth):
    encoder = make_encoder("whitening")
    context = source.fit(encoder, DATA)
    vectors = encoder.encode_documents(DATA.texts, context), encoder.encode_queries(ASKED.values(), context)
    hits = Contextual(encoder, source, mode).search(DATA, depth)
    assert hits.rows.shape == (len(ASKED), min(depth, len(IDS)))
    assert_best(hits, scores_by_hand(mode, *vectors, context.term_statistics()), depth)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_hits_are_those_of_an_index(make_encoder, tmp_path, mode):
    encoder = make_encoder("whitening")
    index = ContextualIndex.build([Document(text, key) for key, text in IDS.items()], encoder, tmp_path / "index")
    run = Contextual(encoder, mode=mode).search(DATA, 7).run(DATA)
    for query, text in ASKED.items():
        expected = index.search(text, 7, mode=mode)
        assert sorted(run[query].values(), reverse=True) == pytest.approx([hit.score for hit in expected], abs=1e-5)


@pytest.mark.parametrize("scores", [1, 100, 54 * 5])
@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_blocks_of_queries_change_nothing(make_encoder, monkeypatch, mode, scores):
    searcher = Contextual(make_encoder("whitening"), mode=mode)
    expected = searcher.search(DATA, 9)
    monkeypatch.setattr("cde_retrievers.evaluation.encoded._SCORES", scores)
    found = searcher.search(DATA, 9)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert found.run(DATA).keys() == expected.run(DATA).keys()


def test_few_scores_are_in_memory_at_a_time(make_encoder, monkeypatch):
    asked, score = [], "cde_retrievers.evaluation.encoded.LexicalView.scores"
    encoded = Contextual(make_encoder("whitening")).encoded(DATA, ["hybrid"])
    original = type(encoded.lexical).scores
    monkeypatch.setattr(score, lambda view, start, stop: (asked.append(stop - start), original(view, start, stop))[1])
    monkeypatch.setattr("cde_retrievers.evaluation.encoded._SCORES", 54 * 4 + 3)
    encoded.hits(3)
    assert (max(asked), sum(asked)) == (4, len(ASKED))


def test_by_words_alone_nothing_is_found_without_a_shared_word(make_encoder):
    run = Contextual(make_encoder("whitening"), mode="lexical").search(DATA, 9).run(DATA)
    assert run["unknown"] == run["empty"] == {}
    assert len(run["q0"]) == 9


def test_by_words_alone_no_document_is_embedded(make_encoder, monkeypatch):
    encoder = make_encoder("whitening")
    context = FittedContext(encoder.fit_context(DATA.texts))
    monkeypatch.setattr(encoder._runner, "run", lambda *_: pytest.fail("embedded"))
    assert Contextual(encoder, context, "lexical").search(DATA, 3).rows.shape == (len(ASKED), 3)


def test_several_modes_embed_once(make_encoder, monkeypatch):
    encoder = make_encoder("cached")
    context = FittedContext(encoder.fit_context(DATA.texts))
    expected = {mode: Contextual(encoder, context, mode).search(DATA, 9) for mode in ("dense", "lexical", "hybrid")}
    runs, run = [], encoder._runner.run
    monkeypatch.setattr(encoder._runner, "run", lambda texts, *a: (runs.append(len(texts)), run(texts, *a))[1])
    encoded = Contextual(encoder, context).encoded(DATA, expected)
    for mode, hits in expected.items():
        np.testing.assert_array_equal(encoded.in_mode(mode).hits(9).scores, hits.scores)
    assert sum(runs) == len(DATA.texts) + len(ASKED)


def test_the_closed_form_without_a_context_counts_words_as_in_texts_that_are_no_corpus(make_encoder):
    encoder = make_encoder("whitening")
    plain = [encoder.biencoder_vectors(texts, "") for texts in (DATA.texts, ASKED.values())]
    vectors = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in plain]
    for mode in ("lexical", "hybrid"):
        searcher = without_context(encoder, mode)
        assert isinstance(searcher, BiEncoder)
        assert_best(searcher.search(DATA, 9), scores_by_hand(mode, *vectors, generic_statistics()), 9)
    # Statistics of the corpus order its documents otherwise.
    own = Contextual(encoder, mode="lexical").search(DATA, 9)
    assert not np.array_equal(own.scores, without_context(encoder, "lexical").search(DATA, 9).scores)


@pytest.mark.parametrize("null", [True, False])
def test_other_models_without_a_context_do_so_too(make_encoder, null):
    encoder = make_encoder(CachedConditioning(null_vector=null))
    searcher = without_context(encoder, "hybrid")
    assert searcher == Contextual(encoder, NullContext() if null else GenericContext(), "hybrid")
    context = searcher.context.fit(encoder, DATA)
    if null:
        assert context.terms.fingerprint == generic_statistics().fingerprint
    vectors = encoder.encode_documents(DATA.texts, context), encoder.encode_queries(ASKED.values(), context)
    assert_best(searcher.search(DATA, 9), scores_by_hand("hybrid", *vectors, context.terms), 9)


def test_names_say_what_is_searched(make_encoder):
    encoder = make_encoder("whitening")
    modes = ("dense", "lexical", "hybrid")
    assert [Contextual(encoder, mode=mode).name for mode in modes] == [f"tiny, own context, {mode}" for mode in modes]
    assert [without_context(encoder, mode).name for mode in modes] == [
        "tiny, no context (its bi-encoder), dense",
        "tiny, no context (generic texts), lexical",
        "tiny, no context (its bi-encoder, generic texts), hybrid",
    ]


def test_evaluate_takes_a_mode(make_encoder):
    encoder = make_encoder("whitening")
    for mode in ("dense", "lexical", "hybrid"):
        found = evaluate(encoder, ANIMALS, mode=mode)
        expected = evaluate(Contextual(encoder, mode=mode), ANIMALS)
        assert (found.searcher, found.best) == (expected.searcher, expected.best)
    assert evaluate(encoder, ANIMALS).searcher == "tiny, own context, dense"


def test_a_context_without_statistics_is_refused_before_anything_is_embedded(make_encoder, monkeypatch):
    encoder = make_encoder("whitening")
    context = dataclasses.replace(encoder.fit_context(DATA.texts), terms=None)
    monkeypatch.setattr(encoder._runner, "run", lambda *_: pytest.fail("embedded before checking"))
    for mode in ("lexical", "hybrid"):
        with pytest.raises(ContextMismatchError, match=r"carries no term statistics.*fit a context with this release"):
            evaluate(encoder, DATA, context, mode=mode)


@pytest.mark.parametrize("make", [Contextual, BiEncoder])
def test_an_unknown_mode_is_refused(make_encoder, make):
    with pytest.raises(ConfigurationError, match=r"mode 'sparse' is unknown; use one of \['hybrid', 'dense', 'lex"):
        make(make_encoder("whitening"), mode="sparse")


def test_a_mode_of_what_has_none_is_refused():
    with pytest.raises(ConfigurationError, match=r"BM25 takes no mode; leave out mode='hybrid'"):
        evaluate(BM25(), ANIMALS, mode="hybrid")
    with pytest.raises(ConfigurationError, match=r"mode"):
        evaluate(BM25(), ANIMALS, mode="sparse")
