"""A sealed file gives back what was written, or says what happened to it."""

import json

import pytest

from cde_retrievers.errors import ContextFileError
from cde_retrievers.storage.checked_json import read_checksummed, sealed


@pytest.mark.parametrize("version", [None, 3])
def test_what_was_sealed_is_read(tmp_path, version):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(sealed({"b": [1, "é"]}, version)))
    assert read_checksummed(path, ContextFileError, "restore it", version) == {"b": [1, "é"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1], r"a\.json is damaged: it is not valid JSON .*; restore it"),
        (lambda text: text.replace("1", "2"), r"a\.json was edited.*; restore it"),
        (lambda text: json.dumps([text]), r"a\.json was edited"),
        (lambda text: "null", r"a\.json was edited"),
        (
            lambda text: '{"b": ' + 100_000 * "[" + 100_000 * "]" + "}",
            r"a\.json is nested too deeply; restore it",
        ),
        (lambda text: "\udcff", r"a\.json is damaged"),
        (lambda text: json.dumps(sealed({"b": 1}, 4)), r"has format version 4, but this release reads 3; update"),
        (lambda text: json.dumps(sealed({"b": 1})), r"has format version None, but this release reads 3"),
    ],
)
def test_any_edit_is_noticed(tmp_path, change, message):
    path = tmp_path / "a.json"
    path.write_bytes(change(json.dumps(sealed({"b": 1}, 3))).encode("utf-8", "surrogateescape"))
    with pytest.raises(ContextFileError, match=message):
        read_checksummed(path, ContextFileError, "restore it", 3)
