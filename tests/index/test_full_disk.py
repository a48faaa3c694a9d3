"""A full disk loses nothing, is said as a WriteError, and all goes on once there is room."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys

import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS

from cde_retrievers.errors import WriteError
from cde_retrievers.index import ContextualIndex, Document

TEXTS = [f"document number {i} of {i % 7} kinds" for i in range(3_000)]
KINDS = ["flat", "ivf", "hnsw"]


@pytest.fixture(autouse=True)
def _small_indexes_count_as_large(monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 50)


def full_from(patch, number):
    """The `number`-th time that something is brought onto the device, and ever after, the disk is full."""
    left, sync = [number], os.fsync

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    patch.setattr(os, "fsync", full)


def changes(index, context):
    return {
        "add": lambda: index.add([Document(text, id=text) for text in TEXTS[100:160]]),
        "upsert": lambda: index.upsert([Document(f"new {i}", id=f"doc-{i}") for i in range(70)]),
        "delete": lambda: index.delete([f"doc-{i}" for i in range(70)]),
        "optimize": index.optimize,
        "refit": lambda: index.refit(context=context, batch_size=40),
    }


def is_refused(work):
    """Whether the disk is too full for it."""
    try:
        work()
    except WriteError as error:
        return "no space left on the device" in str(error)
    return False


def state(index):
    return dict(zip(index.ids(), index.texts(), strict=True)), index.context.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("change", ["add", "upsert", "delete", "optimize", "refit"])
def test_a_disk_that_is_full_from_any_moment_on_loses_nothing(tmp_path, monkeypatch, kind, change):
    embedder = BagOfWords()
    contexts = [embedder.fit_context(TEXTS[:100], seed=seed) for seed in range(2)]
    original = ContextualIndex.build(TEXTS[:60], embedder, tmp_path / "original", context=contexts[0], kind=kind)
    original.add(TEXTS[60:100])
    shutil.copytree(original.path, tmp_path / "changed")
    changed = ContextualIndex.open(tmp_path / "changed", embedder)
    changes(changed, contexts[1])[change]()
    before, after, path, refused = state(original), state(changed), tmp_path / "index", 0
    while True:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(original.path, path)
        index = ContextualIndex.open(path, embedder)
        with monkeypatch.context() as patch:
            full_from(patch, refused)
            if not is_refused(changes(index, contexts[1])[change]):
                break
        refused += 1
        assert state(index) in (before, after)
        there = state(ContextualIndex.open(path, embedder))
        assert there in (before, after)
        if there == before:
            changes(index, contexts[1])[change]()
        index.refresh()
        assert state(index) == state(ContextualIndex.open(path, embedder)) == after
    assert state(index) == after
    assert refused > 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_build_on_a_disk_that_is_full_from_any_moment_on_goes_on(tmp_path, monkeypatch, kind):
    refused, embedder, path = 0, BagOfWords(), tmp_path / "index"
    context = embedder.fit_context(TEXTS[:100])

    def build():
        ContextualIndex.build(TEXTS[:100], embedder, path, context=context, kind=kind, batch_size=40)

    while True:
        with monkeypatch.context() as patch:
            full_from(patch, refused)
            if not is_refused(build):
                break
        refused += 1
        if not (path / "index.json").exists():
            build()
        assert list(ContextualIndex.open(path, embedder).texts()) == TEXTS[:100]
        shutil.rmtree(path)
    assert refused > 10


@pytest.mark.parametrize("kind", KINDS)
def test_many_documents_can_be_deleted_where_there_is_no_room_to_compact(tmp_path, monkeypatch, caplog, kind):
    from cde_retrievers.index.segment_writer import SegmentWriter

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    index = ContextualIndex.build(TEXTS[:200], BagOfWords(), tmp_path / "index", kind=kind)
    gone = [f"doc-{i}" for i in range(150)]
    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "write_lines", full)
        assert index.delete(gone) == gone
        assert "there is no space" in caplog.text
        assert ContextualIndex.open(index.path, BagOfWords()).ids() == [f"doc-{i}" for i in range(150, 200)]
        assert {hit.id for hit in index.search(TEXTS[0], k=100)} == set(index.ids())
        with pytest.raises(WriteError):
            index.optimize()
    assert len(list((index.path / "segments").iterdir())) == 1
    index.delete(["doc-150"])  # there is room again, and it is used
    assert not list(index.path.glob("segments/*/deleted-*"))
    assert len(ContextualIndex.open(index.path, BagOfWords())) == 49


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_a_candidate_file_that_does_not_fit_is_not_taken_for_whole(tmp_path, monkeypatch, kind):
    """Its last bytes are written when it is closed, which faiss itself would overlook."""
    import cde_retrievers.index.accelerator as module

    class Full:
        def __init__(self, path):
            self.file = path.open("xb")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def write(self, content):
            return self.file.write(content)

    index = ContextualIndex.build(TEXTS[:200], BagOfWords(), tmp_path / "index", kind=kind)
    before = list(index.path.glob("accelerator-*"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "new_file", Full)
        with pytest.raises(WriteError, match=r"no space left"):
            index.optimize()
        index.add([Document(text, id=text) for text in TEXTS[200:400]])  # goes without
        assert list(index.path.glob("accelerator-*")) == before
    index.optimize()
    assert ContextualIndex.open(index.path, BagOfWords()).damaged == ()


def test_the_old_generation_goes_only_after_the_new_one_is_on_the_device(tmp_path, monkeypatch):
    index = ContextualIndex.build(TEXTS[:100], BagOfWords(), tmp_path / "index", kind="hnsw")
    events, unlink, sync, replace = [], os.unlink, os.fsync, os.replace

    def removed(path, **options):
        events.append(("removed", str(path).rsplit("/", 2)[-1]))
        unlink(path, **options)

    def synced(descriptor):
        where = os.readlink(f"/proc/self/fd/{descriptor}")
        events.append(("synced", os.path.basename(where)))
        sync(descriptor)

    def served(source, target, **options):
        if os.path.basename(target) == "index.json":
            events.append(("served", ""))
        replace(source, target, **options)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("what is synced is learned from /proc")
    monkeypatch.setattr(os, "unlink", removed)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", served)
    names = ("vectors", "columns", "postings")
    old = {*(f"{name}.safetensors" for name in names), "documents.jsonl", "lines.json", "context.json"}
    for change in (index.optimize, lambda: index.refit(seed=1), lambda: index.delete(index.ids()[:80])):
        index.add(["a purple whale"])
        events.clear()
        change()
        at = events.index(("served", ""))
        assert old.isdisjoint(name for what, name in events[:at] if what == "removed")
        assert ("synced", "index") in events[at : events.index(next(e for e in events[at:] if e[1] in old))]
        assert {("synced", f"{name}.safetensors") for name in names} <= set(events[:at])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine allows no mounting")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_really_is_full(small_disk, kind):
    embedder = BagOfWords(64)
    context = embedder.fit_context(CORPUS)
    filler = small_disk / "filler"
    path = small_disk / "index"
    size, refused = 1_900, 0
    while True:  # ever a little more room for the build
        filler.write_bytes(bytes(size * 1024))
        try:
            index = ContextualIndex.build(TEXTS[:1_000], embedder, path, context=context, kind=kind, batch_size=200)
            break
        except WriteError:
            refused += 1
            size -= 50
    assert refused > 3
    assert list(index.texts()) == TEXTS[:1_000]
    with contextlib.suppress(OSError), filler.open("ab") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    before = index.ids()
    for change in (lambda: index.add(TEXTS[1_000:2_000]), lambda: index.refit(seed=3), index.optimize):
        with pytest.raises(WriteError):
            change()
        assert ContextualIndex.open(path, embedder).ids() == index.ids() == before
    filler.write_bytes(bytes(filler.stat().st_size - 40_000))  # enough for a list of deletions
    gone = before[:800]
    assert index.delete(gone) == gone
    assert ContextualIndex.open(path, embedder).ids() == before[800:]
    filler.unlink()
    index.add(TEXTS[1_000:1_100])
    index.refit(seed=3)
    assert len(ContextualIndex.open(path, embedder)) == 300
