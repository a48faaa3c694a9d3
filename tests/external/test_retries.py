"""Services that fail, answer nonsense or charge for every text."""

import time

import numpy as np
import pytest
from services import PaidService
from tiny import CORPUS

from cde_retrievers.errors import ContextNotFittedError, EmbeddingServiceError
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.external.vector_cache import VectorCache


@pytest.fixture
def service():
    return PaidService()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were waited for; none really are."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def context():
    return WhitenedEmbedder("paid-1", PaidService().embed_documents).fit_context(["some", "other", "texts"])


def over(service, **settings):
    return WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query, **settings)


def test_failures_are_waited_out(service, waits, context):
    expected = over(PaidService()).encode_documents(CORPUS, context)
    service.failing = iter([True, False, True, True, True, False] + 3 * [False, True])
    found = over(service, batch_size=10).encode_documents(CORPUS, context)
    np.testing.assert_array_equal(found, expected)
    assert sorted(service.bill) == sorted(CORPUS)
    assert waits == [1, 1, 2, 4, 1, 1, 1]


def test_waits_are_settable_and_at_most_a_minute(service, waits, context):
    service.failing = iter([True] * 8)
    over(service, retries=8, wait=0.5).encode_documents(CORPUS[:1], context)
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60]


def test_after_a_failure_for_good_only_the_rest_is_paid_for(service, waits, context):
    embedder = over(service, batch_size=10, retries=2)
    service.failing = iter([False, False, False, True, True, True])  # the probe and two batches come through
    with pytest.raises(
        EmbeddingServiceError,
        match=r"failed 3 times in a row, last with ConnectionError: 429 .*\. 20 of 54 texts .* 20 of their vectors",
    ) as caught:
        embedder.encode_documents(CORPUS, context)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert waits == [1, 2]
    assert len(service.bill) == 20
    found = embedder.encode_documents(CORPUS, context)
    assert sorted(service.bill) == sorted(CORPUS)
    np.testing.assert_array_equal(found, over(PaidService()).encode_documents(CORPUS, context))


def test_a_fit_that_failed_pays_only_for_the_rest(service, waits):
    embedder = over(service, batch_size=10, retries=0)
    service.failing = iter([False, False, True])
    with pytest.raises(EmbeddingServiceError, match="10 of 54 texts were embedded before"):
        embedder.fit_context(CORPUS)
    embedder.encode_documents(CORPUS, embedder.fit_context(CORPUS))
    assert sorted(service.bill) == sorted(CORPUS)
    assert waits == []


def test_queries_before_a_failure_are_not_paid_for_again(service, waits, context):
    embedder = over(service, retries=0)
    service.failing = iter([False, False, False, True])
    with pytest.raises(EmbeddingServiceError, match="2 of 5 texts"):
        embedder.encode_queries(CORPUS[:5], context)
    embedder.encode_queries(CORPUS[:5], context)
    assert service.bill == CORPUS[:5]


def test_an_interrupt_loses_nothing_that_was_paid_for(service, context):
    def interrupted(texts):
        if len(service.bill) == 20 and not interrupts:
            interrupts.append(1)
            raise KeyboardInterrupt
        return service.embed_documents(texts)

    interrupts = []
    embedder = WhitenedEmbedder("paid-1", interrupted, batch_size=10)
    with pytest.raises(KeyboardInterrupt):
        embedder.encode_documents(CORPUS, context)
    embedder.encode_documents(CORPUS, context)
    assert sorted(service.bill) == sorted(CORPUS)


def test_a_probe_that_cannot_be_had_is_asked_for_again(service, waits, context):
    service.failing = iter([True])
    embedder = over(service, retries=0)
    with pytest.raises(EmbeddingServiceError, match="try again later"):
        embedder.check_context(context)
    embedder.check_context(context)


def test_our_own_errors_are_not_retried(waits, context):
    def unfitted(texts):
        raise ContextNotFittedError("the base is contextual itself")

    with pytest.raises(ContextNotFittedError):
        WhitenedEmbedder("paid-1", unfitted).encode_documents(CORPUS, context)
    assert waits == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda vectors: vectors[:-1], r"shape \(10, 24\) are needed, found \(9, 24\)"),
        (lambda vectors: [row[:-1] for row in vectors], r"shape \(10, 24\) are needed, found \(10, 23\)"),
        (lambda vectors: vectors[0], r"found \(24,\)"),
        (lambda vectors: None, "found None of type object"),
        (lambda vectors: [*vectors[:-1], vectors[-1][:-1]], "found list, which cannot be converted to an array"),
        (lambda vectors: ["text"] * 10, "found list of type <U4"),
        (lambda vectors: [{"embedding": row} for row in vectors], "found list of type object"),
        (lambda vectors: [*vectors[:3], [0.0] * 24, *vectors[4:]], "zeros, NaN or infinities for the text 'text 13'"),
        (lambda vectors: [*vectors[:3], [float("nan")] * 24, *vectors[4:]], "zeros, NaN or infinities for the text"),
        (lambda vectors: [*vectors[:3], [1e39] * 24, *vectors[4:]], "zeros, NaN or infinities for the text"),
    ],
)
def test_bad_answers_are_refused_and_what_came_before_is_kept(service, context, answer, complaint):
    def sometimes_bad(texts):
        vectors = service.embed_documents(texts)
        return answer(vectors) if len(service.calls) == 3 else vectors

    corpus = [f"text {i}" for i in range(24)]
    embedder = WhitenedEmbedder("paid-1", sometimes_bad, batch_size=10)
    with pytest.raises(EmbeddingServiceError, match=complaint + r"[\s\S]*\. 10 of 24 texts were embedded before"):
        embedder.encode_documents(corpus, context)
    embedder.encode_documents(corpus, context)
    assert service.calls == [1, 10, 10, 10, 4]


def test_a_bad_probe_is_refused(context):
    with pytest.raises(EmbeddingServiceError, match=r"shape \(1, W\) are needed, found \(1,\)"):
        WhitenedEmbedder("paid-1", lambda texts: [1.0]).check_context(context)


def test_texts_embedded_again_are_paid_for_again_only_where_nothing_is_kept(context):
    for mebibytes, times in ((1, 1), (0, 2)):
        service = PaidService()
        embedder = over(service, keep_mib=mebibytes)
        for _ in range(2):
            embedder.encode_documents(CORPUS, context)
        assert len(service.bill) == times * len(CORPUS)


def test_the_oldest_vectors_go_when_room_runs_out():
    kept = VectorCache(1)
    vectors = np.arange(300 * 1024, dtype=np.float32).reshape(300, 1024)  # 4 KiB each: 256 have room
    kept.vectors([str(i) for i in range(300)], 1024, lambda new: [vectors])
    kept.vectors(["300"], 1024, lambda new: [vectors[1:2]])
    assert [str(i) in kept for i in (0, 43, 44, 45, 299, 300)] == [False] * 3 + [True] * 3
    vectors[:] = 0
    assert kept.vectors(["298"], 1024, lambda new: pytest.fail("kept")).any(), "a copy, not a view of the caller's"
