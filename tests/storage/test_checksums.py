"""Every file in a directory is vouched for: what differs is named, what is never read may lie there."""

import json
import os

import pytest

from cde_retrievers.errors import CheckpointError
from cde_retrievers.storage.checked_json import sealed
from cde_retrievers.storage.checksums import CHECKSUMS_FILE, check_files, read_checksums, write_checksums


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    (folder / "part" / "b.safetensors").write_bytes(b"weights")
    write_checksums(folder)
    return folder


def check(folder, **options):
    check_files(folder, read_checksums(folder, CheckpointError, "save it again"), CheckpointError, "again", **options)


def test_a_whole_directory_passes_with_what_nobody_reads(folder):
    (folder / "README.md").write_text("hello")
    (folder / "notes.json").write_text("{}")
    (folder / "._b.safetensors").write_bytes(b"what some systems put beside every file")
    check(folder)
    assert sorted(read_checksums(folder, CheckpointError, "")) == ["a.json", "part/b.safetensors"]


@pytest.mark.parametrize("name", ["a.json", "part/b.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"other"), "is damaged or not the expected file: its sha256 is .*; again"),
        (lambda path: path.unlink(), "is missing; again"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file; again"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file; again"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "is not a regular file; again"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "is missing; again"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, name, damage, message):
    damage(folder / name)
    with pytest.raises(CheckpointError, match=f"{name} {message}"):
        check(folder)


def test_a_link_to_the_same_content_is_followed(folder, tmp_path):
    (folder / "a.json").rename(tmp_path / "blob")
    (folder / "a.json").symlink_to(tmp_path / "blob")
    check(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "part/adapter.safetensors", "model.safetensors.index.json", "optimizer.bin"),
        *("pytorch_model.bin", "rng_state.pth", "scaler.pt", "read.json"),
    ],
)
def test_a_further_file_that_would_be_read_is_refused(folder, name):
    (folder / name).write_bytes(b"more")
    with pytest.raises(CheckpointError, match=f"{name} was added: .*; remove it, or again"):
        check(folder, read=["read.json"])


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"files": []},
        {"files": {"a.json": 0}},
        {"files": {"a.json": "A" * 64}},
        {"files": {"../a.json": "a" * 64}},
        {"files": {"part/../../a.json": "a" * 64}},
        {"files": {"/etc/passwd": "a" * 64}},
        {"files": {}, "more": 1},
    ],
)
def test_a_list_that_we_would_not_write_is_refused(folder, content):
    (folder / CHECKSUMS_FILE).write_text(json.dumps(sealed(content, 1)))
    with pytest.raises(CheckpointError, match=r"checksums\.json is not a list of checksums .*; save it again"):
        read_checksums(folder, CheckpointError, "save it again")
