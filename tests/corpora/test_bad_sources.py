"""Whatever is wrong with a source is said before anything is embedded: what, where, and the way out."""

import gzip
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions, judged_queries
from cde_retrievers.errors import (
    ConfigurationError,
    CorpusFileError,
    DuplicateIdError,
    InvalidDocumentError,
    InvalidTextError,
)

GOOD = b'{"id": "a", "text": "good"}\n'


@pytest.mark.parametrize(
    ("name", "content", "reading", "error", "message"),
    [
        ("a.jsonl", GOOD + b"{broken\n", {}, CorpusFileError, r"a\.jsonl:2 is not valid JSON: .*repair or remove"),
        ("a.jsonl", GOOD + b"[1]\n", {}, CorpusFileError, r"a\.jsonl:2 is a JSON list; every line must be an object"),
        ("a.jsonl", GOOD + b'{"text": "a", "text": "b"}\n', {}, CorpusFileError, r"the key 'text' is there twice"),
        ("a.jsonl", GOOD + b'{"text": NaN}\n', {}, CorpusFileError, r"a\.jsonl:2 is not valid JSON: NaN"),
        ("a.jsonl", b'{"body": "x", "n": 1}\n', {}, CorpusFileError, r"no column 'text', only \['body', 'n'\]"),
        ("a.jsonl", GOOD, {"id": "key"}, CorpusFileError, r"no column 'key', only \['id', 'text'\].*--id"),
        ("a.jsonl", GOOD, {"metadata": ("x",)}, CorpusFileError, r"a\.jsonl:1 has no column 'x'.*--metadata"),
        ("a.jsonl", b'{"text": null}\n', {}, InvalidTextError, r"a\.jsonl:1 has no text.*--skip-empty"),
        ("a.jsonl", b'{"text": "  "}\n', {}, InvalidTextError, r"a\.jsonl:1 has no text"),
        ("a.jsonl", b'{"text": ["x"]}\n', {}, InvalidTextError, r"a\.jsonl:1: column 'text' must .* found a list"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', {}, InvalidTextError, r"a\.jsonl:1: .*not valid Unicode"),
        ("a.jsonl", b'{"text": "x", "id": 7}\n', {}, InvalidDocumentError, r"a\.jsonl:1 has the id 7.*--ids-as-text"),
        ("a.jsonl", b'{"text": "x", "id": null}\n', {}, InvalidDocumentError, r"has the id None"),
        ("a.jsonl", b'{"text": "x", "id": true}\n', {"ids_as_text": True}, InvalidDocumentError, r"has the id True"),
        ("a.jsonl", b'{"text": "x", "id": ""}\n', {}, InvalidDocumentError, r"must be a non-empty text"),
        ("a.jsonl", GOOD + b"\n" + GOOD, {}, DuplicateIdError, r"a\.jsonl:3 has the id 'a', which .*:1 already has"),
        ("a.jsonl", b'{"text": "x", "y": 1, "metadata": {"y": 2}}', {}, InvalidDocumentError, r"'y' both as a column"),
        ("a.jsonl", b"", {}, CorpusFileError, r"a\.jsonl has no rows"),
        ("a.jsonl", b"", {"skip_empty": True}, CorpusFileError, r"a\.jsonl holds no documents"),
        ("a.jsonl", GOOD + b'{"text": "caf\xe9"}', {}, CorpusFileError, r"byte 41 \(in line 2\) is 0xe9.*--encoding"),
        ("a.csv", b"id;text;n\n1;x;y\n", {}, CorpusFileError, r"no column 'text'.*separated by ';'.*--delimiter ';'\)"),
        ("a.csv", b"id,,text,,n\n1,,x,,1\n", {}, CorpusFileError, r"two columns called ''; name each, or remove those"),
        ("a.csv", b"text\n\xff\n", {}, CorpusFileError, r"not utf-8 text: byte 5 \(in line 2\) is 0xff"),
        ("a.csv", b"id;text\n1;x\n", {}, CorpusFileError, r"a\.csv:2 has no column 'text', only \['id;text'\]"),
        ("a.csv", b"id,text\n1,x,y\n", {}, CorpusFileError, r"a\.csv:2 has 3 cells, but the first line names 2"),
        ("a.csv", b"id,text\n1\n", {}, CorpusFileError, r"a\.csv:2 has 1 cells"),
        ("a.csv", b'id,text\n1,"x\n', {}, CorpusFileError, r"a\.csv:2 is not valid CSV"),
        ("a.csv", b"id,text,text\n1,x,y\n", {}, CorpusFileError, r"two columns called 'text'"),
        ("a.csv", b"id,text\n,x\n", {}, InvalidDocumentError, r"a\.csv:2 has the id None"),
        ("a.csv", b"id,text\n1,\n", {}, InvalidTextError, r"a\.csv:2 has no text"),
        ("a.csv", b"text,n\nx,many\n", {"numbers": ("n",)}, InvalidDocumentError, r"a\.csv:2: column 'n' holds 'many'"),
        ("a.csv", b"text\nx\n", {"numbers": ("n",)}, CorpusFileError, r"no column 'n', only \['text'\].*--number"),
        ("a.csv", b"text\n", {}, CorpusFileError, r"a\.csv has no rows"),
        ("a.csv", b"", {}, CorpusFileError, r"a\.csv has no rows"),
        ("a.jsonl.gz", gzip.compress(GOOD)[:-9], {}, CorpusFileError, r"a\.jsonl\.gz cannot be read"),
        ("a.jsonl.gz", GOOD, {}, CorpusFileError, r"a\.jsonl\.gz cannot be read: Not a gzipped file"),
        ("a.txt", b"", {}, InvalidTextError, r"a\.txt has no text"),
        ("a.txt", b"caf\xe9", {}, CorpusFileError, r"a\.txt is not utf-8 text: byte 3 \(in line 1\) is 0xe9"),
        ("a.odt", b"x", {}, CorpusFileError, r"cannot be told from the file's ending.*--format"),
        ("a.txt", b"x", {"text": ("body",)}, ConfigurationError, r"text= is for json and jsonl .*documents are text"),
        ("a.txt", b"x", {"endings": (".txt",)}, ConfigurationError, r"endings= .* is a file"),
        ("a.jsonl", GOOD, {"delimiter": ";"}, ConfigurationError, r"delimiter= is for csv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path, name, content, reading, error, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        Corpus(tmp_path / name, ReadOptions(**reading)).check()


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1, (1 << 20) + 5])
def test_a_bad_byte_far_into_a_file_is_named(tmp_path, size):
    # The first of the two bytes of "é" may end one chunk, and what follows begin the next.
    (tmp_path / "a.txt").write_bytes(b"x" * (size - 2) + "é".encode() + b"\xc3(")
    with pytest.raises(CorpusFileError, match=rf"byte {size} \(in line 1\) is 0xc3"):
        Corpus(tmp_path / "a.txt").check()


def test_a_file_that_is_no_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(CorpusFileError, match=r"a\.parquet cannot be read as Parquet"):
        Corpus(tmp_path / "a.parquet").check()


def test_metadata_that_json_cannot_hold_names_its_row(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([{"text": "x", "image": b"\x00"}]), tmp_path / "a.parquet")
    with pytest.raises(InvalidDocumentError, match=r"a\.parquet:1: .*metadata\['image'\] is a bytes.*--metadata"):
        Corpus(tmp_path / "a.parquet").check()


def test_an_id_that_is_taken_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    with pytest.raises(DuplicateIdError, match=r"a\.jsonl:1 has the id 'a', which is already in the index.*--upsert"):
        Corpus(tmp_path / "a.jsonl").check(taken={"a"})


def test_where_there_is_nothing_to_read_that_is_said(tmp_path):
    with pytest.raises(CorpusFileError, match=r"does not exist"):
        Corpus(tmp_path / "nothing")
    with pytest.raises(CorpusFileError, match=r"no files that end in .*\.md.* \(it is empty\).*--ending"):
        Corpus(tmp_path)
    (tmp_path / "a.odt").write_bytes(b"x")
    with pytest.raises(CorpusFileError, match=r"\(\.odt: 1\)"):
        Corpus(tmp_path)
    with pytest.raises(CorpusFileError, match=r"is not a BEIR folder"):
        Corpus(tmp_path, ReadOptions(format="beir"))


def test_a_folder_of_several_formats_needs_a_choice(tmp_path):
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    with pytest.raises(CorpusFileError, match=r"several formats.*--format.*\['text', 'jsonl'\]"):
        Corpus(tmp_path)
    assert [d.id for d in Corpus(tmp_path, ReadOptions(format="jsonl"))] == ["a"]


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "secret").mkdir()
    scan = os.scandir

    def refusing(path):
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    # The permissions themselves do not stop the superuser, who may be running this.
    monkeypatch.setattr("os.scandir", refusing)
    with pytest.raises(CorpusFileError, match=r"secret cannot be read: Permission denied"):
        Corpus(tmp_path)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"format": "pdf"}, r"format 'pdf' is unknown; use one of \['text'"),
        ({"split": "pages"}, r"split 'pages' is unknown"),
        ({"split": "paragraphs", "max_words": 0}, r"max_words must be a positive whole number"),
        ({"max_words": 100}, r"give split='paragraphs' or split='headings' too"),
        ({"chunk_tokens": 100}, r"chunk_tokens is about .* give split='paragraphs' or split='headings' too"),
        ({"overlap": 5}, r"overlap is about .* give split='paragraphs' or split='headings' too"),
        ({"split": "headings", "chunk_tokens": 0}, r"chunk_tokens must be a positive whole number"),
        ({"split": "headings", "overlap": -1}, r"overlap must be a number of tokens, 0 or more"),
        ({"split": "headings", "chunk_tokens": 9, "max_words": 9}, r"both say how long a part is; give one of them"),
        ({"delimiter": "::"}, r"one character"),
        ({"encoding": "utf-9"}, r"encoding 'utf-9' is unknown"),
        ({"encoding": "hex"}, r"encoding 'hex' is unknown, or not a text encoding"),
        ({"encoding": "rot13"}, r"encoding 'rot13' is unknown, or not a text encoding"),
        ({"encoding": "base64"}, r"encoding 'base64' is unknown, or not a text encoding"),
        ({"encoding": "utf-8\0"}, r"is unknown, or not a text encoding"),
        ({"delimiter": '"'}, r"one character other than a quote or a line end"),
        ({"delimiter": "\n"}, r"one character other than a quote or a line end"),
        ({"max_characters": 0}, r"max_characters must be a positive whole number"),
        ({"format": ["csv"]}, r"format \['csv'\] is unknown"),
        ({"encoding": None}, r"encoding is None"),
        ({"encoding": 8}, r"encoding is 8"),
        ({"endings": ".csv"}, r"endings is '\.csv'"),
        ({"endings": [5]}, r"endings is \(5,\)"),
        ({"text": "body"}, r"text is 'body'"),
        ({"id": 5}, r"id is 5"),
        ({"metadata": "topic"}, r"metadata is 'topic'"),
        ({"numbers": 7}, r"numbers is 7"),
        ({"delimiter": 9}, r"delimiter is 9"),
        ({"ids_as_text": "yes"}, r"ids_as_text is 'yes'"),
        ({"id_prefix": None}, r"id_prefix is None"),
        ({"skip_empty": 1}, r"skip_empty is 1"),
        ({"split": "headings", "max_words": 1.5}, r"max_words is 1\.5"),
        ({"split": "headings", "max_words": True}, r"max_words is True"),
        ({"max_characters": "many"}, r"max_characters is 'many'"),
        ({"follow_links": "no"}, r"follow_links is 'no'"),
    ],
)
def test_impossible_choices_are_refused(choice, message):
    with pytest.raises(ConfigurationError, match=message):
        ReadOptions(**choice)


def test_a_list_of_endings_is_as_good_as_a_tuple(tmp_path):
    (tmp_path / "a.log").write_text("x")
    reading = ReadOptions(endings=[".log"])
    assert reading == ReadOptions(endings=(".log",))
    assert [document.id for document in Corpus(tmp_path, reading)] == ["a.log"]


def test_options_come_back_from_json_as_they_were():
    reading = ReadOptions(format="csv", text=("a", "b"), metadata=(), numbers=("n",), split="headings", overlap=9)
    assert ReadOptions(**json.loads(json.dumps(asdict(reading)))) == reading


@pytest.mark.parametrize("path", [5, None, b"docs", ["docs"]])
def test_what_is_no_path_is_refused(path):
    for read in (Corpus, lambda path: judged_queries(path, ())):
        with pytest.raises(
            ConfigurationError,
            match=r"must be a (?:str or a pathlib\.Path|path \((?:text|str) or pathlib\.Path\)), found",
        ):
            read(path)


def test_a_reading_is_no_dictionary(tmp_path):
    with pytest.raises(ConfigurationError, match=r"reading must be a ReadOptions or None, found .*dict"):
        Corpus(tmp_path, {"format": "text"})
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigurationError, match=r"taken must be a collection of ids, found a int"):
        Corpus(tmp_path).check(taken=5)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 300, "a.txt/b"])
def test_names_that_no_file_can_have(tmp_path, name):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(
        (CorpusFileError, ConfigurationError),
        match=r"does not exist|File name too long|a character that a file name cannot have",
    ):
        Corpus(f"{tmp_path}/{name}")


def test_messages_about_options_name_those_of_the_command_line():
    """What a message calls `text= (--text)` exists under both names."""
    from dataclasses import fields

    import cde_retrievers.corpora

    sources = "".join(path.read_text() for path in Path(cde_retrievers.corpora.__file__).parent.glob("*.py"))
    named = set(re.findall(r"(\w+)=(?:True)? \"?\s*f?\"?\(--[\w-]+\)", sources))
    assert {"text", "id", "metadata", "skip_empty", "encoding"} <= named
    assert named - {"upsert"} <= {field.name for field in fields(ReadOptions)}
