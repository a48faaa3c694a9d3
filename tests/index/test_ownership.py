"""An index removes and follows nothing that it did not make itself."""

import json
import os
import shutil
from pathlib import Path

import pytest
from bag_of_words import BagOfWords
from resealing import read_content, reseal, without_marker
from tiny import CORPUS, QUERIES

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import CDEError, ContextFileError, IndexFileError, PathInUseError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.lock import writer_lock


@pytest.fixture
def index(tmp_path):
    documents = [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)]
    index = ContextualIndex.build(documents[:40], BagOfWords(), tmp_path / "index")
    index.add(documents[40:])
    return index


@pytest.fixture
def theirs(tmp_path):
    """A directory of somebody else's, with a file and a directory in it."""
    folder = tmp_path / "theirs"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "take1.wav").write_text("sound")
    (folder / "notes.txt").write_text("notes")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_works(path):
    """Every change, each of which sweeps."""
    index = ContextualIndex.open(path, BagOfWords())
    index.add([Document("a purple whale", id="whale")])
    index.delete(["whale", *index.ids()[:3]])
    index.upsert([Document("an orange snail", id="snail")])
    index.refit(seed=index.context.seed + 1)
    index.optimize()
    again = ContextualIndex.open(path, BagOfWords())
    assert again.ids() == index.ids()
    assert again.search("orange snail", k=1)[0].id == "snail"
    segments = {entry["name"] for entry in read_content(path / "index.json")["segments"]}
    assert {lines.parent.name for lines in (path / "segments").glob("*/lines.json")} == segments


@pytest.mark.parametrize("name", ["segments", "contexts", "next.json", "index.json", "writer.json", "identity.json"])
def test_a_directory_is_not_taken_for_an_index_by_the_names_in_it(tmp_path, theirs, name):
    path = tmp_path / "project"
    path.mkdir()
    if "." in name:
        (path / name).write_text('{"name": "theirs"}')
    else:
        shutil.copytree(theirs, path / name)
    before = contents(path)
    embedder = BagOfWords()
    for make in (
        lambda: ContextualIndex.build(CORPUS, embedder, path),
        lambda: ContextualIndex.create(embedder, embedder.fit_context(CORPUS), path),
    ):
        with pytest.raises((PathInUseError, IndexFileError)):
            make()
    assert contents(path) == before


def test_what_others_put_into_an_index_survives_every_change(index, theirs):
    segment = next((index.path / "segments").iterdir())
    context = next((index.path / "contexts").iterdir())
    for place in (index.path, index.path / "segments", index.path / "contexts", segment, context):
        shutil.copytree(theirs, place / "mine")
        (place / "deleted-0123456789ab.json").write_text("[]")
        (place / "accelerator-0123456789ab.faiss").write_text("mine")
        (place / "0123456789ab").mkdir()
        (place / "0123456789ab" / "vectors.safetensors").write_text("mine")
    mine = {name for name in contents(index.path) if "mine/" in name or "0123456789ab" in name}
    assert len(mine) == 25
    assert_works(index.path)
    assert mine <= contents(index.path).keys()


def test_what_others_put_into_an_interrupted_build_survives_its_end(tmp_path, theirs):
    class Failing(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if self.embedded >= 20:
                raise KeyboardInterrupt
            return super().encode_documents(texts, context)

    path = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(CORPUS, Failing(), path, batch_size=10)
    shutil.copytree(theirs, path / "segments" / "mine")
    assert len(ContextualIndex.build(CORPUS, BagOfWords(), path)) == len(CORPUS)
    assert (path / "segments" / "mine" / "inner" / "take1.wav").exists()
    assert_works(path)


def test_documents_whose_manifest_is_lost_are_not_swept_by_a_build(index):
    (index.path / "index.json").unlink()
    before = contents(index.path)
    with pytest.raises(IndexFileError, match=r"its manifest is missing; restore index\.json"):
        ContextualIndex.build(CORPUS, BagOfWords(), index.path)
    assert contents(index.path) == before


@pytest.mark.parametrize("place", ["segments", "contexts"])
def test_an_index_from_elsewhere_removes_nothing_behind_its_links(index, theirs, place):
    manifest = read_content(index.path / "index.json")
    reseal(index.path / "index.json", {**manifest, "segments": []})
    shutil.rmtree(index.path / place)
    (index.path / place).symlink_to(theirs)
    before = contents(theirs)
    for change in (
        lambda: ContextualIndex.open(index.path, BagOfWords()).add(["a purple whale"]),
        lambda: index.add(["a purple whale"]),
        lambda: index.upsert(["a purple whale"]),
    ):
        with pytest.raises((IndexFileError, ContextFileError), match=r"is a link, which an index does not follow"):
            change()
    assert contents(theirs) == before


def link_instead(path, away):
    """Move what is there away, and link to it."""
    away = away / path.name
    shutil.move(path, away)
    path.symlink_to(away)


@pytest.mark.parametrize(
    "pattern",
    [
        "index.json",
        "identity.json",
        "segments",
        "segments/*",
        "segments/*/vectors.safetensors",
        "segments/*/documents.jsonl",
        "segments/*/lines.json",
        "segments/*/postings.safetensors",
        "segments/*/deleted-*.json",
        "contexts",
        "contexts/*",
        "contexts/*/context.json",
        "contexts/*/vectors.safetensors",
    ],
)
def test_links_inside_an_index_are_refused_to_readers(index, theirs, pattern):
    index.delete(["d3"])
    path = next(index.path.glob(pattern))
    link_instead(path, theirs)
    before = contents(theirs)
    with pytest.raises((IndexFileError, ContextFileError), match=rf"{path.name}.*is a link"):
        ContextualIndex.open(index.path, BagOfWords())
    if pattern.startswith("segments"):
        salvaged = ContextualIndex.open(index.path, BagOfWords(), salvage=True)
        assert all("is a link" in wrong for wrong in salvaged.damaged)
        assert len(salvaged.damaged) > 0
    with pytest.raises(CDEError):
        ContextualIndex.open(index.path, BagOfWords()).add(["a purple whale"])
    assert contents(theirs) == before


def test_an_accelerator_that_is_a_link_is_done_without(tmp_path, theirs, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 10)
    index = ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "index", kind="hnsw")
    (path,) = index.path.glob("accelerator-*.faiss")
    link_instead(path, theirs)
    before = contents(theirs)
    opened = ContextualIndex.open(index.path, index.embedder)
    assert "is a link" in opened.damaged[0]
    assert len(opened.search(QUERIES[0], k=5)) == 5
    opened.optimize()
    assert opened.damaged == ()
    assert contents(theirs) == before
    assert path.is_symlink()


@pytest.mark.parametrize("name", ["writer.lock", "writer.json"])
def test_a_link_in_place_of_the_locks_files_is_refused(index, theirs, name):
    target = theirs / "notes.txt"
    (index.path / name).unlink(missing_ok=True)
    (index.path / name).symlink_to(target)
    for change in (lambda: index.add(["a purple whale"]), lambda: index.delete(["d1"]), index.optimize):
        with pytest.raises(IndexFileError, match=rf"{name} is a link"):
            change()
    assert target.read_text() == "notes"
    (index.path / name).unlink()
    (index.path / name).symlink_to(theirs / "nothing-yet")
    with pytest.raises(IndexFileError, match=rf"{name} is a link"):
        index.add(["a purple whale"])
    assert not (theirs / "nothing-yet").exists()


def test_a_pipe_in_an_index_blocks_nobody(index):
    for pattern in ("segments/*/lines.json", "identity.json", "index.json"):
        path = next(index.path.glob(pattern))
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(IndexFileError, match=rf"{path.name} is not a file"):
            ContextualIndex.open(index.path, BagOfWords())
        path.unlink()
        path.write_bytes(content)


class KilledError(BaseException):
    """Nothing after it is done."""


CALLS = ("mkdir", "open", "rename", "replace", "unlink", "rmdir", "fsync")


def killed_at(monkeypatch, number, work):
    """Whether the work was killed, before the `number`-th call that changes names or brings something on the device."""
    left = [number]

    def counted(call):
        def call_or_die(*arguments, **options):
            if call is not os.open or arguments[1] & (os.O_CREAT | os.O_EXCL):
                left[0] -= 1
                if left[0] < 0:
                    raise KilledError
            return call(*arguments, **options)

        return call_or_die

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        except KilledError:
            return True
        return False


def unlocked(path):
    """A killed process holds no lock, but this one lives on."""
    (path / "writer.lock").unlink(missing_ok=True)


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_nothing_that_is_not_known(tmp_path, monkeypatch):
    kind = "hnsw"  # which writes all files of "flat", and its accelerator
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 10)
    embedder = BagOfWords()
    contexts = [embedder.fit_context(CORPUS, seed=seed) for seed in range(2)]
    original, path = tmp_path / "original", tmp_path / "index"
    ContextualIndex.build(CORPUS[:30], embedder, original, context=contexts[0], kind=kind)

    def build():
        ContextualIndex.build(CORPUS[:30], embedder, path, context=contexts[0], kind=kind, batch_size=20)

    def change():
        index = ContextualIndex.open(path, embedder)
        index.add([Document(text, id=text) for text in CORPUS[30:40]])
        index.delete(CORPUS[30:35])
        index.refit(context=contexts[1], batch_size=20)

    for work, begin in ((build, None), (change, original)):
        number, killed = 0, True
        while killed:
            shutil.rmtree(path, ignore_errors=True)
            if begin is not None:
                shutil.copytree(begin, path)
            killed = killed_at(monkeypatch, number, work)
            unlocked(path)
            index = (
                ContextualIndex.build(CORPUS[:30], embedder, path, context=contexts[0], kind=kind, batch_size=20)
                if begin is None and not (path / "index.json").exists()
                else ContextualIndex.open(path, embedder)
            )
            index.upsert([Document("a purple whale", id="whale")])
            index.refit(context=contexts[1])
            index.optimize()
            assert set(CORPUS[:30]) < set(ContextualIndex.open(path, embedder).texts())
            left = sorted(p.name.split("-")[0] for p in path.iterdir())
            assert left == ["accelerator", "contexts", "identity.json", "index.json", "segments", "writer.lock"]
            assert [len(list((path / name).iterdir())) for name in ("segments", "contexts")] == [1, 1]
            number += 1
        assert number > 20


def test_a_marker_that_was_never_written_is_no_obstacle(tmp_path):
    path = tmp_path / "index"
    path.mkdir()
    for content in (b"", b"\0" * 100):
        (path / "identity.json").write_bytes(content)
        (path / "writer.lock").write_bytes(b"")
        assert len(ContextualIndex.build(CORPUS, BagOfWords(), path)) == len(CORPUS)
        shutil.rmtree(path)
        path.mkdir()


def test_a_lost_marker_is_made_again_and_a_damaged_one_said(index):
    marker = index.path / "identity.json"
    identity = read_content(marker)["identity"]
    marker.unlink()
    index.add(["a purple whale"])
    assert read_content(marker)["identity"] == identity
    marker.write_text(marker.read_text().replace(identity[:4], "0000"))
    for use in (lambda: ContextualIndex.open(index.path, BagOfWords()), lambda: index.add(["x"])):
        with pytest.raises(IndexFileError, match=r"identity\.json was edited.*delete it"):
            use()
    assert len(ContextualIndex.open(index.path, BagOfWords(), salvage=True)) == len(CORPUS) + 1
    marker.unlink()
    assert_works(index.path)


def test_files_of_two_indexes_are_not_mixed(index, tmp_path):
    other = ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "other")
    shutil.copy(other.path / "identity.json", index.path / "identity.json")
    before = contents(index.path)
    for use in (lambda: ContextualIndex.open(index.path, BagOfWords()), lambda: index.add(["x"])):
        with pytest.raises(IndexFileError, match=r"files of two indexes"):
            use()
    assert {name: text for name, text in contents(index.path).items() if name != "writer.lock"} == {
        name: text for name, text in before.items() if name != "writer.lock"
    }


def test_an_index_of_an_earlier_release_is_read_and_marked_at_the_first_write(index, theirs):
    index.delete(["d3"])
    without_marker(index.path)
    shutil.copytree(theirs, index.path / "segments" / "mine")
    before = contents(index.path)
    old = ContextualIndex.open(index.path, BagOfWords())
    assert len(old) == len(CORPUS) - 1
    assert old.search(CORPUS[5], k=1)[0].id == "d5"
    assert len(ContextualIndex.open(index.path, BagOfWords(), salvage=True)) == len(CORPUS) - 1
    assert contents(index.path) == before
    old_context = next((index.path / "contexts").iterdir())
    old.add(["a purple whale"])
    assert old.generation == 4
    assert read_content(index.path / "identity.json")["identity"] == read_content(index.path / "index.json")["identity"]
    assert_works(index.path)
    assert not old_context.exists()
    assert (index.path / "segments" / "mine" / "notes.txt").exists()


def test_an_interrupted_build_of_an_earlier_release_goes_on(tmp_path):
    class Failing(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if self.embedded >= 20:
                raise KeyboardInterrupt
            return super().encode_documents(texts, context)

    path, embedder = tmp_path / "index", BagOfWords()
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(CORPUS, Failing(), path, batch_size=10)
    without_marker(path)
    assert len(ContextualIndex.build(CORPUS, embedder, path)) == len(CORPUS)
    assert embedder.embedded == len(CORPUS) - 20
    assert_works(path)


def test_damage_in_what_was_built_before_an_interruption_is_found_when_it_goes_on(index, tmp_path, caplog):
    class Failing(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if self.embedded >= 20:
                raise KeyboardInterrupt
            return super().encode_documents(texts, context)

    def damage(path):
        staged = read_content(path / "next.json")["segments"][0]["name"]
        vectors = path / "segments" / staged / "vectors.safetensors"
        vectors.write_bytes(vectors.read_bytes()[:-1] + b"\x7f")

    path = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(CORPUS, Failing(), path, batch_size=10)
    damage(path)
    with pytest.raises(IndexFileError, match=r"vectors\.safetensors was damaged.*remove .* and build again"):
        ContextualIndex.build(CORPUS, BagOfWords(), path)
    with pytest.raises(KeyboardInterrupt):
        index.refit(embedder=Failing(), seed=1, batch_size=10)
    damage(index.path)
    assert index.refit(seed=1, batch_size=10).embedded == len(CORPUS)
    assert "starts over" in caplog.text


def test_notes_of_an_interrupted_refit_that_are_damaged_block_no_change(index, caplog):
    class Failing(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if self.embedded >= 20:
                raise KeyboardInterrupt
            return super().encode_documents(texts, context)

    with pytest.raises(KeyboardInterrupt):
        index.refit(embedder=Failing(), seed=1, batch_size=10)
    staged = index.path / "next.json"
    staged.write_bytes(staged.read_bytes()[:100])
    index.add(["a purple whale"])
    assert not staged.exists()
    assert "next.json is damaged" in caplog.text
    (aside,) = index.path.glob("damaged-*-next.json")
    assert f"kept in {str(aside).removesuffix('next.json')}*" in caplog.text
    listed = {entry["name"] for entry in read_content(index.path / "index.json")["segments"]}
    assert {entry.name for entry in (index.path / "segments").iterdir()} == listed
    assert index.refit(seed=1).embedded == len(CORPUS) + 1


@pytest.mark.parametrize("after", [0, 20])
def test_a_damaged_manifest_of_an_interrupted_build_is_set_aside_with_all_that_was_built(tmp_path, caplog, after):
    class Failing(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if self.embedded >= after:
                raise KeyboardInterrupt
            return super().encode_documents(texts, context)

    path = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(CORPUS, Failing(), path, batch_size=10)
    staged = path / "next.json"
    damaged = staged.read_bytes()[:100]
    staged.write_bytes(damaged)
    written = {file.relative_to(path): file.read_bytes() for file in path.glob("*/*/*")}
    assert len(written) == (2 if after == 0 else 12)
    index = ContextualIndex.build(CORPUS, BagOfWords(), path)
    assert [hit.text for hit in index.search(CORPUS[:2], k=1)[1]] == [CORPUS[1]]
    assert "must start over" in caplog.text
    (aside,) = path.glob("damaged-*-next.json")
    assert aside.read_bytes() == damaged
    mark = aside.name.removesuffix("next.json")
    assert f"kept in {path / mark}*" in caplog.text
    for change in (lambda: index.add(["a purple whale"]), index.optimize, lambda: index.refit(seed=1)):
        change()
        assert {name: (path / f"{mark}{name}").read_bytes() for name in written} == written
    assert len(ContextualIndex.open(path, BagOfWords())) == len(CORPUS) + 1


def test_a_damaged_manifest_in_a_directory_without_a_marker_is_left_alone(tmp_path):
    (tmp_path / "next.json").write_text("{}")
    for make in (lambda: ContextualIndex.build(CORPUS, BagOfWords(), tmp_path), lambda: new_index(tmp_path)):
        with pytest.raises(PathInUseError, match=r"already holds other files"):
            make()
    assert [entry.name for entry in tmp_path.iterdir()] == ["next.json"]


def new_index(path):
    embedder = BagOfWords()
    return ContextualIndex.create(embedder, embedder.fit_context(CORPUS), path)


def test_another_context_in_the_place_of_the_indexs_own_is_refused(index, tmp_path):
    other = index.embedder.fit_context(CORPUS[:30], seed=9)
    (path,) = (index.path / "contexts").iterdir()
    shutil.rmtree(path)
    other.save(path)
    assert CorpusContext.load(path) == other
    for use in (
        lambda: ContextualIndex.open(index.path, BagOfWords()),
        lambda: ContextualIndex.open(index.path, BagOfWords(), salvage=True),
    ):
        with pytest.raises(ContextFileError, match=rf"holds context {other.fingerprint}.*{index.context.fingerprint}"):
            use()


def test_a_write_after_the_directory_was_moved_makes_nothing(index, tmp_path):
    index.path.rename(tmp_path / "moved")
    for change in (lambda: index.add(["x"]), lambda: index.delete(["d1"]), index.refit, index.optimize):
        with pytest.raises(IndexFileError, match=r"does not exist.*moved"):
            change()
    assert not index.path.exists()
    with (
        pytest.raises(IndexFileError, match=r"was moved or removed"),
        writer_lock(index.path, "testing"),
    ):
        pass
    assert not index.path.exists()
    index.path.mkdir()
    with pytest.raises(IndexFileError, match=r"holds no index"):
        index.add(["x"])
    assert list(index.path.iterdir()) == []


def test_a_copy_that_was_put_back_is_noticed_by_who_has_the_index_open(index, tmp_path):
    shutil.copytree(index.path, tmp_path / "copy")
    index.add([Document("a purple whale", id="whale")])
    shutil.rmtree(index.path)
    shutil.copytree(tmp_path / "copy", index.path)
    ContextualIndex.open(index.path, BagOfWords()).add([Document("an orange snail", id="snail")])
    index.add([Document("a green gecko", id="gecko")])
    again = ContextualIndex.open(index.path, BagOfWords())
    assert ("whale" in again, "snail" in again, "gecko" in again) == (False, True, True)


def test_reading_writes_nothing(index):
    index.delete(["d3"])

    def state():
        return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in (index.path, *index.path.rglob("*"))}

    (index.path / "writer.lock").unlink()
    before = state()
    folders = [index.path, *(p for p in index.path.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        for options in ({}, {"read_only": True}, {"salvage": True}):
            reader = ContextualIndex.open(index.path, BagOfWords(), **options)
            assert len(reader.search(QUERIES[0], k=3)) == 3
            assert not reader.refresh()
            assert len(list(reader.documents({"row": {"$gte": 0}}))) == len(CORPUS) - 1
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert state() == before


def test_the_one_who_holds_the_lock_is_shown_only_as_we_sign(index):
    with writer_lock(index.path, "testing"):
        for content in (
            '{"pid": 1}',
            '{"pid": 1, "host": "\\u001b[31m", "task": "t", "since": "s"}',
            "[" * 9_999,
            "\0",
        ):
            (index.path / "writer.json").write_text(content)
            with pytest.raises(CDEError, match=r"written to by another process;"):
                index.add(["x"])
        (index.path / "writer.json").write_text(json.dumps({"pid": 1, "host": "h", "task": "t", "since": "s"}))
        with pytest.raises(CDEError, match=r"written to by process 1 on h \(t, since s\);"):
            index.add(["x"])
