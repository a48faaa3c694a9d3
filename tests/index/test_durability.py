"""What a kill, a damaged file, a second writer or a full disk can do to an index: nothing that is not said."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import killable
import numpy as np
import pytest
from bag_of_words import BagOfWords
from exchanged import killed_between_renames
from killable import DOCUMENTS
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import (
    ConfigurationError,
    ContextFileError,
    IndexFileError,
    IndexLockedError,
    PathInUseError,
    WriteError,
)
from cde_retrievers.index import ContextualIndex, Document, integrity, store
from cde_retrievers.index.inspection import context_of_index, holds_index
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.segment_writer import SegmentWriter
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.vector_format import VectorFormat
from cde_retrievers.storage.disk_errors import disk_errors_explained

KILLS = 20


@pytest.fixture
def index(tmp_path):
    documents = [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)]
    index = ContextualIndex.build(documents[:40], BagOfWords(), tmp_path / "index")
    index.add(documents[40:])
    return index


def run_until_finished(work, path, seed):
    """Kill processes that do the work at random moments, until one of them finishes."""
    script = Path(killable.__file__)
    command = [sys.executable, str(script), work, str(path), str(KILLS), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_800, check=False)
    assert int(done.stdout) >= KILLS / 4, done.stderr


def assert_whole(path, documents):
    index = ContextualIndex.open(path, BagOfWords())
    assert [d.text for d in index.documents()] == documents
    assert index.ids() == [f"doc-{i}" for i in range(len(documents))]
    form = VectorFormat(index.embedder.width, index.dimensions, index.dtype)
    expected = form.decoded(form.encoded(index.embedder.encode_documents(documents, index.context)))
    np.testing.assert_allclose(index.vectors(index.ids()), expected, atol=1e-6)
    assert {entry.name for entry in path.iterdir()} <= {
        "identity.json",
        "index.json",
        "contexts",
        "segments",
        "writer.lock",
    }
    listed = {entry["name"] for entry in json.loads((path / "index.json").read_text())["segments"]}
    assert {entry.name for entry in (path / "segments").iterdir()} == listed
    assert len(list((path / "contexts").iterdir())) == 1


@pytest.mark.slow
def test_a_build_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path):
    path = tmp_path / "index"
    run_until_finished("build", path, seed=0)
    assert_whole(path, DOCUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_refit_that_is_killed_again_and_again_keeps_serving_and_finishes(tmp_path, dtype):
    path = tmp_path / "index"
    built = ContextualIndex.build(DOCUMENTS, BagOfWords(), path, dtype=dtype)
    before = built.search(DOCUMENTS[3], k=5)
    reader = ContextualIndex.open(path, BagOfWords(), read_only=True)
    run_until_finished("refit", path, seed=1)
    assert reader.search(DOCUMENTS[3], k=5) == before
    assert reader.refresh()
    assert (reader.context != built.context, reader.dtype) == (True, dtype)
    assert_whole(path, DOCUMENTS)


class Interrupted(BagOfWords):
    """Is interrupted after twenty documents."""

    def encode_documents(self, texts, context, show_progress=None):
        if self.embedded >= 20:
            raise KeyboardInterrupt
        return super().encode_documents(texts, context)


def test_an_interrupted_build_is_no_index_yet_and_says_how_to_go_on(tmp_path):
    path = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(CORPUS, Interrupted(), path, batch_size=10)
    with pytest.raises(IndexFileError, match=r"interrupted with 20 documents done; call build\(\) again"):
        ContextualIndex.open(path)
    embedder = BagOfWords()
    with pytest.raises(ConfigurationError, match=r"interrupted after 20 documents, with other settings"):
        ContextualIndex.build(CORPUS, embedder, path, seed=1)
    with pytest.raises(ConfigurationError, match=r"they have 9 of the 20 texts that are done.*remove the directory"):
        ContextualIndex.build(["another", *CORPUS[:9]], embedder, path)
    with pytest.raises(PathInUseError, match=r"an interrupted build"):
        ContextualIndex.create(embedder, embedder.fit_context(CORPUS), path)
    before = embedder.embedded
    index = ContextualIndex.build(CORPUS, embedder, path)
    assert embedder.embedded - before == len(CORPUS) - 20
    assert [d.text for d in index.documents()] == CORPUS


@pytest.mark.parametrize("changed", [["another", *CORPUS[1:]], CORPUS[:12], [*CORPUS[:5], "another", *CORPUS[5:]]])
def test_an_interrupted_build_of_documents_that_changed_embeds_only_what_is_new(tmp_path, changed, caplog):
    path = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(CORPUS, Interrupted(), path, batch_size=10)
    embedder = BagOfWords()
    index = ContextualIndex.build(changed, embedder, path, batch_size=10)
    done = set(CORPUS[:20])
    assert embedder.embedded == sum(text not in done for text in changed)
    assert "a refit renews it" in caplog.text
    assert index.context == embedder.fit_context(CORPUS)
    assert_whole(path, changed)


def test_an_interrupted_build_of_an_iterator_that_changed_is_refused_and_kept(tmp_path):
    path, context = tmp_path / "index", BagOfWords().fit_context(CORPUS)
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(iter(CORPUS), Interrupted(), path, context=context, batch_size=10)
    changed, embedder = ["another", *CORPUS[1:]], BagOfWords()
    with pytest.raises(ConfigurationError, match=r"not those that the interrupted build.*or a list"):
        ContextualIndex.build(iter(changed), embedder, path, context=context)
    assert embedder.embedded == 0
    ContextualIndex.build(changed, embedder, path, context=context)
    assert embedder.embedded == 1 + len(CORPUS) - 20


class KilledError(BaseException):
    """Nothing after it is done."""


def kill_before_serving(patch):
    replace = Path.replace

    def killed(path, target):
        if path.name == "next.json":
            raise KilledError
        return replace(path, target)

    patch.setattr(Path, "replace", killed)


def test_a_build_killed_just_before_it_is_served_is_served_by_the_next_call(tmp_path, monkeypatch):
    embedder = BagOfWords()
    with monkeypatch.context() as patch:
        kill_before_serving(patch)
        with pytest.raises(KilledError):
            ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    before = embedder.embedded
    index = ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    assert embedder.embedded == before
    assert_whole(index.path, CORPUS)


def test_a_refit_killed_just_before_it_is_served_is_served_by_the_next_call(index, monkeypatch):
    with monkeypatch.context() as patch:
        kill_before_serving(patch)
        with pytest.raises(KilledError):
            index.refit(seed=1)
    assert index.refit(seed=1).embedded == 0
    assert (len(index), index.context.seed, index.generation) == (len(CORPUS), 1, 3)


def test_a_build_killed_after_its_accelerator_was_written_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 10)
    with monkeypatch.context() as patch:
        kill_before_serving(patch)
        with pytest.raises(KilledError):
            ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "index", kind="hnsw")
    assert list((tmp_path / "index").glob("accelerator-*"))
    index = ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "index", kind="hnsw")
    assert len(index) == len(CORPUS)
    assert len(list((tmp_path / "index").glob("accelerator-*"))) == 1


@pytest.mark.parametrize("moment", [(IndexStore, "_checked"), (store, "read_context")])
def test_a_reader_may_open_an_index_while_a_refit_ends(index, monkeypatch, moment):
    before = getattr(*moment)

    def refitted_meanwhile(*arguments):
        monkeypatch.setattr(*moment, before)
        ContextualIndex.open(index.path, BagOfWords()).refit(seed=1)
        return before(*arguments)

    monkeypatch.setattr(*moment, refitted_meanwhile)
    assert ContextualIndex.open(index.path, BagOfWords()).context.seed == 1


def test_a_damaged_generation_is_not_opened_because_another_took_its_place(index, monkeypatch):
    (vectors, _) = sorted(index.path.glob("segments/*/vectors.safetensors"))
    content = vectors.read_bytes()
    vectors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def added_meanwhile(*arguments):
        monkeypatch.undo()
        found = list(integrity.damaged_files(*arguments))
        index.add(["a purple whale"])
        return found

    monkeypatch.setattr(integrity, "damaged_files", added_meanwhile)
    with pytest.raises(IndexFileError, match=r"vectors.safetensors was damaged"):
        ContextualIndex.open(index.path, BagOfWords())


def files_of(index):
    return sorted(p for p in index.path.rglob("*") if p.is_file() and not p.name.startswith("writer"))


def test_every_damaged_file_is_named(index):
    index.delete(["d3"])
    for path in files_of(index):
        content = path.read_bytes()
        middle = len(content) // 2
        for damaged in (content[:middle], content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises((IndexFileError, ContextFileError), match=path.name.replace(".", r"\.")):
                ContextualIndex.open(index.path, BagOfWords())
        path.unlink()
        if path.name != "identity.json":  # the manifest says the same
            with pytest.raises((IndexFileError, ContextFileError), match=path.name.replace(".", r"\.")):
                ContextualIndex.open(index.path, BagOfWords())
        path.write_bytes(content)
    assert len(ContextualIndex.open(index.path, BagOfWords())) == len(CORPUS) - 1


@pytest.mark.parametrize(
    ("name", "searchable", "readable"),
    [
        ("vectors.safetensors", len(CORPUS) - 40, len(CORPUS)),
        ("documents.jsonl", len(CORPUS) - 40, len(CORPUS) - 40),
        ("lines.json", len(CORPUS), len(CORPUS)),
        ("postings.safetensors", len(CORPUS), len(CORPUS)),
        ("columns.safetensors", len(CORPUS), len(CORPUS)),
    ],
)
def test_what_is_undamaged_stays_readable(index, name, searchable, readable):
    first = index.path / "segments" / json.loads((index.path / "index.json").read_text())["segments"][0]["name"]
    (first / name).write_bytes(b"\0" * 100)
    with pytest.raises(IndexFileError, match=rf"{name}.*salvage=True"):
        ContextualIndex.open(index.path, BagOfWords())
    salvaged = ContextualIndex.open(index.path, BagOfWords(), salvage=True)
    assert len(salvaged.damaged) == 1
    assert name in salvaged.damaged[0]
    assert len(list(salvaged.documents())) == readable
    hits = salvaged.search(QUERIES[0], k=100)
    assert len(hits) == searchable
    assert salvaged.search(QUERIES[0], k=100, filter={"row": {"$gte": 0}}) == hits
    assert salvaged.get(["d50"])[0].text == CORPUS[50]
    rebuilt = ContextualIndex.build(
        salvaged.documents(), BagOfWords(), index.path.with_name("new"), context=salvaged.context
    )
    assert len(rebuilt) == readable


def test_what_is_undamaged_is_filtered_by_long_values(index):
    index.upsert([Document("a red cat", id="d0", metadata={"note": "x" * 300})])
    index.add([Document("a green dog", id="new", metadata={"note": "y" * 300})])
    damaged, *_ = (entry["name"] for entry in json.loads((index.path / "index.json").read_text())["segments"][-2:])
    (index.path / "segments" / damaged / "documents.jsonl").write_bytes(b"\0" * 100)
    salvaged = ContextualIndex.open(index.path, BagOfWords(), salvage=True)
    assert salvaged.ids({"note": "y" * 300}) == salvaged.ids({"note": {"$contains": "y"}}) == ["new"]
    assert salvaged.ids({"note": "x" * 300}) == []


def test_deleted_documents_do_not_come_back_when_the_list_of_deletions_is_damaged(index):
    index.delete(["d3"])
    (deletions,) = index.path.glob("segments/*/deleted-*.json")
    deletions.write_text("[]")
    salvaged = ContextualIndex.open(index.path, BagOfWords(), salvage=True)
    assert salvaged.get(["d3"]) == [None]
    assert [d.text for d in salvaged.documents()] == CORPUS[40:]


def test_a_second_writer_is_refused_and_the_first_is_named(index):
    other = ContextualIndex.open(index.path, BagOfWords())
    with writer_lock(index.path, "adding documents"):
        for change in (lambda: other.add(["x"]), lambda: other.delete(["d1"]), other.refit, other.optimize):
            with pytest.raises(IndexLockedError, match=rf"process {os.getpid()} on .*\(adding documents, since 20"):
                change()
        assert len(other.search(QUERIES[0], k=3)) == 3
        assert len(ContextualIndex.open(index.path, BagOfWords(), read_only=True)) == len(CORPUS)
    other.add(["x"])


def _hold(path, ready):
    with writer_lock(Path(path), "adding documents"):
        ready.send_bytes(b"ready")
        ready.poll(None)  # until it is killed, or the test is


def test_a_writer_in_another_process_is_named_and_its_death_frees_the_index(index):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(str(index.path), there))
    process.start()
    there.close()
    assert here.recv_bytes() == b"ready"
    with pytest.raises(IndexLockedError, match=rf"process {process.pid} on"):
        index.add(["x"])
    process.kill()
    process.join()
    assert index.add(["x"]) == ["doc-0"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"no space left on the device; free some.*still there"),
        (errno.EROFS, r"read-only"),
        (errno.EACCES, r"you may not write there"),
    ],
)
def test_a_disk_that_refuses_leaves_the_index_as_it_was(index, monkeypatch, number, message):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    before = files_of(index)
    with monkeypatch.context() as patch:
        patch.setattr("cde_retrievers.index.segment_writer.sync_file", refuse)
        with pytest.raises(WriteError, match=message):
            index.add([Document("a purple whale", id="whale")])
        with pytest.raises(WriteError, match=message):
            index.refit(seed=5)
        with pytest.raises(WriteError, match=r"the same call continues"):
            ContextualIndex.build(CORPUS, BagOfWords(), index.path.with_name("other"))
    assert "whale" not in index
    assert [d.text for d in ContextualIndex.open(index.path, BagOfWords()).documents()] == CORPUS
    index.add([Document("a purple whale", id="whale")])
    index.delete(["whale"])
    index.optimize()
    assert len(files_of(index)) <= len(before) + 4


def test_a_source_that_may_not_be_read_is_not_taken_for_the_index(index, tmp_path):
    def documents():
        yield "a purple whale"
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "docs" / "secret.txt"))

    with pytest.raises(PermissionError, match=r"secret\.txt"):
        index.add(documents())
    for name in ("index/segments", f".cde-{16 * '0'}-12345678/new", "."):
        with (
            pytest.raises(WriteError, match=r"you may not write there"),
            disk_errors_explained(index.path, "nothing was lost"),
        ):
            raise PermissionError(errno.EACCES, "Permission denied", str(index.path.parent / name))


def test_a_merge_that_cannot_read_closes_what_it_was_writing(index, monkeypatch):
    writers, begin = [], SegmentWriter.__init__
    monkeypatch.setattr(SegmentWriter, "__init__", lambda self, *args: (writers.append(self), begin(self, *args))[1])
    monkeypatch.setattr(Segment, "line", lambda self, row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        index.optimize()
    assert [(writer._vectors.closed, writer._documents.closed) for writer in writers] == [(True, True)]


def test_a_build_goes_on_after_the_disk_was_full(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "full")

    embedder = BagOfWords()
    with monkeypatch.context() as patch:
        patch.setattr("cde_retrievers.index.manifest.replace_json", refuse)
        with pytest.raises(WriteError):
            ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    assert len(ContextualIndex.build(CORPUS, embedder, tmp_path / "index")) == len(CORPUS)


def test_two_who_make_an_index_at_one_path_do_not_overwrite_each_other(tmp_path, monkeypatch):
    from cde_retrievers.index import create

    embedder, path = BagOfWords(), tmp_path / "index"
    context = embedder.fit_context(CORPUS)
    locked = create.writer_lock

    def late(directory, task):
        """Another process is done between our look at the path and our hold on the lock."""
        monkeypatch.setattr(create, "writer_lock", locked)
        ContextualIndex.build(CORPUS, embedder, path)
        return locked(directory, task)

    for make in (
        lambda: ContextualIndex.create(embedder, context, path),
        lambda: ContextualIndex.build(["other", "texts"], embedder, path),
    ):
        shutil.rmtree(path, ignore_errors=True)
        monkeypatch.setattr(create, "writer_lock", late)
        with pytest.raises(PathInUseError, match=r"already holds an index"):
            make()
        assert len(ContextualIndex.open(path, embedder)) == len(CORPUS)


@pytest.mark.parametrize(
    "look",
    [
        holds_index,
        context_of_index,
        lambda path: len(ContextualIndex.open(path, BagOfWords())),
        pytest.param(lambda path: _refused(path), id="create"),
    ],
)
def test_an_index_whose_replacement_was_interrupted_is_there_for_whoever_looks(index, look):
    expected, path = look(index.path), index.path
    scratch = killed_between_renames(path)
    assert not path.exists()
    assert look(path) == expected
    assert [document.text for document in ContextualIndex.open(path, BagOfWords()).documents()] == list(CORPUS)
    assert not (scratch / "new").exists()


def _refused(path):
    with pytest.raises(PathInUseError, match="already"):
        ContextualIndex.create(BagOfWords(), BagOfWords().fit_context(CORPUS), path)
