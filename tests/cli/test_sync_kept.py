"""`sync` removes documents when their file is gone, and only then: not when it cannot be read at the moment."""

import errno
import os
from pathlib import Path

import pytest

from cde_retrievers.index import ContextualIndex

TOPICS = ["tea", "coffee", "rails", "whales", "bread", "stars", "rivers", "clocks"]
ANY = ("--split", "headings", "--max-words", 60, "--skip-errors", "--skip-empty", "--follow-links")


@pytest.fixture
def docs(tmp_path):
    """A folder with files of its own, below `sub`, and through a link to a folder elsewhere; two parts in each."""
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    (tmp_path / "mounted").mkdir()
    (docs / "link").symlink_to(tmp_path / "mounted")
    for number, topic in enumerate(TOPICS):
        folder = docs / ("sub" if number < 2 else "link" if number < 4 else "")
        (folder / f"{topic}.md").write_text(f"# {topic}\nIt is known.\n\n# {topic} age\nIt is old.\n")
    return docs


@pytest.fixture
def made(answer, docs, model_folder, tmp_path):
    answer("index", docs, "--out", tmp_path / "made", *ANY, "--model", model_folder)
    return tmp_path / "made"


def ids(path):
    return set(ContextualIndex.open(path).ids())


def refuse(monkeypatch, name, call="builtins.open"):
    """Refuse to open what has this name: permissions themselves do not stop the superuser, who may be running this."""
    plain = open if call == "builtins.open" else os.scandir

    def refusing(path, *arguments, **options):
        if isinstance(path, str | Path) and Path(path).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path, *arguments, **options)

    monkeypatch.setattr(call, refusing)


def lock_file(docs, monkeypatch):
    refuse(monkeypatch, "bread.md")
    return {"bread.md"}


def damage_file(docs, monkeypatch):
    (docs / "bread.md").write_bytes(b"# caf\xe9")
    return {"bread.md"}


def truncate_file(docs, monkeypatch):
    (docs / "bread.md").write_bytes(b"")
    return {"bread.md"}


def blank_file(docs, monkeypatch):
    (docs / "bread.md").write_bytes(b"\n\n<!-- copied soon -->\n")
    return {"bread.md"}


def lock_folder(docs, monkeypatch):
    refuse(monkeypatch, "sub", "os.scandir")
    return {"sub/tea.md", "sub/coffee.md"}


def take_the_mount_away(docs, monkeypatch):
    (docs.parent / "mounted").rename(docs.parent / "unmounted")
    return {"link/rails.md", "link/whales.md"}


def link_to_nowhere(docs, monkeypatch):
    (docs / "bread.md").unlink()
    (docs / "bread.md").symlink_to(docs.parent / "nowhere.md")
    return {"bread.md"}


def put_a_pipe_there(docs, monkeypatch):
    (docs / "bread.md").unlink()
    os.mkfifo(docs / "bread.md")
    return {"bread.md"}


@pytest.mark.parametrize(
    ("trouble", "command"),
    [
        *((trouble, "sync") for trouble in (lock_file, damage_file, truncate_file, blank_file, lock_folder)),
        *((trouble, "sync") for trouble in (take_the_mount_away, link_to_nowhere, put_a_pipe_there)),
        *((trouble, "prune") for trouble in (lock_file, lock_folder, truncate_file)),
    ],
)
def test_documents_of_a_file_that_was_not_read_stay_and_that_is_said(
    run, answer, docs, made, monkeypatch, trouble, command
):
    before = ids(made)
    (docs / "clocks.md").unlink()
    calls = {"sync": ("sync", made, "--yes"), "prune": ("add", made, docs, "--upsert", "--prune", "--yes")}
    with monkeypatch.context() as troubled:
        names = trouble(docs, troubled)
        if command == "sync":
            planned = answer("sync", made, "--dry-run")
            assert set(planned["sources"][0]["kept"]) == names
            assert (planned["kept"], planned["removed"]) == (2 * len(names), 2)
        result = run(*calls[command])
    assert result.exit_code == 0, result.stderr
    assert f"{2 * len(names)} documents stay as they are" in result.stderr
    for name in names:
        assert f"2 documents of {name}:" in result.stderr
    assert before - ids(made) == {"clocks.md#clocks", "clocks.md#clocks age"}
    found = answer("sync", made)
    assert (found["removed"], found["embedded"]) == (0, 0), "nothing is forgotten, and nothing is embedded again"
    for name in names:  # once the file is gone, so are they
        (docs / name).unlink(missing_ok=True)
    (docs / "link").unlink()
    found = answer("sync", made, "--yes")
    assert not {each for each in ids(made) if each.startswith((*names, "link"))}
    assert found["kept"] == 0


def test_what_ends_in_an_error_without_skip_errors_changes_nothing(run, docs, model_folder, tmp_path, monkeypatch):
    made = tmp_path / "made"
    assert run("index", docs, "--out", made, *ANY[:4], "--model", model_folder).exit_code == 0
    before = ids(made)
    (docs / "clocks.md").unlink()
    for trouble in (lock_file, damage_file, truncate_file, lock_folder):
        content = (docs / "bread.md").read_bytes()
        with monkeypatch.context() as troubled:
            trouble(docs, troubled)
            result = run("sync", made, "--yes")
        (docs / "bread.md").write_bytes(content)
        assert result.exit_code == 1, trouble
        assert ids(made) == before
    assert run("sync", made).exit_code == 0
    assert len(before) - len(ids(made)) == 2


def test_an_empty_source_removes_nothing(run, docs, made):
    before = ids(made)
    for path in sorted(docs.rglob("*.md")):
        path.unlink()
    (docs / "link").unlink()
    result = run("sync", made, "--yes")
    assert result.exit_code == 1
    assert "no files" in result.stderr
    assert ids(made) == before


def test_files_of_a_format_that_is_no_longer_read_keep_their_documents(answer, model_folder, tmp_path):
    """Source code is read where there is nothing else: a README turns that around."""
    code = tmp_path / "code"
    code.mkdir()
    for name in ("a", "b", "c", "d", "e"):
        (code / f"{name}.py").write_text(f"def {name}():\n    return 1\n")
    made = tmp_path / "made"
    answer("index", code, "--out", made, "--model", model_folder)
    (code / "README.md").write_text("# About\nIt is code.\n")
    found = answer("sync", made)
    assert (found["added"], found["removed"], found["kept"]) == (1, 0, 5)


def test_what_is_read_under_another_name_does_not_stay_under_the_old_one(answer, docs, model_folder, tmp_path):
    made = tmp_path / "made"
    answer("index", docs, "--out", made, *ANY[:4], "--model", model_folder)
    (docs / "sub").rename(docs / "moved")
    (docs / "sub").symlink_to("moved")
    found = answer("sync", made, "--yes")
    assert (found["added"], found["removed"], found["kept"], found["embedded"]) == (4, 4, 0, 0)


def test_a_source_loses_no_more_than_a_quarter_of_its_files_without_consent(run, answer, docs, made, more, tmp_path):
    """A share that lists half of its files would empty a small source of a large index."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("one", "two", "three"):
        (other / f"{name}.md").write_text(f"# {name}\nIt is a number.\n")
    answer("add", made, other)
    (other / "one.md").unlink()
    before = ids(made)
    result = run("sync", made)
    assert result.exit_code == 1
    assert f"1 of the 3 documents of {other} are of files that are not there any more" in result.stderr
    assert "--yes" in result.stderr
    assert ids(made) == before
    assert answer("sync", made, "--yes")["removed"] == 1
    (other / "two.md").write_text("# another heading\nIt is a number.\n")  # the file is there
    assert answer("sync", made)["removed"] == 1


def test_a_file_that_is_locked_is_no_reason_for_refit_to_warn(run, docs, made, monkeypatch):
    (docs / "bread.md").unlink()
    os.mkfifo(docs / "bread.md")
    assert "changed since they were read" not in run("refit", made, "--seed", 1).stderr


def test_a_record_without_files_keeps_what_may_be_of_a_file_that_was_not_read(answer, docs, made, monkeypatch):
    index = ContextualIndex.open(made)
    [record] = index.sources
    index.record_source(record.model_copy(update={"counts": {}}))  # as before files had ids
    before = ids(made)
    (docs / "clocks.md").unlink()
    with monkeypatch.context() as troubled:
        lock_file(docs, troubled)
        assert (answer("sync", made)["removed"], ids(made)) == (0, before)
    assert answer("sync", made)["removed"] == 2
