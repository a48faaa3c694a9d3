"""An index that knows its sources: `sync`, and how `add`, `drift` and `refit` use what is recorded."""

import gzip
import json
import shutil

import pytest
from opened_files import counted_opens

import cde_retrievers.corpora.corpus
import cde_retrievers.corpora.sync
from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import IndexLockedError
from cde_retrievers.index import ContextualIndex, Document

SPLIT = ("--split", "headings", "--max-words", 60)  # the model reads few tokens
TOPICS = ["tea", "coffee", "rails", "whales", "bread", "stars", "rivers", "clocks"]


@pytest.fixture
def docs(tmp_path):
    """A folder of Markdown with three parts in each file."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for topic in TOPICS:
        parts = [f"# {topic} {part}\nThe {part} of {topic} is a thing to know.\n" for part in ("use", "age", "price")]
        (folder / f"{topic}.md").write_text("\n".join(parts))
    return folder


@pytest.fixture
def made(answer, docs, model_folder, tmp_path):
    answer("index", docs, "--out", tmp_path / "made", *SPLIT, "--model", model_folder)
    return tmp_path / "made"


@pytest.fixture
def opened():
    with counted_opens() as counted:
        yield counted


def counts(found):
    return {name: found[name] for name in ("added", "changed", "removed", "unchanged", "embedded", "reused")}


def contents(path):
    return {
        document.id: (document.text, dict(document.metadata)) for document in ContextualIndex.open(path).documents()
    }


def test_sync_brings_the_index_to_what_a_new_one_would_be(answer, docs, made, model_folder, tmp_path):
    assert answer("info", made)["sources"] == [str(docs)]
    nothing = answer("sync", made)
    assert counts(nothing) == dict(added=0, changed=0, removed=0, unchanged=24, embedded=0, reused=0)
    assert nothing["generation"] == 1
    (docs / "tea.md").write_text("# tea new\nA part in front.\n\n" + (docs / "tea.md").read_text())
    (docs / "bread.md").unlink()
    (docs / "moons.md").write_text("# moons\nThey are round.\n")
    before = contents(made)
    planned = answer("sync", made, "--dry-run")
    assert planned["dry_run"] is True
    assert contents(made) == before
    assert ContextualIndex.open(made).generation == 1
    found = answer("sync", made)
    assert counts(found) == counts(planned)
    assert found["removed"] == 3
    assert found["embedded"] == 2, "the part in front and the new file; what moved keeps its vector"
    assert found["sources"][0]["changed_files"] == ["bread.md", "moons.md", "tea.md"]
    answer("index", docs, "--out", tmp_path / "twin", *SPLIT, "--model", model_folder)
    assert contents(made) == contents(tmp_path / "twin")
    assert counts(answer("sync", made))["unchanged"] == found["documents"]


def test_sync_removes_no_more_than_a_quarter_without_consent(run, answer, docs, made):
    for topic in TOPICS[:3]:
        (docs / f"{topic}.md").unlink()
    before = contents(made)
    result = run("sync", made)
    assert result.exit_code == 1
    assert "9 of the 24 documents" in result.stderr
    assert "--yes" in result.stderr
    assert contents(made) == before
    assert answer("sync", made, "--dry-run")["removed"] == 9
    assert answer("sync", made, "--yes")["removed"] == 9


def test_prune_removes_no_more_than_a_quarter_without_consent(run, answer, docs, made, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "moons.md").write_text("# moons\nThey are round.\n")
    before = contents(made)
    result = run("add", made, other, "--upsert", "--prune")
    assert result.exit_code == 1
    assert "24 of the 24 documents" in result.stderr
    assert contents(made) == before
    assert answer("add", made, other, "--upsert", "--prune", "--yes")["removed"] == 24
    assert [record.path for record in ContextualIndex.open(made).sources] == [str(other)]


def test_a_missing_source_empties_nothing(run, answer, docs, made, tmp_path):
    docs.rename(tmp_path / "elsewhere")
    before = contents(made)
    for options in ((), ("--yes",), ("--dry-run",)):
        result = run("sync", made, *options)
        assert result.exit_code == 1
        assert "does not exist; if it was moved, say where it is now with --source" in result.stderr
    assert contents(made) == before
    assert answer("sync", made, "--source", tmp_path / "elsewhere")["unchanged"] == 24
    assert [record.path for record in ContextualIndex.open(made).sources] == [str(tmp_path / "elsewhere")]
    assert answer("sync", made)["unchanged"] == 24


def test_documents_of_no_source_and_of_other_sources_stay(answer, docs, made, more, tmp_path):
    index = ContextualIndex.open(made)
    index.upsert([Document("from a program", "mine")])
    answer("add", made, more, "--as-given", "--split", "none")
    (docs / "tea.md").unlink()
    found = answer("sync", made)
    assert (found["removed"], found["documents"], len(found["sources"])) == (3, 24 - 3 + 1 + 2, 2)
    assert {"mine", "m0", "m1"} <= set(ContextualIndex.open(made).ids())


def test_a_document_of_two_sources_is_taken_from_the_later_one(answer, docs, made, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "tea.md").write_text("# tea\nIt is another one.\n")
    answer("add", made, other, "--upsert")
    found = contents(made)
    assert counts(answer("sync", made))["changed"] == 0
    assert contents(made) == found


def test_an_interrupted_sync_continues(run, answer, docs, made, monkeypatch):
    for topic in TOPICS[:2]:
        (docs / f"{topic}.md").write_text(f"# {topic}\nAll is new here.\n")
    (docs / "moons.md").write_text("# moons\nThey are round.\n")
    monkeypatch.setattr("cde_retrievers.index.contextual_index.BATCH", 1)
    encode, calls = ContextualEncoder.encode_documents, []

    def interrupted(self, texts, *arguments, **options):
        calls.append(list(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, texts, *arguments, **options)

    monkeypatch.setattr(ContextualEncoder, "encode_documents", interrupted)
    result = run("sync", made)
    assert result.exit_code == 130
    assert "give the same command again" in result.stderr
    (docs / "coffee.md").unlink()  # what was added meanwhile belongs to the source
    found = answer("sync", made, "--yes")
    embedded = [text for texts in calls for text in texts]
    assert len(embedded) - 1 == len(set(embedded)), "only the interrupted text comes twice"
    assert not [identity for identity in contents(made) if identity.startswith("coffee")]
    assert counts(answer("sync", made))["unchanged"] == found["documents"]


def test_a_source_is_read_as_before_and_other_options_are_refused(run, answer, docs, made):
    assert answer("add", made, docs, "--upsert")["unchanged"] == 24
    assert answer("add", made, docs, "--upsert", *SPLIT)["unchanged"] == 24
    for command in (("add", made, docs, "--upsert"), ("drift", made, docs)):
        result = run(*command, "--split", "paragraphs")
        assert result.exit_code == 1
        assert "split='headings'" in result.stderr
        assert "split='paragraphs'" in result.stderr
    assert len(ContextualIndex.open(made)) == 24


@pytest.mark.parametrize(("before", "now"), [(("--overlap", 5), ("--overlap", 0)), ((), ("--encoding", "latin-1"))])
def test_an_option_that_is_given_as_its_default_is_given(run, answer, docs, model_folder, tmp_path, before, now):
    made = tmp_path / "made"
    answer("index", docs, "--out", made, *SPLIT, *before, "--model", model_folder)
    for command in (("add", made, docs, "--upsert"), ("drift", made, docs)):
        result = run(*command, *now)
        assert result.exit_code == 1
        assert f"was read for this index with {now[0][2:]}=" in result.stderr
    assert answer("add", made, docs, "--upsert", *before)["unchanged"] == 24
    result = run("drift", made, docs, *SPLIT, *now, "--as-given")
    assert "24 documents in 8 files" in result.stderr, "it was read, if too short to be compared"


def test_an_option_that_a_new_source_has_no_use_for_is_explained(run, docs, model_folder, tmp_path):
    made = tmp_path / "made"
    run("index", docs, "--out", made, *SPLIT, "--ending", ".md", "--model", model_folder)
    result = run("add", made, docs / "tea.md", "--upsert")
    assert result.exit_code == 1
    assert "--ending" in result.stderr
    assert "come from how the sources of the index were read, and --as-given" in result.stderr


def test_prune_without_the_prefix_repeated_leaves_other_sources_alone(answer, made, docs, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "moons.md").write_text("# moons\nThey are round.\n\n# orbits\nThey are not.\n")
    assert answer("add", made, other, "--id-prefix", "other/")["added"] == 2
    (other / "moons.md").write_text("# moons\nThey are round.\n")
    found = answer("add", made, other, "--upsert", "--prune", "--yes")
    assert (found["removed"], found["documents"]) == (1, 25)
    assert len(ContextualIndex.open(made).sources) == 2


def test_a_new_source_is_read_as_the_others_were(run, answer, made, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "moons.md").write_text("# moons\nThey are round.\n\n# orbits\nThey are not.\n")
    assert answer("add", made, other, "--upsert")["added"] == 2
    result = run("add", made, other, "--split", "paragraphs", "--upsert")
    assert result.exit_code == 1
    assert "split='headings'" in result.stderr
    assert "split='paragraphs'" in result.stderr
    assert answer("add", made, other, "--as-given", "--split", "none", "--id-prefix", "whole/")["added"] == 1
    third = shutil.copytree(other, tmp_path / "third")
    result = run("add", made, third, "--id-prefix", "third/")
    assert result.exit_code == 1
    assert "in different ways" in result.stderr
    assert answer("add", made, third, "--id-prefix", "third/", "--split", "headings", "--as-given")["added"] == 2


def test_as_given_does_not_put_whole_documents_beside_parts_unasked(run, answer, docs, made, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "moons.md").write_text("# moons\nThey are round.\n\n# orbits\nThey are not.\n")
    for command, source in (("add", other), ("drift", other), ("drift", docs)):
        result = run(command, made, source, "--as-given")
        assert result.exit_code == 1
        assert f"{docs} was read for this index with split='headings', max_words=60, and --as-given without" in (
            result.stderr
        )
        assert "--split headings to split them too, or --split none for whole documents" in result.stderr
    assert len(ContextualIndex.open(made)) == 24
    whole = run("add", made, other, "--as-given", "--split", "none")
    assert whole.exit_code == 0
    assert f"{other} is read with split=None, max_words=None; {docs} was read for this index with" in whole.stderr
    assert len(ContextualIndex.open(made)) == 25
    same = run("add", made, docs, "--upsert", "--as-given", *SPLIT)
    assert "was read for this index with" not in same.stderr


def test_not_to_split_is_an_option_like_any_other(run, answer, source, made, more, tmp_path, model_folder):
    result = run("add", made, more, "--split", "none")
    assert result.exit_code == 1
    assert "split='headings'" in result.stderr
    assert "split=None" in result.stderr
    answer("index", source, "--out", tmp_path / "whole", "--split", "none", "--model", model_folder)
    assert answer("add", tmp_path / "whole", more, "--split", "none")["added"] == 2


def test_the_length_of_parts_needs_no_split_where_one_is_recorded(run, answer, docs, made, model_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "moons.md").write_text("# moons\nThey are round.\n\n# orbits\nThey are not.\n")
    assert answer("add", made, docs, "--upsert", "--max-words", 60)["unchanged"] == 24
    assert answer("add", made, other, "--max-words", 60)["added"] == 2
    for command in (("add", made, docs, "--upsert"), ("add", made, tmp_path / "third")):
        for option, shown in (("--max-words", "max_words=30"), ("--chunk-tokens", "chunk_tokens=30")):
            shutil.copytree(other, tmp_path / "third", dirs_exist_ok=True)
            result = run(*command, option, 30)
            assert result.exit_code == 1
            assert "max_words=60" in result.stderr
            assert f"but {shown} is given" in result.stderr
    by_tokens = tmp_path / "by_tokens"
    answer("index", docs, "--out", by_tokens, "--model", model_folder, "--split", "headings")
    assert answer("add", by_tokens, other, "--max-words", 60)["added"] == 2
    result = run("add", made, other, "--upsert", "--max-words", 60, "--as-given")
    assert "split='headings'" in result.stderr


def test_an_index_without_a_record_gets_one_by_an_upsert(run, answer, docs, made):
    manifest = json.loads((made / "index.json").read_text())
    assert manifest["sources"]["name"].startswith("sources-")
    (made / manifest["sources"]["name"]).unlink()
    ContextualIndex.open(made).optimize()  # drops the record, which is missing
    result = run("sync", made)
    assert result.exit_code == 1
    assert "records no sources" in result.stderr
    found = answer("add", made, docs, "--upsert", *SPLIT)
    assert (found["unchanged"], found["embedded"]) == (24, 0)
    assert answer("sync", made)["unchanged"] == 24


def test_files_are_told_by_what_happened_to_them(run, docs, made):
    unchanged = run("sync", made, "--dry-run")
    assert "no file changed" in unchanged.stderr
    assert "documents: 0 added, 0 changed, 0 removed, 24 unchanged, " in unchanged.stdout
    (docs / "bread.md").unlink()
    (docs / "moons.md").write_text("# moons\nThey are round.\n")
    assert "documents, 1 file added, 1 file deleted\n" in run("sync", made, "--dry-run").stderr
    (docs / "tea.md").write_text("# tea use\nOther words.\n")
    assert "1 file added, 1 file changed, 1 file deleted\n" in run("sync", made, "--dry-run").stderr


def test_a_source_that_is_known_is_to_be_synced_and_not_added(run, docs, made, more):
    result = run("add", made, docs)
    assert result.exit_code == 1
    assert f"the index has this source already, and `cde-retrievers sync {made}` follows its changes" in result.stderr


def test_info_shows_how_each_source_was_read(run, answer, made):
    [options] = answer("info", made)["read_with"]
    assert options["split"] == "headings"
    assert "skip_empty" not in options
    [line] = [line for line in run("info", made).stdout.splitlines() if line.startswith("read with")]
    assert "split headings" in line


def test_refit_keeps_the_record_and_warns_of_changed_files(run, answer, docs, made):
    assert "changed since they were read" not in run("refit", made, "--seed", "1").stderr
    (docs / "tea.md").write_text("# tea use\nOther words.\n")
    result = run("refit", made, "--seed", "2")
    assert result.exit_code == 0
    assert "1 file changed since the source was read, such as tea.md" in result.stderr
    assert answer("sync", made)["changed"] == 1


def test_a_copied_text_is_not_embedded_again_under_another_name(answer, docs, made):
    shutil.copy(docs / "tea.md", docs / "tea_again.md")
    found = answer("sync", made)
    assert (found["added"], found["embedded"], found["reused"]) == (3, 0, 3)


def test_sync_takes_the_options_that_its_errors_name(run, answer, docs, made):
    (docs / "tea.md").write_text("")
    (docs / "rails.md").write_bytes(b"\xff\xfe\xff")
    (docs / "moons.md").write_text("# moons\nThey are round.\n")
    refused = run("sync", made)
    assert refused.exit_code == 1
    assert "--skip-" in refused.stderr
    assert answer("sync", made, "--skip-empty", "--skip-errors")["added"] == 1
    assert answer("sync", made)["unchanged"] == 19  # it is recorded, and what was not read is kept
    (docs / "suns.md").write_text("# suns\nThey are hot.\n")
    assert "26 in all" in run("sync", made, "--dry-run").stdout


@pytest.mark.parametrize("options", [(), ("--skip-errors",), ("--skip-empty",)])
def test_every_file_is_opened_once(answer, docs, model_folder, tmp_path, opened, options):
    made = tmp_path / "made"
    answer("index", docs, "--out", made, *SPLIT, "--model", model_folder, *options)

    def once(*command):
        opened.clear()
        found = answer(*command)
        files = [str(path) for path in docs.iterdir()]
        assert {path: opened[path] for path in files} == dict.fromkeys(files, 1), command
        return found

    assert once("sync", made)["unchanged"] == 24
    (docs / "tea.md").write_text("# tea\nAll is new here.\n")
    (docs / "moons.md").write_text("# moons\nThey are round.\n")
    assert once("sync", made, "--dry-run")["added"] == 2
    assert once("sync", made)["added"] == 2
    (docs / "orbits.md").write_text("# orbits\nThey are not.\n")
    assert once("add", made, docs, "--upsert")["added"] == 1
    once("add", made, docs, "--upsert", "--id-prefix", "again/", "--as-given", "--split", "none", *options)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.json", "rows.jsonl.gz", "rows.parquet"])
def test_every_file_of_rows_is_opened_once(answer, indexed, tmp_path, opened, name):
    folder = tmp_path / "rows"
    folder.mkdir()
    rows = [{"id": f"r{i}", "text": f"a row about {topic}"} for i, topic in enumerate(TOPICS)]
    write_rows(folder / name, rows)
    opened.clear()
    assert answer("add", indexed, folder, "--as-given")["added"] == len(TOPICS)
    assert opened[str(folder / name)] == 1
    write_rows(folder / name, [*rows[:-1], {"id": "new", "text": "another"}])
    opened.clear()
    assert counts(answer("sync", indexed)) == dict(added=1, changed=0, removed=1, unchanged=61, embedded=1, reused=0)
    assert opened[str(folder / name)] == 1


def write_rows(path, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        path.write_text("id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


def test_a_dry_run_says_when_what_splits_has_changed(run, answer, made, monkeypatch):
    parts = cde_retrievers.corpora.corpus.split_record
    monkeypatch.setattr(
        "cde_retrievers.corpora.corpus.split_record", lambda r, by_headings, rules: parts(r, False, rules)
    )
    monkeypatch.setattr("cde_retrievers.corpora.recorded_source.reading_versions", lambda: {"cde-retrievers": "99.1"})
    result = run("sync", made, "--dry-run")
    assert "of 8 files that did not change, such as" in result.stderr
    assert f"cde-retrievers {cde_retrievers.__version__} then, 99.1 now" in result.stderr
    [source] = answer("sync", made, "--dry-run")["sources"]
    assert (source["changed_files"], source["reread"]) == ([], 32)
    assert "did not change" in run("sync", made).stderr, "it is said before the removal is refused"


def test_what_was_planned_is_what_is_embedded(answer, docs, made, monkeypatch):
    """A file that changes while others are embedded is of the next sync."""
    for name in ("moons", "zebras"):
        (docs / f"{name}.md").write_text(f"# {name}\nThey are round.\n")
    monkeypatch.setattr("cde_retrievers.index.contextual_index.BATCH", 1)
    encode = ContextualEncoder.encode_documents

    def meanwhile(self, texts, *arguments, **options):
        (docs / "zebras.md").write_text("# zebras\nThey are striped.\n")
        return encode(self, texts, *arguments, **options)

    monkeypatch.setattr(ContextualEncoder, "encode_documents", meanwhile)
    found = answer("sync", made)
    assert counts(found) == dict(added=2, changed=0, removed=0, unchanged=24, embedded=2, reused=0)
    assert contents(made)["zebras.md#zebras"][0].endswith("They are round.")
    found = answer("sync", made)
    assert found["sources"][0]["changed_files"] == ["zebras.md"]
    assert (found["changed"], found["added"], found["removed"]) == (1, 0, 0)


def test_no_other_writer_comes_between_the_plan_and_the_change(answer, docs, made, monkeypatch):
    (docs / "tea.md").write_text("# tea\nAll is new here.\n")
    plan, refused = cde_retrievers.corpora.sync.plan_update, []

    def meanwhile(*arguments, **options):
        with pytest.raises(IndexLockedError, match="following its sources"):
            ContextualIndex.open(made).delete(["bread.md#bread use"])
        refused.append(1)
        return plan(*arguments, **options)

    monkeypatch.setattr("cde_retrievers.corpora.sync.plan_update", meanwhile)
    answer("sync", made)
    assert refused
    assert "bread.md#bread use" in contents(made)


def test_a_change_within_a_change_is_refused_also_while_the_index_is_held(indexed):
    index = ContextualIndex.open(indexed)

    def documents():
        index.delete(["d0"])
        yield Document("a new text", "new")

    with index.exclusively("a test"):
        with pytest.raises(IndexLockedError):
            index.upsert(documents())
        assert index.delete(["d0"]) == ["d0"]
        assert index.upsert([Document("a new text", "new")]) == ["new"]
    assert ContextualIndex.open(indexed).delete(["new"]) == ["new"]


def test_add_embeds_no_text_that_the_index_has(answer, docs, made, tmp_path):
    other = shutil.copytree(docs, tmp_path / "other")
    (other / "moons.md").write_text("# moons\nThey are round.\n")
    found = answer("add", made, other, "--id-prefix", "copy/")
    assert (found["added"], found["embedded"], found["reused"]) == (25, 1, 24)
    index = ContextualIndex.open(made)
    ids = index.ids()
    copies = [identity for identity in ids if f"copy/{identity}" in ids]
    assert len(copies) == 24
    assert (index.vectors(copies) == index.vectors([f"copy/{identity}" for identity in copies])).all()
