"""Any embedding under a context: its twin is the encoder that computes the plain vectors itself."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    ContextTooSmallError,
    InvalidTextError,
)
from cde_retrievers.external import embedder as whitened
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.external.identity import PROBE
from cde_retrievers.index import ContextualIndex


@pytest.fixture
def service():
    return PaidService()


def over(service, name="paid-1", **settings):
    return WhitenedEmbedder(name, service.embed_documents, service.embed_query, **settings)


def test_it_is_an_embedder(service):
    assert isinstance(over(service), Embedder)


@pytest.mark.parametrize("settings", [{}, {"power": 0.8, "shrinkage": 0.01}, {"power": 0}])
@pytest.mark.parametrize("size", [8, 40])
def test_it_equals_the_encoder_that_computes_the_plain_vectors_itself(biencoder_folder, settings, size):
    cpu = {"device": "cpu", "dtype": "float32"}
    twin = ContextualEncoder.from_biencoder(biencoder_folder, whitened.WhiteningConditioning(**settings), **cpu)
    ours = WhitenedEmbedder("tiny", lambda texts: twin.first_stage_vectors(texts).tolist(), **settings)
    theirs, context = (embedder.fit_context(CORPUS, size, seed=3) for embedder in (twin, ours))
    assert (context.documents, context.positions) == (theirs.documents, theirs.positions)
    np.testing.assert_allclose(context.vectors, theirs.vectors, atol=1e-6)
    for encode in ("encode_documents", "encode_queries"):
        expected = getattr(twin, encode)([*CORPUS, *QUERIES], theirs)
        np.testing.assert_allclose(getattr(ours, encode)([*CORPUS, *QUERIES], context), expected, atol=1e-5)


@pytest.mark.parametrize("width", [8, 384, 1536])
def test_any_width(width):
    embedder = over(PaidService(width))
    context = embedder.fit_context(CORPUS)
    documents, queries = embedder.encode_documents(CORPUS, context), embedder.encode_queries(QUERIES, context)
    assert embedder.width == width
    assert documents.shape == (len(CORPUS), width)
    assert documents.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.vstack([documents, queries]), axis=1), 1, atol=1e-5)
    assert np.abs(documents.mean(axis=0)).max() < 0.1, "the common mean is gone"
    assert embedder.encode_documents([], context).shape == (0, width)


@pytest.mark.parametrize("strategy", ["random", "kmeans", "diverse"])
@pytest.mark.parametrize("size", [5, 100])
def test_what_fitting_paid_for_is_not_paid_for_again(service, strategy, size):
    embedder = over(service)
    context = embedder.fit_context(CORPUS, size, strategy)
    embedder.encode_documents(CORPUS, context)
    assert sorted(service.bill) == sorted(CORPUS)
    assert len(service.paid) == len(CORPUS) + 1, "and one probe"


def test_the_documents_of_a_loaded_context_are_not_paid_for_again(service, tmp_path):
    over(service).fit_context(CORPUS, 20).save(tmp_path / "context")
    later, context = PaidService(), CorpusContext.load(tmp_path / "context")
    vectors = over(later).encode_documents(CORPUS, context)
    assert sorted(service.bill + later.bill) == sorted(CORPUS)
    assert later.paid.count(PROBE) == 1
    np.testing.assert_allclose(vectors, over(PaidService()).encode_documents(CORPUS, context), atol=1e-6)


def test_an_index_of_our_own_costs_its_documents_and_a_probe(service, tmp_path):
    index = ContextualIndex.build(CORPUS, over(service), tmp_path / "index", size=9, batch_size=10)
    expected = [hit.text for hit in index.search("red cat", k=3)]
    later = PaidService()
    reopened = ContextualIndex.open(tmp_path / "index", over(later))
    assert [hit.text for hit in reopened.search("red cat", k=3)] == expected
    assert sorted(service.bill) == sorted([*CORPUS, "red cat"])
    assert later.bill == ["red cat"]
    with pytest.raises(ContextMismatchError, match="has changed"):
        ContextualIndex.open(tmp_path / "index", over(PaidService(model="b")))


def test_repeated_texts_are_paid_for_once_and_keep_their_places(service):
    embedder = over(service)
    context = embedder.fit_context(CORPUS, 5)
    repeated = [*CORPUS, *CORPUS[::-1], "new", "new"]
    found = embedder.encode_documents(repeated, context)
    assert sorted(service.bill) == sorted([*CORPUS, "new"])
    single = over(PaidService())
    np.testing.assert_allclose(found, np.vstack([single.encode_documents([t], context) for t in repeated]), atol=1e-6)


def test_a_documents_vector_is_no_querys(service):
    embedder = over(service)
    context = embedder.fit_context(CORPUS)
    as_document, as_query = embedder.encode_documents(CORPUS[:1], context), embedder.encode_queries(CORPUS[:1], context)
    assert np.abs(as_document - as_query).max() > 0.1
    symmetric = WhitenedEmbedder("paid-1", service.embed_documents)
    np.testing.assert_array_equal(symmetric.encode_queries(CORPUS[:1], context), as_document)


@pytest.mark.parametrize("texts", ["one text", [None], ["fine", 3], ["\ud800"], None])
def test_what_is_no_text_is_refused_before_anything_is_paid(service, texts):
    embedder, context = over(service), over(PaidService()).fit_context(CORPUS)
    for call in (embedder.fit_context, embedder.first_stage_vectors):
        with pytest.raises(InvalidTextError):
            call(texts)
    for encode in (embedder.encode_documents, embedder.encode_queries):
        with pytest.raises(InvalidTextError):
            encode(texts, context)
    assert service.paid == []


def test_an_impossible_fit_is_refused_before_anything_is_paid(service):
    embedder = over(service)
    for options in ({"size": 1}, {"strategy": "best"}, {"seed": 0.5}):
        with pytest.raises(ConfigurationError):
            embedder.fit_context(CORPUS, **options)
    with pytest.raises(ContextTooSmallError, match="found 1 among 3"):
        embedder.fit_context(["same"] * 3)
    assert service.paid == []


@pytest.mark.parametrize(
    "setting",
    [
        {"power": 1.5},
        {"shrinkage": 0},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"retries": -1},
        {"retries": True},
        {"wait": -1},
        {"wait": float("inf")},
        {"wait": "1"},
        {"keep_mib": -1},
        {"keep_mib": None},
    ],
)
def test_impossible_settings_are_refused(service, setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        over(service, **setting)


def test_something_else_in_place_of_a_context_is_refused(service):
    with pytest.raises(ConfigurationError, match=r"context must be a CorpusContext, found 'context' \(str\)"):
        over(service).encode_documents(CORPUS, "context")


def test_texts_that_look_the_same_make_no_context():
    embedder = WhitenedEmbedder("constant", lambda texts: [[1.0, 2.0]] * len(texts))
    with pytest.raises(ContextTooSmallError, match="look the same to the model"):
        embedder.fit_context(CORPUS)


def test_a_model_that_changed_behind_its_name_is_noticed(service):
    context = over(service).fit_context(CORPUS)
    for encode in ("encode_documents", "encode_queries"):
        changed = PaidService(model="b")
        with pytest.raises(ContextMismatchError, match=r"named 'paid-1' has changed .* have cosine -?0\.\d+"):
            getattr(over(changed), encode)(CORPUS, context)
        assert changed.paid == [PROBE], "nothing but the probe is paid for"
    with pytest.raises(ContextMismatchError, match="its vectors had 24 numbers, now they have 12"):
        over(PaidService(width=12)).check_context(context)


def test_a_service_that_rounds_differently_every_time_is_accepted(tmp_path):
    # bfloat16, the coarsest arithmetic in use, leaves a relative error of .01 on MiniLM's vectors.
    context = over(PaidService(noise=0.01)).fit_context(CORPUS)
    context.save(tmp_path / "context")
    again = PaidService(noise=0.01)
    again.embed_documents(CORPUS)  # other noise than the first service had
    loaded = CorpusContext.load(tmp_path / "context")
    over(again).check_context(loaded)
    assert loaded.fingerprint == context.fingerprint
    with pytest.raises(ContextMismatchError, match=r"have cosine 0\.99"):
        over(PaidService(noise=0.1)).check_context(loaded)


def test_the_fingerprint_follows_name_settings_and_probe(service):
    assert over(service).fingerprint == over(PaidService(model="b")).fingerprint, "no probe is needed for it"
    assert service.paid == []
    assert len({over(service, **s).fingerprint for s in ({}, {"name": "x"}, {"power": 0.1}, {"shrinkage": 2})}) == 4
    contexts = [over(PaidService(model=model)).fit_context(CORPUS) for model in "aab"]
    assert contexts[0] == contexts[1]
    assert contexts[0] != contexts[2]


def test_another_bases_context_is_refused(service, make_encoder):
    context = over(service).fit_context(CORPUS)
    with pytest.raises(ContextMismatchError, match=r"fitted by model 'paid-1' .* but the encoder is 'paid-2'"):
        over(service, name="paid-2").check_context(context)
    with pytest.raises(ContextMismatchError, match=r"not fitted over 'paid-1' with .*power=0\.5"):
        over(service, power=0.5).check_context(context)
    theirs = make_encoder().fit_context(CORPUS)
    with pytest.raises(ContextMismatchError, match="not fitted over 'tiny'"):
        over(service, name="tiny").check_context(theirs)
    with pytest.raises(ContextMismatchError, match="but the encoder is 'tiny'"):
        make_encoder().check_context(context)


def test_a_contexts_map_is_computed_once(service, monkeypatch):
    fitted = []
    fit = whitened.fit_whitening
    monkeypatch.setattr(whitened, "fit_whitening", lambda *args: fitted.append(1) or fit(*args))
    embedder = over(service)
    contexts = [embedder.fit_context(CORPUS, seed=seed, size=9) for seed in range(2)]
    for context in [*contexts, *contexts]:
        embedder.encode_documents(CORPUS, context)
        embedder.encode_queries(QUERIES, context)
    assert len(fitted) == 2


def test_several_threads_pay_for_one_probe_and_get_the_same(service):
    context = over(PaidService()).fit_context(CORPUS)
    expected = over(PaidService()).encode_documents(CORPUS, context)
    together = threading.Barrier(4)

    def slow(texts):
        time.sleep(0.05)  # long enough for the other threads to ask as well
        return service.embed_documents(texts)

    embedder = WhitenedEmbedder("paid-1", slow, batch_size=20)

    def work(_):
        together.wait()
        return embedder.encode_documents(CORPUS, context)

    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(work, range(4)):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    assert service.paid.count(PROBE) == 1


@pytest.mark.parametrize(("show_progress", "bars"), [(True, 1), (False, 0), (None, 0)])
def test_progress_bar_on_request(service, capsys, show_progress, bars):
    embedder = over(service, batch_size=10)
    embedder.fit_context(CORPUS, show_progress=show_progress)
    assert capsys.readouterr().err.count(f"{len(CORPUS)}/{len(CORPUS)}") == bars
