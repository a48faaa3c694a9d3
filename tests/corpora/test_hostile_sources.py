"""Sources that were made to hang a program, to fill its memory or to lead it elsewhere, and those that are just odd."""

import csv
import gzip
import json
import logging
import os
import random
import socket
import tracemalloc
from decimal import Decimal

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions, judged_queries
from cde_retrievers.corpora.decoding import MAX_DEPTH, parse_json
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.formats import json_rows
from cde_retrievers.corpora.pseudo_queries import first_sentence, without_beginning
from cde_retrievers.corpora.records import Record
from cde_retrievers.corpora.splitting import PartRules, markdown_sections, split_record
from cde_retrievers.corpora.token_count import token_count
from cde_retrievers.errors import CDEError, ConfigurationError, CorpusFileError, InvalidDocumentError
from cde_retrievers.retrieval.document import Document

LONG = 200_000  # what takes the square of the time would take hours for so many characters


def ids(path, **reading) -> list[str]:
    return [document.id for document in Corpus(path, ReadOptions(**reading))]


# Time


@pytest.mark.parametrize("space", [" ", "\t", " \t", "#", "# "])
def test_a_heading_full_of_spaces_takes_no_longer_than_other_texts(space):
    line = "# a" + space * LONG + "x"
    assert "".join(section.text for section in markdown_sections(f"{line}\n## b {space * 300}\n")).startswith(line)
    # Of several closing marks with spaces between, the last alone closes.
    assert markdown_sections(f"## b {space * 300}\n")[1].heading == ("b" + " #" * 299 if space == "# " else "b")


@pytest.mark.parametrize(
    "text",
    [
        "\n" * LONG + "x",
        ("\n" + " " * 50) * (LONG // 50) + "x",
        "\n" + " " * LONG + "x",
        "x" + " " * LONG + "y.",
        "." * LONG,
        ". " * (LONG // 2),
        "(" * LONG + "." + ")" * LONG + "x",
        "# " * (LONG // 2),
        "```\n" * (LONG // 4),
    ],
    ids=lambda text: repr(text[:6]),
)
def test_texts_of_one_kind_of_mark_are_split_in_linear_time(text):
    rules = PartRules.of(token_count(None), None, 20)
    for by_headings in (True, False):
        assert list(split_record(Record("here", Document(text, "x")), by_headings, rules))
    first_sentence(text)


@pytest.mark.parametrize("mark", ["- ", "-", "#", ". ", "a ", "a. ", "a", "\n", "! "])
def test_a_query_is_taken_out_of_a_beginning_in_linear_time(mark):
    for query in (mark * (LONG // 20) + "x", mark, "x"):
        without_beginning(mark * (LONG // len(mark)) + "y", query)
    if mark in ("- ", "-", "#", ". ", "\n"):
        assert without_beginning(f"{mark}The title.\n\nThe text.", "The title") == "The text."


def test_as_many_columns_as_a_line_holds(tmp_path):
    columns = [f"c{i}" for i in range(LONG)]
    (tmp_path / "a.csv").write_text(",".join(columns) + "\n")
    with pytest.raises(CorpusFileError, match=r"has no rows"):
        Corpus(tmp_path / "a.csv").check()


def test_a_heading_is_not_copied_into_every_part_where_it_is_as_long_as_a_text():
    sections = markdown_sections("# " + "long " * 300 + "\ntext")
    assert [section.heading for section in sections] == [None]


# What is no file


@pytest.fixture
def special(tmp_path):
    """A folder with a document, a pipe and a socket that are called like documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("text")
    os.mkfifo(folder / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        # Paths of sockets are short.
        here = os.getcwd()
        os.chdir(folder)
        listening.bind("socket.md")
        os.chdir(here)
    return folder


def test_pipes_and_sockets_in_a_folder_are_left_out_and_reported(special, caplog):
    with caplog.at_level(logging.WARNING):
        assert ids(special) == ["a.md"]
    assert "a named pipe: 1, such as pipe.md" in caplog.text
    assert "a socket: 1, such as socket.md" in caplog.text


@pytest.mark.parametrize(("name", "kind"), [("pipe.md", "a named pipe"), ("socket.md", "a socket")])
def test_pipes_and_sockets_are_refused_by_name(special, name, kind):
    with pytest.raises(CorpusFileError, match=rf"{name} is {kind}, which cannot be read .* to a file"):
        Corpus(special / name)


@pytest.mark.parametrize("format", ["text", "jsonl", "csv", "parquet"])
def test_devices_are_refused(format):
    with pytest.raises(CorpusFileError, match=r"/dev/zero is a device"):
        Corpus("/dev/zero", ReadOptions(format=format))


def test_a_file_that_becomes_a_pipe_is_not_waited_for(special):
    corpus = Corpus(special)
    (special / "a.md").unlink()
    os.mkfifo(special / "a.md")
    with pytest.raises(CorpusFileError, match=r"a\.md is a named pipe"):
        corpus.check()


def test_a_file_that_vanishes_is_named(tmp_path):
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "b.md").write_text("b")
    documents = iter(Corpus(tmp_path))
    next(documents)
    (tmp_path / "b.md").unlink()
    with pytest.raises(CorpusFileError, match=r"b\.md cannot be read: No such file"):
        next(documents)


def test_pairs_are_not_read_from_a_pipe(tmp_path):
    from cde_retrievers.errors import TrainingDataError
    from cde_retrievers.training.data.read import read_pairs

    os.mkfifo(tmp_path / "pairs.jsonl")
    with pytest.raises(TrainingDataError, match=r"is a named pipe"):
        read_pairs(tmp_path / "pairs.jsonl")


# Links


@pytest.fixture
def linked(tmp_path):
    """A folder with links of every kind, and something beside it."""
    folder, outside = tmp_path / "docs", tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    outside.mkdir()
    (folder / "inner" / "a.md").write_text("a")
    (outside / "secret.md").write_text("secret")
    (folder / "file_out.md").symlink_to(outside / "secret.md")
    (folder / "file_in.md").symlink_to("inner/a.md")
    (folder / "folder_in").symlink_to("inner")
    (folder / "folder_out").symlink_to(outside)
    (folder / "nowhere.md").symlink_to("nothing")
    (folder / "self.md").symlink_to("self.md")
    (folder / "inner" / "loop").symlink_to("..")
    return folder


def test_links_out_of_a_folder_are_left_out_and_reported(linked, caplog):
    with caplog.at_level(logging.WARNING):
        assert ids(linked) == ["file_in.md", "inner/a.md"]
    for reason in (
        "a link that leads out of the folder: 1, such as file_out.md",
        "a link to a folder: 3, such as folder_in",
        "a link that leads nowhere: 2, such as nowhere.md",
        "follow_links=True (--follow-links)",
    ):
        assert reason in caplog.text


def test_links_are_followed_when_asked_for_and_no_folder_is_read_twice(linked, caplog):
    with caplog.at_level(logging.WARNING):
        found = ids(linked, follow_links=True)
    assert found == ["file_in.md", "file_out.md", "folder_out/secret.md", "inner/a.md"]
    assert "a link to a folder that is read already: 2, such as folder_in" in caplog.text


def test_a_source_may_itself_be_a_link(linked, tmp_path):
    (tmp_path / "link").symlink_to(linked)
    assert ids(tmp_path / "link") == ["file_in.md", "inner/a.md"]
    assert ids(linked / "file_out.md") == ["file_out.md"]


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_beir_folder_has_its_files_in_it(tmp_path, name):
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "a"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    judged_queries(folder, {d.id for d in Corpus(folder)})
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorpusFileError, match=r"is a link that leads out of .* replace it with a copy of the file"):
        judged_queries(folder, {d.id for d in Corpus(folder)})
    assert ids(folder, follow_links=True) == ["d"]


# Memory


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.csv.gz", "bomb.txt.gz"])
def test_what_unpacks_to_one_endless_line_is_refused_before_it_is_in_memory(tmp_path, name):
    with gzip.open(tmp_path / name, "wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(CorpusFileError, match=r"longer than 100,000 characters.*--max-characters"):
        Corpus(
            tmp_path / name, ReadOptions(max_characters=100_000, format=None if "txt" not in name else "text")
        ).check()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_csv_record_of_many_lines_is_as_long_as_all_of_them(tmp_path):
    cells = '"a\n",' * 1_000
    (tmp_path / "a.csv").write_text("text\n" + cells)
    with pytest.raises(CorpusFileError, match=r"a\.csv:\d+ is longer than 500 characters"):
        Corpus(tmp_path / "a.csv", ReadOptions(max_characters=500)).check()
    (tmp_path / "a.csv").write_text("text\n" + "0123456789\n" * 1_000)
    assert len(Corpus(tmp_path / "a.csv", ReadOptions(max_characters=20)).texts().__next__()) == 10


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.parquet"])
def test_what_is_exactly_as_long_as_allowed_is_read(tmp_path, name):
    content = {"a.jsonl": '{"text": "abc"}\n', "a.csv": "text\nabcdefgh\n", "a.txt": "abcdefgh"}.get(name, "x" * 16)
    if name == "a.parquet":
        write_parquet(tmp_path / name, text=[content])
    else:
        (tmp_path / name).write_text(content)
    longest = max(map(len, content.splitlines(keepends=True)))
    assert len(list(Corpus(tmp_path / name, ReadOptions(max_characters=longest)))) == 1
    with pytest.raises(CorpusFileError, match=rf"longer than {longest - 1:,} characters"):
        list(Corpus(tmp_path / name, ReadOptions(max_characters=longest - 1)))


@pytest.mark.parametrize("rows", ["text\n{}\nb\n", "text,{}\na,1\n"])
def test_a_cell_may_be_as_long_as_a_record(tmp_path, rows):
    usual = csv.field_size_limit()
    (tmp_path / "a.csv").write_text(rows.format("x" * (usual + 1)))
    documents = list(Corpus(tmp_path / "a.csv"))
    assert max(len(text) for each in documents for text in (each.text, *each.metadata)) == usual + 1
    assert csv.field_size_limit() == usual
    with pytest.raises(CorpusFileError, match=rf"is longer than {usual:,} characters.*--max-characters"):
        Corpus(tmp_path / "a.csv", ReadOptions(max_characters=usual)).check()
    assert csv.field_size_limit() == usual


def test_rows_around_a_long_cell_of_several_lines_are_read_under_their_own_numbers(tmp_path):
    usual = csv.field_size_limit()
    long = "x\n" * usual
    (tmp_path / "a.csv").write_text(f'text,year\nb,1\n"{long}",2\n"c\nd",3\ne,4\n')
    documents = list(Corpus(tmp_path / "a.csv"))
    assert [document.text for document in documents] == ["b", long, "c\nd", "e"]
    assert [document.metadata["row"] for document in documents] == [2, 3, usual + 4, usual + 6]
    with open(tmp_path / "a.csv", "a") as file:
        file.write('"f"g,5\n')
    with pytest.raises(CorpusFileError, match=rf"a.csv:{usual + 7} is not valid CSV"):
        list(Corpus(tmp_path / "a.csv"))
    assert csv.field_size_limit() == usual


def test_the_csv_limit_of_the_process_is_left_alone_unless_a_row_needs_more(tmp_path, monkeypatch):
    set_limit, limits = csv.field_size_limit, []
    monkeypatch.setattr(csv, "field_size_limit", lambda *limit: limits.append(limit) or set_limit(*limit))
    (tmp_path / "a.csv").write_text("text\n" + "x" * 131_072 + "\nb\n")
    assert len(list(Corpus(tmp_path / "a.csv"))) == 2
    assert limits == []
    (tmp_path / "a.csv").write_text("text\n" + "x" * 131_073 + "\nb\n")
    assert len(list(Corpus(tmp_path / "a.csv"))) == 2
    assert len(limits) == 2


def test_the_csv_limit_is_restored_between_rows_of_files_read_side_by_side(tmp_path):
    usual = csv.field_size_limit()
    (tmp_path / "a.csv").write_text("text\n" + 3 * ("x" * (usual + 1) + "\n"))
    one, other = (iter(Corpus(tmp_path / "a.csv")) for _ in range(2))
    for _ in range(3):
        assert next(one) == next(other)
        assert csv.field_size_limit() == usual


# Depth


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a": ', "}")])
def test_json_is_read_to_a_depth_and_no_deeper(opened, closed):
    assert parse_json(opened * MAX_DEPTH + "1" * (opened != "[") + closed * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 900, 100_000):
        with pytest.raises(ValueError, match=r"nested more than 100 levels deep"):
            parse_json(opened * depth + "1" + closed * depth)
    assert parse_json("[" + "[]," * 10_000 + "[]]")
    assert parse_json(json.dumps("[" * 1_000)) == "[" * 1_000


def test_a_line_that_is_nested_too_deep_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x", "m": ' + "[" * 500 + "]" * 500 + "}\n")
    with pytest.raises(CorpusFileError, match=r"a\.jsonl:1 is not valid JSON: its values are nested"):
        Corpus(tmp_path / "a.jsonl").check()


# Encodings


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.txt.gz"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "idna", "undefined", "punycode", "utf-7", "unicode_escape"])
@pytest.mark.parametrize("content", [b"text\nabc\xff", b"\\x\xff\n", b"\x00\xd8" * 9])
def test_text_of_another_encoding_is_our_error(tmp_path, name, encoding, content):
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    try:
        Corpus(tmp_path / name, ReadOptions(encoding=encoding, format="text")).check()
    except CDEError as error:
        assert "a." in str(error)  # noqa: PT017  # some contents are text in some encodings
    else:
        assert encoding in ("utf-7", "unicode_escape", "punycode", "idna", "utf-16", "utf-32")


def test_utf_16_without_a_byte_order_mark_says_so(tmp_path):
    (tmp_path / "a.txt").write_bytes("text".encode("utf-16-le"))
    with pytest.raises(CorpusFileError, match=r"not utf-16 text: .*BOM.*name its encoding"):
        Corpus(tmp_path / "a.txt", ReadOptions(encoding="utf-16")).check()
    assert [d.text for d in Corpus(tmp_path / "a.txt", ReadOptions(encoding="utf-16-le"))] == ["text"]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_truncated_archive_of_what_cannot_be_decoded_either(tmp_path, name, kept):
    noise = random.Random(0).randbytes(40_000)
    packed = gzip.compress(b'{"text": "' + b"a" * 9_000 + noise)
    (tmp_path / name).write_bytes(packed[: int(len(packed) * kept)])
    with pytest.raises(CorpusFileError, match=r"is not utf-8 text|cannot be read"):
        Corpus(tmp_path / name).check()


def test_an_ending_in_capitals_is_unpacked_too(tmp_path):
    (tmp_path / "A.JSONL.GZ").write_bytes(gzip.compress(b'{"id": "a", "text": "x"}\n'))
    assert ids(tmp_path) == ["a"]


def test_a_name_that_is_no_text_is_refused_with_the_file(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")
    with open(path, "w") as file:
        file.write("x")
    with pytest.raises(InvalidDocumentError, match=r"id of document 0 cannot be stored"):
        Corpus(tmp_path).check()


def test_nul_characters_are_read_as_they_are(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,a\0b\n")
    (tmp_path / "b.csv").write_bytes(b'id,text\n2,"\0"\n')
    assert [d.text for d in Corpus(tmp_path)] == ["a\0b", "\0"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": 1e400}',
        b'{"text": "x", "n": ' + b"9" * 5_000 + b"}",
        b'{"text": "x", "n": 1e400}',
        b'{"id": -Infinity}',
    ],
)
def test_numbers_that_cannot_be_stored_are_refused(tmp_path, line):
    (tmp_path / "a.jsonl").write_bytes(line)
    with pytest.raises(CDEError, match=r"a\.jsonl:1"):
        Corpus(tmp_path / "a.jsonl").check()


# Parquet


def write_parquet(path, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def odd_columns():
    pyarrow = pytest.importorskip("pyarrow")
    return {
        "date": pyarrow.array([2**31 - 1], pyarrow.date32()),
        "seconds": pyarrow.array([2**45], pyarrow.timestamp("s")),
        "before": pyarrow.array([-(2**62)], pyarrow.timestamp("us")),
        "zone": pyarrow.array([1], pyarrow.timestamp("us", tz="Nowhere/City")),
        "nested": pyarrow.array([{"when": 2**31 - 1}], pyarrow.struct([("when", pyarrow.date32())])),
        "text": pyarrow.array([b"\xff"], pyarrow.binary()).view(pyarrow.string()),
    }


@pytest.mark.parametrize("name", ["date", "seconds", "before", "zone", "nested", "text"])
def test_a_parquet_value_that_python_does_not_have_names_its_column(tmp_path, name):
    path = write_parquet(tmp_path / "a.parquet", **{"body": ["x"], "odd": odd_columns()[name]})
    with pytest.raises(CorpusFileError, match=r"a\.parquet:1 and below: column 'odd' \(.*\) holds a value.*--metadata"):
        Corpus(path, ReadOptions(text=("body",))).check()
    [document] = Corpus(path, ReadOptions(text=("body",), metadata=())).check()
    assert document.text == "x"


def test_dates_and_decimals_are_text_wherever_they_stand(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from datetime import date

    path = write_parquet(
        tmp_path / "a.parquet",
        text=["x"],
        list=pyarrow.array([[date(2020, 1, 2)]]),
        struct=pyarrow.array([{"price": Decimal("1.50"), "none": None}]),
        word=pyarrow.array(["w"]).dictionary_encode(),
        nothing=pyarrow.nulls(1),
        map=pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    )
    [document] = Corpus(path).check()
    metadata = {name: value for name, value in document.metadata.items() if name not in ("file", "row")}
    expected = {"list": ["2020-01-02"], "struct": {"price": "1.50", "none": None}, "word": "w", "map": [("k", 1)]}
    assert metadata == expected


def test_two_columns_of_one_name_are_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CorpusFileError, match=r"two columns called 'text'"):
        Corpus(tmp_path / "a.parquet").check()


# Run files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = " + "[" * 5_000 + "]" * 5_000, r"nested too deeply"),
        ("a = " + "1" * 5_000, r"not a readable TOML"),
        ("a = '\udcff'", r"not utf-8 text"),
        ("\0", r"not a readable TOML"),
    ],
)
def test_a_run_file_that_cannot_be_read(tmp_path, content, message):
    from cde_retrievers.training.run_file import read_run_file

    (tmp_path / "run.toml").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=message):
        read_run_file(tmp_path / "run.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ConfigurationError, match=r"is a named pipe"):
        read_run_file(tmp_path / "pipe.toml")


# Chance


READINGS = (
    ReadOptions(skip_empty=True),
    ReadOptions(encoding="utf-16", skip_empty=True),
    ReadOptions(encoding="latin-1", split="headings", skip_empty=True, max_characters=5_000),
)


def documents_of(path):
    for reading in READINGS:
        try:
            Corpus(path, reading).check()
        except CDEError:
            continue


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with bytes changed, cut out, put in and repeated."""
    found = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(found) + 1)
        length = chance.randrange(1, 20)
        change = chance.choice(
            [b"", chance.randbytes(length), b"[{" * length, b'"', b"\0", b"\n", b",", b"\xef\xbb\xbf"]
        )
        found[place : place + chance.choice([0, length])] = change
    return bytes(found)


JSONL = (
    b'{"id": "a", "text": "# one\\n\\ntwo", "metadata": {"n": 1}}\n{"id": "b", "text": "\\u00e9", "x": [1.5, null]}\n'
)
CSV = b'id,text,n\na,"one ""two""\nthree",1\nb,caf\xc3\xa9,2\n'


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv.gz", "a.md"])
def test_damaged_files_give_errors_of_ours_alone(tmp_path, name):
    chance = random.Random(name)
    whole = JSONL if "json" in name else CSV
    for case in range(150):
        content = chance.randbytes(chance.randrange(300)) if case % 3 == 0 else damaged(whole, chance)
        if name.endswith(".gz") and case % 2:
            content = damaged(gzip.compress(content), chance)
        elif name.endswith(".gz"):
            content = gzip.compress(content)
        (tmp_path / name).write_bytes(content)
        documents_of(tmp_path / name)


def test_damaged_parquet_files_give_errors_of_ours_alone(tmp_path):
    path = write_parquet(tmp_path / "whole.parquet", text=["a", "b"], n=[1, None], m=[[1], []])
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(100):
        (tmp_path / "a.parquet").write_bytes(damaged(whole, chance))
        documents_of(tmp_path / "a.parquet")


def test_damaged_judgements_queries_pairs_and_run_files_give_errors_of_ours_alone(tmp_path):
    from cde_retrievers.training.data.read import read_pairs
    from cde_retrievers.training.run_file import read_run_file

    chance = random.Random(0)
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    contents = {
        folder / "corpus.jsonl": b'{"_id": "d", "title": "t", "text": "a", "metadata": {"domain": "x"}}\n',
        folder / "queries.jsonl": b'{"_id": "q", "text": "a"}\n',
        folder / "qrels" / "train.tsv": b"query-id\tcorpus-id\tscore\nq\td\t1\n",
        tmp_path / "pairs.jsonl": b'{"query": "q", "positive": "p", "negatives": ["n"], "negative_1": "m"}\n',
        tmp_path / "qa.json": b'{"queries": {"q": "a"}, "corpus": {"d": "b"}, "relevant_docs": {"q": ["d"]}}',
        tmp_path / "run.toml": b'[model]\nname = "m"\n[data]\npath = ["p"]\n[training]\noutput_dir = "o"\nseed = 1\n',
    }
    for path, content in contents.items():
        path.write_bytes(content)
    reads = [
        lambda: read_pairs(folder),
        lambda: judged_queries(folder, {"d"}, "train"),
        lambda: read_pairs(tmp_path / "pairs.jsonl"),
        lambda: read_pairs(tmp_path / "qa.json"),
        lambda: read_run_file(tmp_path / "run.toml"),
    ]
    for read in reads:
        read()
    for path, content in contents.items():
        for _ in range(25):
            path.write_bytes(damaged(content, chance))
            for read in reads:
                try:
                    read()
                except CDEError:
                    continue
        path.write_bytes(content)


def test_rows_are_read_with_a_limit_by_default(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "abc"}\n')
    monkeypatch.setattr("cde_retrievers.corpora.read_options.MAX_CHARACTERS", 5)
    with pytest.raises(CorpusFileError, match=r"longer than 5 characters"):
        Corpus(tmp_path / "a.jsonl").check()
    assert len(list(json_rows(File(tmp_path / "a.jsonl", "a.jsonl")))) == 1
