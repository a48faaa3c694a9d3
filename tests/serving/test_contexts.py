"""Contexts that come, go and change while they are served."""

import gc
import logging
import os
import shutil
import threading
import weakref

import numpy as np
import pytest
from exchanged import killed_between_renames
from running_server import write_contexts
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError
from cde_retrievers.serving.contexts import ContextDirectory


@pytest.fixture
def contexts(folder, encoder):
    return ContextDirectory(folder, encoder.check_context)


def test_names(contexts, folder):
    cats = CorpusContext.load(folder / "cats")
    assert contexts.find("cats") == contexts.find(cats.fingerprint) == cats
    assert contexts.find("cats") is contexts.find("cats"), "it is read once"
    assert contexts.find("dogs") is contexts.find("f" * 64) is contexts.find("") is contexts.find("\0") is None
    assert contexts.find("../contexts/cats") is None
    assert list(contexts.all()) == ["birds", "cats"]


def test_contexts_come_go_and_change(contexts, folder, encoder):
    first = contexts.find("cats")
    second = encoder.fit_context(CORPUS)
    second.save(folder / "cats")
    assert contexts.find("cats") == second
    assert contexts.find(first.fingerprint) is None
    second.save(folder / "all")
    assert contexts.find("all") == second
    shutil.rmtree(folder / "all")
    shutil.rmtree(folder / "cats")
    assert contexts.find("all") is contexts.find("cats") is contexts.find(second.fingerprint) is None
    assert list(contexts.all()) == ["birds"]
    assert first != second, "what was handed out stays as it is"


def test_other_things_in_the_directory_are_left_alone(contexts, folder):
    (folder / "notes.txt").write_text("x")
    (folder / "empty").mkdir()
    shutil.copytree(folder / "cats", folder / ".cde-scratch")
    assert list(contexts.all()) == ["birds", "cats"]


def test_a_context_damaged_while_served_is_an_error_and_others_are_not(contexts, folder, encoder, caplog):
    vectors = folder / "cats" / "vectors.safetensors"
    vectors.write_bytes(vectors.read_bytes()[:-4])
    (folder / "cats" / "context.json").touch()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(ContextFileError, match="truncated"):
                contexts.find("cats")
    assert caplog.text.count("cannot be served") == 1
    assert contexts.find("birds") is not None
    assert list(contexts.all()) == ["birds"]
    encoder.fit_context(CORPUS).save(folder / "cats")
    assert contexts.find("cats") == encoder.fit_context(CORPUS)


def test_a_context_that_cannot_be_served_is_read_again(contexts, folder, encoder, caplog, monkeypatch):
    """As when it is copied file by file, or repaired in place."""
    late = folder / "late"
    late.mkdir()
    shutil.copy2(folder / "cats" / "context.json", late)
    with pytest.raises(ContextFileError, match="incomplete"):
        contexts.find("late")
    shutil.copy2(folder / "cats" / "vectors.safetensors", late)
    assert contexts.find("late") == contexts.find("cats")
    failing = iter([ContextFileError("too many open files")] * 2)
    load = CorpusContext.load

    def failing_twice(path):
        if (error := next(failing, None)) is not None:
            raise error
        return load(path)

    monkeypatch.setattr("cde_retrievers.serving.contexts._PROBLEM_SECONDS", 0.0)
    monkeypatch.setattr(CorpusContext, "load", failing_twice)
    (folder / "birds" / "context.json").touch()
    for _ in range(2):
        with pytest.raises(ContextFileError, match="too many open files"):
            contexts.find("birds")
    assert contexts.find("birds") is not None
    assert caplog.text.count("too many open files") == 1


def test_an_error_keeps_nothing_of_the_requests_that_met_it(contexts, folder):
    class Body:
        """Of a request."""

    def ask(body):
        with pytest.raises(ContextFileError):
            contexts.find("cats")
        return weakref.ref(body)

    (folder / "cats" / "vectors.safetensors").write_bytes(b"")
    left = [ask(Body()) for _ in range(3)]
    gc.collect()
    assert [reference() for reference in left] == [None] * 3


def test_a_file_that_cannot_be_read_is_the_fault_of_one_context(contexts, folder, encoder, monkeypatch):
    def refused(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    (folder / "cats" / "context.json").touch()
    monkeypatch.setattr("cde_retrievers.context.persistence.sha256_of_file", refused)
    with pytest.raises(ContextFileError, match=r"vectors\.safetensors cannot be read \(Permission denied\)"):
        contexts.find("cats")
    assert list(contexts.all()) == ["birds"]
    with pytest.raises(ContextFileError, match="Permission denied"):
        ContextDirectory(folder, encoder.check_context)


def test_a_directory_that_cannot_be_listed_is_told_once(contexts, folder, caplog):
    folder.rename(folder.with_name("away"))
    for _ in range(2):
        with pytest.raises(ContextFileError, match="cannot be listed"):
            contexts.find("cats")
    assert caplog.text.count("no context can be served") == 1
    folder.with_name("away").rename(folder)
    assert contexts.find("cats") is not None


def test_a_damaged_directory_does_not_hide_the_context_of_its_name(contexts, folder):
    fingerprint = contexts.find("cats").fingerprint
    shutil.copytree(folder / "birds", folder / fingerprint)
    assert contexts.find(fingerprint) == contexts.find("cats")


@pytest.fixture
def foreign(other_folder) -> CorpusContext:
    other = ContextualEncoder.from_biencoder(other_folder, device="cpu", dtype="float32", context_size=16)
    return other.fit_context(CORPUS)


def test_a_context_of_another_model(contexts, folder, encoder, foreign):
    foreign.save(folder / "foreign")
    with pytest.raises(ContextMismatchError, match="fitted by model"):
        contexts.find("foreign")
    with pytest.raises(ContextMismatchError, match="fitted by model"):
        ContextDirectory(folder, encoder.check_context)


@pytest.mark.parametrize("alias", ["cats:query", "f" * 64, "cats\nINFO:root:forged", os.fsdecode(b"caf\xe9")])
def test_impossible_aliases(contexts, folder, encoder, alias, caplog):
    shutil.copytree(folder / "cats", folder / alias)
    with pytest.raises(ConfigurationError, match="rename it"):
        ContextDirectory(folder, encoder.check_context)
    assert list(contexts.all()) == ["birds", "cats"]
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)


def test_a_fingerprint_is_a_possible_alias(folder, encoder):
    fingerprint = CorpusContext.load(folder / "cats").fingerprint
    (folder / "cats").rename(folder / fingerprint)
    assert list(ContextDirectory(folder, encoder.check_context).all()) == sorted(["birds", fingerprint])


def test_directories_that_cannot_be_served(folder, encoder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for path, kind, says in (
        (tmp_path / "empty", ConfigurationError, "holds no context"),
        (tmp_path / "missing", ContextFileError, "cannot be listed"),
        (tmp_path / "file", ContextFileError, "cannot be listed"),
        (folder / "cats", ConfigurationError, "is itself a context"),
    ):
        with pytest.raises(kind, match=says):
            ContextDirectory(path, encoder.check_context)


def test_every_reading_of_a_context_that_is_replaced_is_whole(contexts, folder, encoder):
    versions = [encoder.fit_context(CORPUS, seed=seed) for seed in range(3)]
    fingerprints = {version.fingerprint for version in versions} | {contexts.find("cats").fingerprint}
    stop = threading.Event()
    found = []

    def read():
        while not stop.is_set():
            found.append(contexts.find("cats"))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for version in versions * 5:
        version.save(folder / "cats")
    stop.set()
    for reader in readers:
        reader.join()
    assert {context.fingerprint for context in found} <= fingerprints
    assert contexts.find("cats") == versions[-1]


def vectors_of(response):
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]])


def test_a_server_answers_under_the_new_context_and_says_so(served, encoder):
    first = served.context("cats")
    replaced = encoder.fit_context(CORPUS)
    assert served.post(model="cats:query", input=QUERIES).headers["x-cde-context"] == first.fingerprint
    replaced.save(served.folder / "cats")
    answer = served.post(model="cats:query", input=QUERIES)
    np.testing.assert_allclose(vectors_of(answer), encoder.encode_queries(QUERIES, replaced), atol=1e-5)
    assert answer.headers["x-cde-context"] == replaced.fingerprint
    pinned = served.post(model=f"{first.fingerprint}:query", input=QUERIES)
    assert pinned.status_code == 404, "who gave the fingerprint gets no vectors of another context"


def test_a_server_of_a_removed_a_damaged_and_no_context(served):
    shutil.rmtree(served.folder / "cats")
    assert served.post(model="cats:query", input="x").status_code == 404
    (served.folder / "birds" / "context.json").write_text("{}")
    refused = served.post(model="birds:query", input="x")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "context_unavailable"
    assert str(served.folder) not in refused.text
    shutil.rmtree(served.folder)
    assert served.post(model="birds:query", input="x").status_code == 503
    assert served.get("/v1/models").status_code == 503
    write_contexts(served.folder, served.encoder)
    assert served.post(model="cats:query", input="x").status_code == 200


def test_a_request_keeps_the_context_it_came_for(serve, encoder):
    """Replaced while its texts wait: the answer is of one context, and names it."""

    class Replacing:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def encode_documents(self, texts, context, show_progress=None):
            encoder.fit_context(CORPUS).save(served.folder / "cats")
            return encoder.encode_documents(texts, context, show_progress)

    served = serve(Replacing(), batch_texts=10)
    first = served.context("cats")
    answer = served.post(model="cats:document", input=CORPUS[:30])
    np.testing.assert_allclose(vectors_of(answer), encoder.encode_documents(CORPUS[:30], first), atol=1e-5)
    assert answer.headers["x-cde-context"] == first.fingerprint


def test_a_context_replaced_while_it_is_read_is_read_again(contexts, folder, encoder, monkeypatch):
    replacement, load = encoder.fit_context(CORPUS), CorpusContext.load

    def interrupted(path):
        monkeypatch.setattr(CorpusContext, "load", load)
        replacement.save(path)
        raise ContextFileError("of the two files one is new")

    (folder / "cats" / "context.json").touch()
    monkeypatch.setattr(CorpusContext, "load", interrupted)
    assert contexts.find("cats") == replacement


def test_a_context_whose_replacement_was_interrupted_is_served(contexts, folder):
    cats = CorpusContext.load(folder / "cats")
    killed_between_renames(folder / "cats")
    assert not (folder / "cats").exists()
    assert contexts.find("cats") == cats
    assert list(contexts.all()) == ["birds", "cats"]
