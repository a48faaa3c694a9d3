"""What an index records of its sources: checked, kept through every change, and no hindrance to a search."""

import json

import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, IndexFileError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.copy import copy_files, is_only_index
from cde_retrievers.index.entries import SourcesFile
from cde_retrievers.index.manifest import read_manifest, write_manifest
from cde_retrievers.index.sources_file import SourceRecord
from cde_retrievers.storage.checked_json import sealed

DOCUMENTS = [Document(text, f"d{i}") for i, text in enumerate(CORPUS)]


def record(path="/docs", **values) -> SourceRecord:
    known = {"reading": {"split": "headings"}, "files": {"a.md": "0" * 64}, "ids": ("d0", "d1")}
    return SourceRecord(path=path, **{**known, **values})


@pytest.fixture
def embedder():
    return BagOfWords()


@pytest.fixture
def index(embedder, tmp_path):
    return ContextualIndex.build(DOCUMENTS, embedder, tmp_path / "index", batch_size=10, source=record())


def file_of(index):
    [path] = index.path.glob("sources-*.json")
    return path


def test_the_record_stays_through_every_change(index, embedder, tmp_path):
    for change in (
        lambda: index.upsert([Document("a new text", "new")]),
        lambda: index.delete(["d3"]),
        lambda: index.refit(seed=1),
        lambda: index.optimize(),
    ):
        change()
        assert index.sources == ContextualIndex.open(index.path, embedder).sources == (record(),)
    copy_files(index.path, tmp_path)
    assert ContextualIndex.open(tmp_path, embedder).sources == (record(),)
    assert is_only_index(index.path)
    assert file_of(index)


def test_a_record_takes_the_place_of_those_before_it(index, embedder):
    reader = ContextualIndex.open(index.path, embedder)
    for given, instead_of, paths in (
        (record("/more"), (), ["/docs", "/more"]),
        (record(ids=()), (), ["/docs", "/more"]),
        (record("/moved"), ["/docs"], ["/moved", "/more"]),
        (record("/more"), ["/moved"], ["/more"]),
    ):
        index.record_source(given, instead_of)
        assert [known.path for known in index.sources] == paths
        assert given in index.sources
        assert reader.refresh()
        assert reader.sources == index.sources
    assert index.generation == reader.generation == 1, "no document changed"
    assert not reader.refresh()
    assert file_of(index)


def test_recording_the_same_again_writes_nothing(index):
    before = {path: path.stat().st_mtime_ns for path in index.path.rglob("*") if "lock" not in path.name}
    index.record_source(record())
    assert before == {path: path.stat().st_mtime_ns for path in index.path.rglob("*") if "lock" not in path.name}


def test_a_refit_that_was_interrupted_serves_the_record_of_today(index, embedder, monkeypatch):
    encode, calls = embedder.encode_documents, []

    def interrupted(texts, context, show_progress=None):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(texts, context)

    monkeypatch.setattr(embedder, "encode_documents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.refit(seed=1, batch_size=10)
    index.record_source(record("/more"))
    index.refit(seed=1, batch_size=10)
    assert [known.path for known in index.sources] == ["/docs", "/more"]


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


def edit(path):
    path.write_text(path.read_text().replace("headings", "harbours"))


def remove(path):
    path.unlink()


def link(path):
    path.rename(path.parent.parent / "elsewhere.json")
    path.symlink_to(path.parent.parent / "elsewhere.json")


@pytest.mark.parametrize("damage", [shorten, edit, remove, link])
def test_a_damaged_record_is_named_and_hinders_no_search(index, embedder, caplog, damage):
    expected = [hit.id for hit in index.search("red cat")]
    path = file_of(index)
    damage(path)
    again = ContextualIndex.open(index.path, embedder)
    assert str(path) in caplog.text
    assert "does not know its sources" in caplog.text
    assert len(again.damaged) == 1
    assert [hit.id for hit in again.search("red cat")] == expected
    assert again.sources == ()
    salvaged = ContextualIndex.open(index.path, embedder, salvage=True)
    assert (len(salvaged), len(salvaged.damaged)) == (len(DOCUMENTS), 1)
    with pytest.raises(IndexFileError, match="add INDEX SOURCE"):
        assert salvaged.sources
    again.upsert([Document("a new text", "new")])
    later = ContextualIndex.open(index.path, embedder)
    assert (later.damaged, later.sources) == ((), ())


@pytest.mark.parametrize(
    "content", [b"[]x", b'{"path": "/docs"}', b'[{"path": ""}]', b'[{"path": "/a", "ids": [1]}]', b"["]
)
def test_a_record_of_another_form_is_refused_with_the_way_out(index, embedder, content):
    path = file_of(index)
    path.write_bytes(content)
    manifest = read_manifest(index.path / "index.json")
    write_manifest(index.path / "index.json", manifest.changed(sources=SourcesFile.of(path)))
    with pytest.raises(IndexFileError, match="does not hold the sources"):
        assert ContextualIndex.open(index.path, embedder).sources


def test_an_index_of_an_earlier_release_has_no_record_and_gets_one(index, embedder):
    manifest = read_manifest(index.path / "index.json").model_dump(mode="json")
    del manifest["sources"]
    for segment in manifest["segments"]:
        del segment["by_text"]
    (index.path / "index.json").write_text(json.dumps(sealed(manifest, 2)))
    old = ContextualIndex.open(index.path, embedder)
    assert old.sources == ()
    embedder.embedded = 0
    old.upsert([Document(CORPUS[0], "copy")])
    assert embedder.embedded == 1, "whose vectors these are is not known"
    old.record_source(record("/more"))
    assert ContextualIndex.open(index.path, embedder).sources == (record("/more"),)


def test_what_is_no_record_is_refused(index):
    with pytest.raises(ConfigurationError, match="source"):
        index.record_source("/docs")
