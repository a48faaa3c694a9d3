"""JSON from outside gives a plain value or one kind of error."""

import os
import sys

import pytest

from cde_retrievers.errors import ContextFileError
from cde_retrievers.storage.checked_json import read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged: it is not valid JSON"),
        ("\udcff", "is damaged"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ("[-Infinity]", "-Infinity is not a finite number"),
        ("[1e400]", "1e400 is not a finite number"),
        ("9" * 5_000, "is damaged"),
        ("[" * 101 + "]" * 101, "is nested more than 100 levels deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "is nested more than 100 levels deep"),
        ("[" * 100_000, "is nested too deeply"),
        ("[" * 5_000 + "]" * 5_000, "is nested"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_not_plain_json_is_refused(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ContextFileError, match=rf"a\.json .*{message}.*; restore it"):
        read_json(path, ContextFileError, "restore it")


def test_what_is_read_can_be_written_from_a_deeper_stack(tmp_path):
    """A document that is admitted from a shallow stack must not fail later on a deep one."""
    path = tmp_path / "a.json"
    path.write_text("[" * 99 + "]" * 99)

    def deeper(levels):
        return deeper(levels - 1) if levels else read_json(path, ContextFileError, "restore it")

    depth = len(str(read_json(path, ContextFileError, "restore it")))
    assert len(str(deeper(sys.getrecursionlimit() // 2))) == depth


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_only_regular_files_are_read(tmp_path, make):
    make(tmp_path / "a.json")
    with pytest.raises(ContextFileError, match=r"a\.json is not a regular file and was not read; restore it"):
        read_json(tmp_path / "a.json", ContextFileError, "restore it")


def test_a_link_that_leads_nowhere_is_a_file_that_got_lost(tmp_path):
    os.symlink(tmp_path / "gone", tmp_path / "a.json")
    with pytest.raises(ContextFileError, match=r"a\.json is a broken link; restore it"):
        read_json(tmp_path / "a.json", ContextFileError, "restore it")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{}")

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(ContextFileError, match=r"a\.json cannot be read \(Permission denied\); restore it"):
        read_json(tmp_path / "a.json", ContextFileError, "restore it")


def test_a_missing_file_is_for_the_caller_to_explain(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json", ContextFileError, "restore it")
