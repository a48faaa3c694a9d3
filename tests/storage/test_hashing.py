import pytest

from cde_retrievers.errors import PathInUseError
from cde_retrievers.storage.atomic import atomic_directory
from cde_retrievers.storage.hashing import sha256_of_file, sha256_of_json, write_json


def write(path, **files):
    with atomic_directory(path, is_ours=lambda folder: (folder / "a").exists()) as directory:
        for name, text in files.items():
            (directory / name).write_text(text)


def content(path):
    return {entry.name: entry.read_text() for entry in path.iterdir()}


def test_a_directory_appears_with_all_its_files(tmp_path):
    write(tmp_path / "new" / "deep", a="1", b="2")
    assert content(tmp_path / "new" / "deep") == {"a": "1", "b": "2"}
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["deep"]


def test_an_older_directory_is_replaced_whole(tmp_path):
    write(tmp_path / "it", a="1")
    write(tmp_path / "it", a="2", b="3")
    assert content(tmp_path / "it") == {"a": "2", "b": "3"}


def test_an_error_while_writing_leaves_the_old_one_and_nothing_else(tmp_path):
    write(tmp_path / "it", a="1")
    with pytest.raises(TypeError, match="data must be str"):
        write(tmp_path / "it", a="2", b=b"not a text")
    assert content(tmp_path / "it") == {"a": "1"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["it"]


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


def test_the_current_directory_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PathInUseError, match="is the current directory, which is not replaced; give a new one inside"):
        write(".", a="1")


def test_a_symbolic_link_is_followed(tmp_path):
    write(tmp_path / "real", a="1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", a="2")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"a": "2"}


def test_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with atomic_directory(tmp_path / "it", is_ours=lambda folder: True) as directory:
        (directory / "a").touch(mode=0o600)
    assert (tmp_path / "it" / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "it").write_text("a file")
    with pytest.raises(PathInUseError, match="is a file; give the path of a directory"):
        write(tmp_path / "it", a="1")


def test_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hash_of_json_ignores_the_order_of_keys(tmp_path):
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    assert sha256_of_json({"a": 1, "b": [2]}) != sha256_of_json({"a": 1, "b": [3]})
    write_json(tmp_path / "x.json", {"b": 1, "a": 2})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'


def test_a_directory_inside_can_be_entered(tmp_path):
    with atomic_directory(tmp_path / "outer", is_ours=lambda folder: False) as new:
        (new / "inner").mkdir()
        (new / "inner" / "file").write_text("x")
    assert (tmp_path / "outer" / "inner").stat().st_mode & 0o111
