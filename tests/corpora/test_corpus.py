"""Files become documents: whatever the format, the same documents, and as often as they are asked for."""

import csv
import gzip
import json
import logging
import shutil

import pytest

from cde_retrievers.corpora import Corpus, CorpusSync, ReadOptions, judged_queries
from cde_retrievers.errors import CorpusFileError, InvalidTextError, MissingDependencyError
from cde_retrievers.index import Document
from cde_retrievers.index.incoming_documents import require_rereadable

ROWS = [
    {"id": "a", "text": "the cat sleeps", "topic": "cats", "year": 2020},
    {"id": "b", "text": 'a dog, which "runs"\nin the tree', "topic": "dogs", "year": 2024},
]


def write_jsonl(path, rows=ROWS):
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def write_csv(path, rows=ROWS, delimiter=","):
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path, rows=ROWS):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_beir(folder, rows, qrels="query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tgone\t1\n"):
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl.gz", rows)
    write_jsonl(folder / "queries.jsonl", [{"_id": "q1", "text": "red cat"}, {"_id": "q2", "text": "bird"}])
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_jsonl, "rows.jsonl"),
        (write_jsonl, "rows.ndjson.gz"),
        (write_csv, "rows.csv"),
        (write_csv, "rows.csv.gz"),
        (write_parquet, "rows.parquet"),
    ],
)
def test_every_format_with_rows_gives_the_same_documents(tmp_path, write, name):
    path = write(tmp_path / name)
    numbers = ("year",) if ".csv" in name else ()
    documents = list(Corpus(path, ReadOptions(numbers=numbers)))
    assert [(document.id, document.text) for document in documents] == [(row["id"], row["text"]) for row in ROWS]
    assert [document.metadata["row"] for document in documents] == ([2, 3] if ".csv" in name else [1, 2])
    for document, row in zip(documents, ROWS, strict=True):
        expected = {"file": name, "row": document.metadata["row"], "topic": row["topic"], "year": row["year"]}
        assert document.metadata == expected


def test_a_table_with_tabs_or_another_delimiter(tmp_path):
    tabs = Corpus(write_csv(tmp_path / "a.tsv", delimiter="\t"))
    semicolons = Corpus(write_csv(tmp_path / "b.csv", delimiter=";"), ReadOptions(delimiter=";"))
    assert [d.text for d in tabs] == [d.text for d in semicolons] == [row["text"] for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        "id,text\na,tea\n,\nb,coffee\n",
        "id,text\na,tea\n\n , \n\nb,coffee\n,\n,\n",
        ",\nid,text\na,tea\nb,coffee\n",
        "id,text,,\na,tea,,\nb,coffee,,\n,,,\n",
        "id,text\na,tea,\nb,coffee,,\n",
    ],
)
def test_what_a_spreadsheet_leaves_is_passed_over(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    assert [(d.id, d.text) for d in Corpus(tmp_path / "a.csv").check()] == [("a", "tea"), ("b", "coffee")]


def test_a_quoted_empty_cell_is_a_row(tmp_path):
    (tmp_path / "a.csv").write_text('text\ntea\n""\n')
    with pytest.raises(InvalidTextError, match=r"a\.csv:3 has no text"):
        Corpus(tmp_path / "a.csv").check()


def test_a_row_that_spans_lines_is_found_by_the_line_it_begins_in(tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,"two\nlines"\n2,one\n')
    assert [d.metadata["row"] for d in Corpus(tmp_path / "a.csv")] == [2, 4]


def test_dates_decimals_and_gaps_in_parquet_become_metadata(tmp_path):
    from datetime import date
    from decimal import Decimal

    rows = [
        {"text": "x", "day": date(2024, 5, 1), "price": Decimal("1.50"), "size": 2.5, "note": None},
        {"text": "y", "day": None, "price": None, "size": float("nan"), "note": "n"},
    ]
    first, second = Corpus(write_parquet(tmp_path / "a.parquet", rows)).check()
    assert first.metadata == {"file": "a.parquet", "row": 1, "day": "2024-05-01", "price": "1.50", "size": 2.5}
    assert second.metadata == {"file": "a.parquet", "row": 2, "note": "n"}


def test_a_folder_of_text_is_one_document_per_file_called_by_its_path(tmp_path, caplog):
    for name in ("b.txt", "a/deep/c.md", "a/.hidden.md", ".git/d.md", "picture.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"  text of {name}\r\n")
    with caplog.at_level(logging.WARNING):
        corpus = Corpus(tmp_path)
    assert list(corpus) == [
        Document("  text of a/deep/c.md\r\n", "a/deep/c.md", {"file": "a/deep/c.md"}),
        Document("  text of b.txt\r\n", "b.txt", {"file": "b.txt"}),
    ]
    assert "left out: 1 file of other formats (.png: 1)" in caplog.text
    assert [d.id for d in Corpus(tmp_path, ReadOptions(endings=(".png",)))] == ["picture.png"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufefftext".encode())
    (tmp_path / "b.csv").write_bytes("\ufefftext,id\nx,1\n".encode())
    assert [d.text for d in Corpus(tmp_path / "a.txt")] == ["text"]
    assert [d.id for d in Corpus(tmp_path / "b.csv")] == ["1"]


def test_other_encodings_are_read_by_name(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Ümlaut"}\n{"text": "ß"}\n', encoding="utf-16")
    assert [d.text for d in Corpus(tmp_path / "a.jsonl", ReadOptions(encoding="utf-16"))] == ["Ümlaut", "ß"]


def test_a_folder_of_rows_is_read_file_by_file(tmp_path):
    write_jsonl(tmp_path / "2.jsonl", [{"text": "second"}])
    write_jsonl(tmp_path / "1.jsonl", [{"text": "first"}, {"text": "also first"}])
    assert [(d.id, d.text) for d in Corpus(tmp_path)] == [
        ("1.jsonl:1", "first"),
        ("1.jsonl:2", "also first"),
        ("2.jsonl:1", "second"),
    ]


def test_a_beir_folder_joins_title_and_text_and_spreads_metadata(tmp_path):
    rows = [
        {"_id": "a", "title": "Cats", "text": "sleep", "metadata": {"domain": "pets"}},
        {"_id": "b", "title": "", "text": "dogs run"},
    ]
    assert list(Corpus(write_beir(tmp_path / "set", rows))) == [
        Document("Cats sleep", "a", {"domain": "pets"}),
        Document("dogs run", "b", {}),
    ]


def test_a_corpus_without_queries_is_plain_jsonl(tmp_path):
    rows = [{"_id": "a", "title": "Cats", "text": "sleep"}]
    folder = write_beir(tmp_path / "set", rows)
    assert Corpus(folder / "corpus.jsonl.gz").format == "beir"
    (folder / "queries.jsonl").unlink()
    shutil.rmtree(folder / "qrels")
    for path in (folder / "corpus.jsonl.gz", folder):
        [document] = Corpus(path)
        assert (document.text, document.metadata["title"]) == ("sleep", "Cats")


def test_what_an_index_keeps_of_documents_can_be_read_again(tmp_path):
    documents = [Document("one", "x", {"file": "book", "row": 9, "deep": {"a": [1, None]}})]
    lines = [{"id": d.id, "text": d.text, "metadata": d.metadata} for d in documents]
    assert list(Corpus(write_jsonl(tmp_path / "documents.jsonl", lines))) == documents


def test_columns_are_chosen_by_name(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"key": 7, "head": "Cats", "body": "sleep", "x": 1, "y": None, "z": 3}])
    reading = ReadOptions(text=("head", "body"), id="key", ids_as_text=True, id_prefix="s/", metadata=("x", "y"))
    assert list(Corpus(path, reading)) == [
        Document("Cats sleep", "s/7", {"file": "a.jsonl", "row": 1, "x": 1, "y": None})
    ]


def test_a_corpus_begins_anew_as_often_as_it_is_asked(tmp_path):
    corpus = Corpus(write_jsonl(tmp_path / "a.jsonl"))
    require_rereadable(corpus)
    require_rereadable(corpus.check())
    assert list(corpus) == list(corpus) == list(corpus.check())
    assert len(corpus.check()) == 2


def test_documents_come_before_the_file_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"{i} " * 500}) + "\n" for i in range(2_000)) + "broken\n")
    documents = iter(Corpus(path))
    assert next(documents).id == "a.jsonl:1"
    with pytest.raises(CorpusFileError, match=r"a\.jsonl:2001 is not valid JSON"):
        list(documents)


def test_documents_without_text_are_left_out_only_on_request_and_counted(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"id": "c", "text": None}, {"id": "d", "text": " \n"}])
    checked = Corpus(path, ReadOptions(skip_empty=True)).check()
    assert (len(checked), checked.left_out) == (2, 2)
    assert [d.id for d in checked] == ["a", "b"]


def test_documents_that_repeat_the_text_of_another_are_counted_and_kept(tmp_path):
    texts = {"c": "same", "d": "same ", "e": "same", "f": "same"}
    copies = [{"id": name, "text": text} for name, text in texts.items()]
    checked = Corpus(write_jsonl(tmp_path / "a.jsonl", [*ROWS, *copies])).check()
    assert (len(checked), checked.repeated) == (6, 2)


def test_a_missing_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cde-retrievers\[parquet\]'"):
        Corpus(tmp_path / "a.parquet")


def test_judged_queries_are_those_with_an_answer_that_can_be_found(tmp_path):
    folder = write_beir(tmp_path / "set", [{"_id": "a", "text": "x"}])
    judged = judged_queries(folder, {"a", "b"})
    assert (judged.queries, judged.relevant) == ({"q1": "red cat"}, {"q1": {"a": 1}})
    with pytest.raises(CorpusFileError, match=r"none of the documents judged for 'test' is among those to search"):
        judged_queries(folder, {"other"})
    with pytest.raises(CorpusFileError, match=r"no judgements qrels/dev\.tsv, only \['test'\]"):
        judged_queries(folder, {"a"}, "dev")


@pytest.mark.parametrize("qrels", ["query-id\tcorpus-id\nq1\ta\n", "query-id\tcorpus-id\tscore\nq1\ta\t0.5\n"])
def test_judgements_of_another_layout_are_refused(tmp_path, qrels):
    folder = write_beir(tmp_path / "set", [{"_id": "a", "text": "x"}], qrels)
    with pytest.raises(CorpusFileError, match=r"score"):
        judged_queries(folder, {"a"})


def test_changes_are_what_an_index_does_not_have_as_it_is():
    class Index:
        def get(self, ids):
            return [{"same": Document("x", "same", {"a": 1}), "other": Document("y", "other")}.get(i) for i in ids]

    documents = [Document("x", "same", {"a": 1}), Document("y", "other", {"a": 2}), Document("z", "new")]
    changes = CorpusSync(documents, Index())
    assert list(changes) == documents[1:]
    assert (changes.added, changes.replaced, changes.unchanged) == (1, 1, 1)


@pytest.mark.parametrize("values", [(True, 1), (1, 1.0), (0, False), ([1], [True]), ({"a": 0.0}, {"a": -0.0})])
def test_a_value_that_changes_only_its_type_is_a_change(values):
    class Index:
        def get(self, ids):
            return [Document("x", identity, {"n": values[0], "m": 2}) for identity in ids]

    for value in values:
        changes = CorpusSync([Document("x", "a", {"m": 2, "n": value})], Index())
        assert len(list(changes)) == changes.replaced == (value is values[1])


def test_what_sphinx_makes_of_its_pages_again_is_left_out_and_said_once(tmp_path, caplog):
    for folder in ("manual", "other"):
        for name in ("index.html", "genindex.html", "genindex-A.html", "search.html", "_sources/index.rst.txt"):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("<p>Tea is brewed.</p>")
    (tmp_path / "manual" / "searchindex.js").write_text("")
    with caplog.at_level(logging.WARNING):
        found = [document.id for document in Corpus(tmp_path, ReadOptions(split="headings"))]
    assert {name for name in found if name.startswith("manual")} == {"manual/index.html"}
    assert len(found) == 6
    [said] = [record.getMessage() for record in caplog.records if "Sphinx" in record.getMessage()]
    assert "left out: 4 entries (pages of Sphinx again: 4, such as manual/_sources)" in said
    assert "follow_links" not in said
    assert len(list(Corpus(tmp_path / "manual" / "_sources"))) == 1
