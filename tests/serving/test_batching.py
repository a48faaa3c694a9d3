"""The queue, over an embedder that shows what it was given."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from cde_retrievers.errors import QueueClosedError, QueueFullError
from cde_retrievers.serving.batching import BatchingQueue

ONE, OTHER = (SimpleNamespace(fingerprint=name, checksum=name) for name in ("one", "other"))


class Gate:
    """An embedder that waits until it is let go; the vector of a text is its number."""

    def __init__(self):
        self.batches = []
        self.began, self.open = threading.Event(), threading.Event()

    def __call__(self, texts, context, role):
        self.batches.append((texts, context.fingerprint, role))
        self.began.set()
        assert self.open.wait(20)
        if "bad" in texts:
            raise ValueError("a bad text")
        return np.array([[float(text)] for text in texts], dtype=np.float32)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def queue(gate):
    queue = BatchingQueue(gate, batch_texts=4, max_waiting_texts=20)
    yield queue
    gate.open.set()
    queue.close()


@pytest.fixture
def held(queue, gate):
    """The worker is busy with one text, so that what follows waits."""
    first = queue.submit(["0"], ONE, "query")
    assert gate.began.wait(20)
    return first


def numbers(future):
    return future.result(20)[:, 0].tolist()


def test_requests_of_one_kind_are_embedded_together(queue, gate, held):
    futures = [
        queue.submit(["1", "2"], ONE, "query"),
        queue.submit(["3"], OTHER, "query"),
        queue.submit(["4"], ONE, "document"),
        queue.submit(["5"], ONE, "query"),
    ]
    gate.open.set()
    assert [numbers(future) for future in (held, *futures)] == [[0], [1, 2], [3], [4], [5]]
    assert gate.batches[1:] == [
        (["1", "2", "5"], "one", "query"),
        (["3"], "other", "query"),
        (["4"], "one", "document"),
    ]


def test_a_long_request_does_not_hold_up_short_ones(queue, gate, held):
    long = queue.submit([str(number) for number in range(10)], ONE, "document")
    short = queue.submit(["77"], ONE, "query")
    gate.open.set()
    assert numbers(long) == list(range(10))
    assert numbers(short) == [77]
    assert [len(texts) for texts, _, _ in gate.batches[1:]] == [4, 1, 4, 2]


def test_the_queue_is_bounded_and_empties(queue, gate, held):
    waiting = queue.submit(["1"] * 19, ONE, "query")
    with pytest.raises(QueueFullError, match="20 texts are waiting"):
        queue.submit(["2"], ONE, "query")
    gate.open.set()
    waiting.result(20)
    held.result(20)
    assert queue.waiting_texts == 0
    assert numbers(queue.submit(["2"], ONE, "query")) == [2]


def test_a_fault_fails_the_request_that_has_it_alone(queue, gate, held):
    good, bad, last = (queue.submit([text], ONE, "query") for text in ("1", "bad", "3"))
    gate.open.set()
    assert (numbers(good), numbers(last)) == ([1], [3])
    with pytest.raises(ValueError, match="a bad text"):
        bad.result(20)
    assert queue.is_running
    assert queue.waiting_texts == 0


def test_a_cancelled_request_is_not_embedded_and_frees_its_room(queue, gate, held):
    gone = queue.submit(["1"] * 19, ONE, "query")
    assert gone.cancel()
    assert queue.waiting_texts == 1
    after = queue.submit(["2"] * 19, ONE, "query")
    gate.open.set()
    assert numbers(after) == [2] * 19
    assert all("1" not in texts for texts, _, _ in gate.batches)


def test_a_request_cancelled_between_its_batches_ends_there(queue, gate):
    long = queue.submit(["1"] * 12, ONE, "query")
    assert gate.began.wait(20)
    assert long.cancel()
    gate.open.set()
    assert numbers(queue.submit(["2"], ONE, "query")) == [2]
    assert sum(texts.count("1") for texts, _, _ in gate.batches) == 4
    assert queue.is_running


def test_closing_answers_those_who_wait(gate):
    queue = BatchingQueue(gate, batch_texts=1, max_waiting_texts=9)
    futures = [queue.submit([text], ONE, "query") for text in "123"]
    closing = threading.Thread(target=queue.close)
    closing.start()
    while not queue._closed:
        time.sleep(0.001)
    gate.open.set()
    closing.join(20)
    assert [type(future.exception(20)) for future in futures[1:]] == [QueueClosedError, QueueClosedError]
    with pytest.raises(QueueClosedError):
        queue.submit(["4"], ONE, "query")
    assert not queue.is_running
