"""Documents embedded in several processes, against one."""

import os
import signal
import threading
import time
from multiprocessing import active_children

import numpy as np
import pytest
from tiny import CORPUS

from cde_retrievers.encoder import workers
from cde_retrievers.errors import CDEError, ConfigurationError, ContextMismatchError, DeviceError, WorkerError

TEXTS = [f"{text} {number}" for number in range(6) for text in CORPUS]


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("cached", max_length=16)


@pytest.fixture
def context(encoder):
    return encoder.fit_context(CORPUS)


@pytest.mark.parametrize("count", [1, 3, 100, 20_000])
@pytest.mark.parametrize("processes", [1, 2, 7])
def test_parts_cover_the_texts_in_order_and_are_bounded(count, processes):
    parts = list(workers._parts(count, processes))
    assert [text for part in parts for text in part] == list(range(count))
    assert max(map(len, parts)) <= workers._MOST_TEXTS
    assert len(parts) >= min(count, processes)


@pytest.mark.parametrize("count", [0, -1, [], True, 1.5, "cpu"])
def test_a_number_or_a_list_of_devices_is_needed(count, encoder, context):
    with pytest.raises(ConfigurationError, match="workers"):
        encoder.encode_documents(TEXTS, context, workers=count)


def test_an_unknown_device_is_refused_before_anything_is_started(encoder, context):
    with pytest.raises(DeviceError, match="abacus"):
        encoder.encode_documents(TEXTS, context, workers=["cpu", "abacus"])


def test_a_context_of_another_model_is_refused_before_anything_is_started(encoder, make_encoder, monkeypatch):
    monkeypatch.setattr(workers, "_started", None)
    foreign = make_encoder("whitening").fit_context(CORPUS)
    with pytest.raises(ContextMismatchError):
        encoder.encode_documents(TEXTS, foreign, workers=2)


def test_no_texts_start_no_worker(encoder, context, monkeypatch):
    monkeypatch.setattr(workers, "_Worker", None)
    assert encoder.encode_documents([], context, workers=2).shape == (0, encoder.width)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, ["cpu"]])
def test_several_processes_give_the_vectors_of_one(count, encoder, context, caplog):
    texts = [*TEXTS, "a text that is longer than the sixteen tokens which the model reads " * 3]
    expected = encoder.encode_documents(texts, context)
    told = [record.getMessage() for record in caplog.records if "were cut" in record.getMessage()]
    caplog.clear()
    found = encoder.encode_documents(iter(texts), context, workers=count)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [record.getMessage() for record in caplog.records if "were cut" in record.getMessage()] == told
    assert len(told) == 1
    assert active_children() == []


@pytest.mark.slow
def test_a_killed_worker_is_reported_with_the_texts_it_had(encoder, context, monkeypatch):
    give = workers._Worker.give

    def killed_at_the_third_text(worker, part, texts):
        give(worker, part, texts)
        if part is not None and 2 in part:
            os.kill(worker._process.pid, signal.SIGKILL)

    monkeypatch.setattr(workers._Worker, "give", killed_at_the_third_text)
    monkeypatch.setattr(workers, "_MOST_TEXTS", 2)
    with pytest.raises(WorkerError, match=r"SIGKILL while it embedded texts 2 to 3, .*" + TEXTS[2][:10]):
        encoder.encode_documents(TEXTS, context, workers=2)
    assert active_children() == []


@pytest.mark.slow
def test_what_a_worker_raises_reaches_the_caller(encoder, context, monkeypatch):
    def save_nothing(path):
        path.mkdir()

    monkeypatch.setattr(encoder, "save", save_nothing)
    with pytest.raises(CDEError, match="encoder"):
        encoder.encode_documents(TEXTS, context, workers=["cpu"])
    assert active_children() == []


@pytest.mark.slow
def test_an_interrupt_ends_every_worker(encoder, context):
    def interrupt():
        while len(active_children()) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            encoder.encode_documents(TEXTS * 100, context, workers=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert active_children() == []
