"""What is saved appears whole or not at all, is written through nothing that lies in wait, and is swept after kills."""

import errno
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from disk_events import killed_at, no_exchange

from cde_retrievers.errors import ConfigurationError, PathInUseError, WriteError
from cde_retrievers.storage import scratch
from cde_retrievers.storage.atomic import atomic_directory, recovered, replace_bytes, replace_json
from cde_retrievers.storage.scratch import NEW, OLD, is_scratch, scratch_beside, sweep

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def write(path, **files):
    with atomic_directory(path, is_ours=lambda folder: (folder / "a").exists()) as directory:
        for name, text in files.items():
            (directory / name).write_text(text)


def content(path):
    return {entry.name: entry.read_text() for entry in path.iterdir()}


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def left_by_a_kill(target):
    """The scratch directory of a save that was killed when the new directory was written."""
    child = os.fork()
    if child == 0:
        with atomic_directory(target, is_ours=lambda _: True) as new:
            (new / "a").write_text("half")
            os._exit(0)
    os.waitpid(child, 0)
    [found] = [entry for entry in target.parent.iterdir() if is_scratch(entry)]
    return found


def test_a_directory_appears_with_all_its_files(tmp_path):
    write(tmp_path / "new" / "deep", a="1", b="2")
    assert content(tmp_path / "new" / "deep") == {"a": "1", "b": "2"}
    assert names(tmp_path / "new") == ["deep"]


def test_an_older_directory_is_replaced_whole(tmp_path):
    write(tmp_path / "it", a="1")
    write(tmp_path / "it", a="2", b="3")
    assert content(tmp_path / "it") == {"a": "2", "b": "3"}
    with no_exchange():
        write(tmp_path / "it", a="4", b="5")
    assert content(tmp_path / "it") == {"a": "4", "b": "5"}
    assert names(tmp_path) == ["it"]


def test_an_empty_directory_is_replaced(tmp_path):
    (tmp_path / "it").mkdir()
    write(tmp_path / "it", a="1")
    assert content(tmp_path / "it") == {"a": "1"}


def test_an_error_while_writing_leaves_the_old_one_and_nothing_else(tmp_path):
    write(tmp_path / "it", a="1")
    with pytest.raises(TypeError, match="data must be str"):
        write(tmp_path / "it", a="2", b=b"not a text")
    assert content(tmp_path / "it") == {"a": "1"}
    assert names(tmp_path) == ["it"]


def test_other_peoples_files_are_never_lost(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(PathInUseError, match="already holds other files; give a directory of its own"):
        write(tmp_path, a="1")
    assert content(tmp_path) == {"thesis.txt": "years of work"}


def test_files_added_to_ours_are_never_lost(tmp_path):
    write(tmp_path / "it", a="1")
    (tmp_path / "it" / "notes.txt").write_text("mine")
    with pytest.raises(PathInUseError, match=r"already holds other files \(notes.txt\)"):
        write(tmp_path / "it", a="2")
    assert content(tmp_path / "it") == {"a": "1", "notes.txt": "mine"}


def test_nor_are_those_added_further_down(tmp_path):
    def write_nested():
        with atomic_directory(tmp_path / "it", is_ours=lambda _: True) as new:
            (new / "inner").mkdir()
            (new / "inner" / "a").write_text("1")

    write_nested()
    (tmp_path / "it" / "inner" / "notes.txt").write_text("mine")
    with pytest.raises(PathInUseError, match=r"already holds other files \(inner.notes.txt\)"):
        write_nested()
    assert content(tmp_path / "it" / "inner") == {"a": "1", "notes.txt": "mine"}


def test_files_that_appear_while_it_is_written_are_not_lost(tmp_path):
    def write_slowly():
        with atomic_directory(tmp_path / "it", is_ours=lambda _: False) as new:
            (new / "a").write_text("1")
            (tmp_path / "it").mkdir()
            (tmp_path / "it" / "thesis.txt").write_text("years of work")

    with pytest.raises(PathInUseError, match="already holds other files"):
        write_slowly()
    assert content(tmp_path / "it") == {"thesis.txt": "years of work"}
    assert names(tmp_path) == ["it"]


@pytest.mark.parametrize("inside", [".", "inner"])
def test_a_directory_that_the_process_works_in_is_not_replaced(tmp_path, monkeypatch, inside):
    write(tmp_path / "it", a="1")
    (tmp_path / "it" / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "it" / inside)
    with pytest.raises(
        PathInUseError, match="is the current directory, which cannot be replaced; give a new one inside"
    ):
        write(tmp_path / "it", a="1")


def test_a_symbolic_link_to_a_directory_is_followed(tmp_path):
    write(tmp_path / "real", a="1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", a="2")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"a": "2"}


def test_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with atomic_directory(tmp_path / "it", is_ours=lambda folder: True) as directory:
        (directory / "a").touch(mode=0o600)
        (directory / "inner").mkdir()
        (directory / "inner" / "b").touch(mode=0o600)
    replace_bytes(tmp_path / "c", b"")
    for path in ("it/a", "it/inner/b", "c"):
        assert (tmp_path / path).stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "it" / "inner").stat().st_mode & 0o111


def test_a_file_is_replaced_whole(tmp_path):
    replace_bytes(tmp_path / "it", b"1")
    replace_json(tmp_path / "it", {"a": 2})
    assert (tmp_path / "it").read_text() == '{\n "a": 2\n}\n'
    assert names(tmp_path) == ["it"]


def test_a_symbolic_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "theirs").write_text("years of work")
    (tmp_path / "it").symlink_to(tmp_path / "theirs")
    replace_bytes(tmp_path / "it", b"1")
    assert (tmp_path / "theirs").read_text() == "years of work"
    assert (tmp_path / "it").read_bytes() == b"1"


def test_nothing_that_lies_in_wait_beside_it_is_written_through(tmp_path, monkeypatch):
    (tmp_path / "theirs").write_text("years of work")
    (tmp_path / "other").mkdir()
    (tmp_path / ".it.new").symlink_to(tmp_path / "theirs")
    made, guess = [], os.mkdir

    def guessed(path, *args, **kwargs):
        """Whoever guesses the first name puts a link there."""
        if is_scratch(Path(path)) and not made:
            made.append(Path(path))
            made[0].symlink_to(tmp_path / "other")
        guess(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", guessed)
    replace_bytes(tmp_path / "it", b"1")
    assert made[0].is_symlink()
    assert (tmp_path / "theirs").read_text() == "years of work"
    assert names(tmp_path / "other") == []
    assert (tmp_path / "it").read_bytes() == b"1"


def test_the_longest_name_can_be_given(tmp_path):
    write(tmp_path / ("d" * 255), a="1")
    replace_bytes(tmp_path / ("f" * 255), b"1")
    with pytest.raises(WriteError, match="the name is too long; give a shorter one"):
        write(tmp_path / ("d" * 256), a="1")
    with pytest.raises(WriteError, match="the name is too long; give a shorter one"):
        replace_bytes(tmp_path / ("f" * 256), b"1")


def broken_link(folder):
    (folder / "it").symlink_to(folder / "nowhere")
    return folder / "it" / "inner"


def circle(folder):
    (folder / "it").symlink_to(folder / "other")
    (folder / "other").symlink_to(folder / "it")
    return folder / "it" / "inner"


def file_above(folder):
    (folder / "it").write_text("a file")
    return folder / "it" / "inner"


def pipe(folder):
    os.mkfifo(folder / "it")
    return folder / "it"


BAD_PATHS = [
    (broken_link, PathInUseError, r"it is a symbolic link to .*nowhere, which does not exist; make that, or remove"),
    (circle, PathInUseError, r"symbolic link"),
    (file_above, PathInUseError, r"it is a file; give the path of a directory"),
    (lambda folder: folder / "a\0b", ConfigurationError, r"has a character that a file name cannot have"),
    (lambda folder: f"{folder}/a\ud800b", ConfigurationError, r"has a character that a file name cannot have"),
    (lambda _: 5, ConfigurationError, r"path must be a str or a pathlib\.Path, found int"),
    (lambda _: None, ConfigurationError, r"path must be a str or a pathlib\.Path, found NoneType"),
    (lambda _: "", ConfigurationError, r"path must be a path, found an empty string"),
    (lambda _: ".", PathInUseError, r"is the current directory|is a directory"),
    pytest.param(pipe, PathInUseError, r"is a (file|device or a pipe); give the path of a", marks=needs_fork),
]


@pytest.mark.parametrize("save", [write, lambda path: replace_bytes(path, b"1")], ids=["directory", "file"])
@pytest.mark.parametrize(("make", "error", "message"), BAD_PATHS)
def test_what_is_no_place_to_write_is_refused(tmp_path, make, error, message, save):
    path = make(tmp_path)
    before = names(tmp_path)
    with pytest.raises(error, match=message):
        save(path)
    assert names(tmp_path) == before


def test_a_directory_in_the_way_of_a_file_and_the_reverse(tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(PathInUseError, match="is a file; give the path of a directory"):
        write(tmp_path / "file", a="1")
    with pytest.raises(PathInUseError, match="is a directory; give the path of a file, which may be inside it"):
        replace_bytes(tmp_path, b"1")


def test_a_file_is_not_written_where_its_directory_went(tmp_path):
    with pytest.raises(WriteError, match=r"its directory does not exist; make it"):
        replace_bytes(tmp_path / "moved" / "it", b"1")
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, monkeypatch, number):
    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    for save in (write, lambda path: replace_bytes(path, b"1")):
        with pytest.raises(
            WriteError, match=r"cannot write to .*it: .*try again; nothing that was there before is lost"
        ):
            save(tmp_path / "it")


def test_errors_of_whoever_fills_the_directory_are_theirs(tmp_path):
    with (
        pytest.raises(PermissionError, match="secret"),
        atomic_directory(tmp_path / "it", is_ours=lambda _: True),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/secret.txt")


def test_one_save_at_a_time_wins_and_none_is_mixed(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: write(tmp_path / "it", a=str(i), b=str(i)), range(40)))
        list(threads.map(lambda i: replace_bytes(tmp_path / "file", bytes([i] * 100)), range(40)))
    assert len(set(content(tmp_path / "it").values())) == 1
    assert len(set((tmp_path / "file").read_bytes())) == 1
    assert names(tmp_path) == ["file", "it"]


@pytest.mark.skipif(sys.platform == "win32", reason="a locked file cannot be removed there")
def test_a_directory_swept_before_its_record_is_locked_is_not_written_to(tmp_path, monkeypatch):
    opened, swept, claimed = Event(), Event(), Event()
    lock, remove = scratch._lock, scratch._remove_cleared

    def lock_late(record, wait):
        if wait:
            opened.set()
            swept.wait()
        return lock(record, wait)

    def remove_late(folder):
        swept.set()
        claimed.wait(0.3)  # whoever waits for the lock may not get it yet
        remove(folder)

    def save():
        with scratch_beside(tmp_path / "it") as folder:
            claimed.set()
            return folder.is_dir()

    monkeypatch.setattr(scratch, "_lock", lock_late)
    with ThreadPoolExecutor(1) as threads:
        saved = threads.submit(save)
        opened.wait()
        monkeypatch.setattr(scratch, "_remove_cleared", remove_late)
        sweep(tmp_path / "it")
        monkeypatch.setattr(scratch, "_remove_cleared", remove)
        assert saved.result()
    assert names(tmp_path) == []


@needs_fork
def test_what_a_kill_left_is_swept_by_the_next_save_to_the_same_path(tmp_path):
    scratch = left_by_a_kill(tmp_path / "it")
    write(tmp_path / "other", a="1")
    assert scratch.exists()
    write(tmp_path / "it", a="1")
    assert names(tmp_path) == ["it", "other"]


@needs_fork
@pytest.mark.parametrize(
    "change",
    [
        lambda scratch: (scratch / "notes.txt").write_text("mine"),
        lambda scratch: (scratch / "record.json").write_text("{}"),
        lambda scratch: (scratch / "record.json").write_text("not JSON"),
        lambda scratch: (scratch / "record.json").write_text('{"made_by": "cde_retrievers", "target": "other"}'),
        lambda scratch: (scratch / "record.json").unlink(),
        lambda scratch: ((scratch / "record.json").unlink(), (scratch / "record.json").symlink_to("/dev/null")),
    ],
)
def test_what_we_did_not_record_is_not_swept(tmp_path, change):
    scratch = left_by_a_kill(tmp_path / "it")
    change(scratch)
    before = names(scratch)
    write(tmp_path / "it", a="1")
    assert names(scratch) == before
    assert (scratch / NEW / "a").read_text() == "half"


@needs_fork
@pytest.mark.parametrize("content", [b"", bytes(60)])
def test_what_a_power_cut_left_is_swept(tmp_path, content):
    scratch = left_by_a_kill(tmp_path / "it")
    (scratch / "record.json").write_bytes(content)
    write(tmp_path / "it", a="1")
    assert names(tmp_path) == ["it"]


@needs_fork
def test_no_link_is_followed_when_sweeping(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("years of work")
    scratch = left_by_a_kill(tmp_path / "it")
    (scratch / OLD).symlink_to(tmp_path / "theirs")
    (scratch / NEW / "inner").symlink_to(tmp_path / "theirs")
    outside = scratch.rename(tmp_path / "moved")
    scratch.symlink_to(outside)
    sweep(tmp_path / "it")
    assert names(outside) == ["new", "old", "record.json"]  # reached through a link only
    scratch.unlink()
    outside.rename(scratch)
    sweep(tmp_path / "it")
    assert not scratch.exists()
    assert content(tmp_path / "theirs") == {"thesis.txt": "years of work"}


def test_the_scratch_of_a_living_save_is_left_alone(tmp_path):
    with scratch_beside(tmp_path / "it") as scratch:
        sweep(tmp_path / "it")
        assert scratch.exists()
    assert not scratch.exists()


def test_a_reader_finishes_what_was_interrupted_between_two_renames(tmp_path):
    write(tmp_path / "it", a="old")
    number = 0
    while (tmp_path / "it").exists():
        with no_exchange():
            assert killed_at(number, lambda: write(tmp_path / "it", a="new"))
        number += 1
    assert content(recovered(tmp_path / "it")) == {"a": "new"}
    write(tmp_path / "it", a="newer")
    assert names(tmp_path) == ["it"]


@needs_fork
def test_what_was_removed_on_purpose_does_not_come_back(tmp_path):
    scratch = left_by_a_kill(tmp_path / "it")
    assert not recovered(tmp_path / "it").exists()
    (scratch / NEW).rename(scratch / OLD)  # killed when the new one was in place, which was removed later
    assert not recovered(tmp_path / "it").exists()


def test_the_old_one_is_put_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "it", a="old")
    rename = os.rename

    def fail_once(source, target, **kwargs):
        if Path(source).name == NEW:
            raise OSError(errno.EIO, "Input/output error", str(source))
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "rename", fail_once)
    with no_exchange(), pytest.raises(WriteError, match="the device reported an error"):
        write(tmp_path / "it", a="new")
    assert content(tmp_path / "it") == {"a": "old"}
    assert names(tmp_path) == ["it"]


def test_what_was_there_before_stays_if_the_new_name_cannot_be_synced(tmp_path, monkeypatch):
    """The new one is in place, but a power cut could undo that."""
    write(tmp_path / "it", a="old")
    fsync, in_place = os.fsync, (tmp_path / "it").stat().st_ino

    def fail(descriptor):
        if (tmp_path / "it").stat().st_ino != in_place:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(WriteError, match="the device reported an error"):
            write(tmp_path / "it", a="new")
    [scratch] = [entry for entry in tmp_path.iterdir() if is_scratch(entry)]
    assert content(scratch / NEW) == {"a": "old"}
    write(tmp_path / "it", a="newer")
    assert names(tmp_path) == ["it"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no renameat2")
def test_linux_exchanges_in_one_instant(tmp_path, monkeypatch):
    write(tmp_path / "it", a="1")
    monkeypatch.setattr("cde_retrievers.storage.atomic._exchange_in_two_steps", None)
    write(tmp_path / "it", a="2")
    assert content(tmp_path / "it") == {"a": "2"}
