"""An index that follows several sources, through kills at any commit, moves and names of any kind."""

import os
import shutil
from dataclasses import replace

import pytest
from bag_of_words import BagOfWords

import cde_retrievers.corpora.corpus
from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.recorded_source import corpus_of, recorded_source, version_changes
from cde_retrievers.corpora.sync import plan_update, plan_updates
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.store import IndexStore

TOPICS = ["tea", "coffee", "rails", "whales", "bread", "stars", "rivers", "clocks"]
SPLIT = ReadOptions(split="headings", max_words=60)


def write(folder, topics=TOPICS):
    folder.mkdir(parents=True, exist_ok=True)
    for topic in topics:
        (folder / f"{topic}.md").write_text(f"# {topic}\nIt is known.\n\n# {topic} age\nIt is old.\n")
    return folder


def build(folder, path):
    checked = Corpus(folder, SPLIT).check()
    source = recorded_source(checked.corpus, checked.read)
    return ContextualIndex.build(checked, BagOfWords(), path, source=source)


def add(index, folder, reading=SPLIT):
    plan_update(index, Corpus(folder, reading), None).apply(index, ())


def sync(index):
    with index.exclusively("a test"):
        updates = plan_updates(index, [(corpus_of(record), record) for record in index.sources])
        for update in updates:
            update.apply(index, update.gone)
    return updates


def contents(index):
    return {each.id: each.text for each in ContextualIndex.open(index.path, BagOfWords()).documents()}


def test_a_document_that_only_the_later_source_loses_stays(tmp_path):
    index = build(write(tmp_path / "one"), tmp_path / "index")
    other = write(tmp_path / "two", ["moons"])
    (other / "tea.md").write_text("# tea\nIt is another one.\n")
    add(index, other)
    assert contents(index)["tea.md#tea"].endswith("It is another one.")
    (other / "tea.md").unlink()
    sync(index)
    assert contents(index)["tea.md#tea"].endswith("It is known.")
    (tmp_path / "one" / "tea.md").unlink()
    sync(index)
    assert not [each for each in contents(index) if each.startswith("tea")]


def killed_at(commit, after, work):
    """Run the work in a process that is killed before or after that commit; whether it got there."""
    child = os.fork()
    if child == 0:
        plain, commits = IndexStore.commit, []

        def dying(self, manifest):
            commits.append(1)
            if len(commits) == commit and not after:
                os._exit(9)
            done = plain(self, manifest)
            if len(commits) == commit:
                os._exit(9)
            return done

        IndexStore.commit = dying
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("after", [False, True])
def test_a_sync_that_is_killed_loses_and_doubles_nothing(tmp_path, monkeypatch, after):
    monkeypatch.setattr("cde_retrievers.index.contextual_index.BATCH", 2)
    docs = write(tmp_path / "docs")
    build(docs, tmp_path / "index")
    other = write(tmp_path / "other", ["moons"])
    index = ContextualIndex.open(tmp_path / "index", BagOfWords())
    add(index, other)
    index.upsert([Document("from a program", "mine")])
    (docs / "tea.md").write_text("# tea\nAll is new here.\n\n# milk\nSo is this.\n")
    (docs / "clocks.md").unlink()
    (other / "moons.md").write_text("# orbits\nThey are not round.\n\n# moons\nThey are round.\n")
    begun = tmp_path / "begun"
    shutil.copytree(index.path, begun)
    sync(index)
    expected, sources = contents(index), index.sources
    assert set(expected) >= {"mine", "tea.md#milk", "moons.md#orbits"}
    commit = 1
    while True:
        path = shutil.copytree(begun, tmp_path / f"killed{commit}")
        was_killed = killed_at(commit, after, lambda path=path: sync(ContextualIndex.open(path, BagOfWords())))
        again = ContextualIndex.open(path, BagOfWords())
        # Whoever gave it up in the middle changes the source before coming back: nothing may belong to no source.
        owned = {identity for record in again.sources for identity in record.ids}
        assert set(again.ids()) - owned == {"mine"}
        sync(again)
        assert contents(again) == expected
        assert [(each.path, each.files, set(each.ids)) for each in again.sources] == [
            (each.path, each.files, set(each.ids)) for each in sources
        ]
        if not was_killed:
            break
        commit += 1
    assert commit > 5


@pytest.mark.parametrize("name", ["two\nlines", "caf\u00e9 \U0001f375", "-x", "%s", " "])
def test_a_source_of_any_name_is_found_from_anywhere_also_by_an_index_that_was_moved(tmp_path, monkeypatch, name):
    write(tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    build(name, tmp_path / "index")
    (tmp_path / "index").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    index = ContextualIndex.open(tmp_path / "moved", BagOfWords())
    (tmp_path / "here" / name / "tea.md").unlink()
    [update] = sync(index)
    assert (update.unchanged, len(update.gone), len(index)) == (14, 2, 14)


def resplit(monkeypatch, packages):
    """Split as another release might, with other versions of packages."""
    parts = cde_retrievers.corpora.corpus.split_record

    def split(record, by_headings, rules):
        return (
            replace(part, document=replace(part.document, text=part.document.text + "!"))
            for part in parts(record, by_headings, rules)
        )

    monkeypatch.setattr("cde_retrievers.corpora.corpus.split_record", split)
    monkeypatch.setattr("cde_retrievers.corpora.recorded_source.reading_versions", lambda: packages)


def test_another_way_to_split_is_told_from_changed_files(tmp_path, monkeypatch):
    docs = write(tmp_path / "docs")
    index = build(docs, tmp_path / "index")
    (docs / "tea.md").write_text("# tea\nAll is new here.\n")
    [record] = index.sources
    now = {**record.read_by, "markdown-it-py": "99.1"}
    resplit(monkeypatch, now)
    [update] = plan_updates(index, [(corpus_of(record), record)])
    assert update.changed == 15
    assert update.reread == {f"{topic}.md": 2 for topic in TOPICS if topic != "tea"}
    [change] = version_changes(update.before, update.now)
    assert change == f"markdown-it-py {record.read_by['markdown-it-py']} then, 99.1 now"
    update.apply(index, update.gone)
    assert index.sources[0].read_by == now
    [update] = sync(index)
    assert (update.unchanged, update.reread) == (15, {})


def test_changed_files_and_options_are_no_other_way_to_split(tmp_path):
    docs = write(tmp_path / "docs")
    index = build(docs, tmp_path / "index")
    (docs / "tea.md").write_text("# tea\nAll is new here.\n")
    (docs / "moons.md").write_text("# moons\nThey are round.\n")
    (docs / "clocks.md").unlink()
    [record] = index.sources
    assert plan_update(index, corpus_of(record), record).reread == {}
    assert plan_update(index, Corpus(docs, replace(SPLIT, split="paragraphs")), record).reread == {}
    index.delete(["bread.md#bread"])
    assert plan_update(index, corpus_of(record), record).reread == {"bread.md": 1}
