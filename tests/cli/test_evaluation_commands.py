"""`eval` and `report` compare what the library compares, say where the queries come from, and refuse early."""

import html
import json
import re
import shlex
import sys

import pytest
from tiny import CORPUS

pytest.importorskip("jinja2")
from cde_retrievers import ContextualEncoder
from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.evaluation import BM25, Comparison, RetrievalDataset, compare, known_items

USUAL = 9  # rows of every comparison: four searches with context, as many without, and one by hand
STORIES = [
    f"The {text.split()[0]} {text.split()[1]} has number {place}. It is known that it {' '.join(text.split()[2:])} "
    f"and that it reads the list of all {place} keys."
    for place, text in enumerate(CORPUS[:12])
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_judged(folder):
    """A BEIR folder that asks for nine documents by their first words."""
    (folder / "qrels").mkdir(parents=True)
    asked = range(0, len(CORPUS), 6)
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(CORPUS)])
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": " ".join(CORPUS[i].split()[:3])} for i in asked])
    judged = "".join(f"q{i}\td{i}\t1\n" for i in asked)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


@pytest.fixture
def judged(tmp_path):
    return write_judged(tmp_path / "animals")


@pytest.fixture
def stories(tmp_path):
    return write_rows(tmp_path / "stories.jsonl", [{"id": f"s{i}", "text": text} for i, text in enumerate(STORIES)])


@pytest.fixture
def encoder(model_folder):
    return ContextualEncoder.from_pretrained(str(model_folder.resolve()), "cpu", "float32")


def assert_refused(result, *parts, exit_code=1):
    assert result.exit_code == exit_code, result.stderr
    assert (result.stdout, "Traceback" in result.stderr) == ("", False)
    message = " ".join(result.stderr.replace("│", " ").split())
    for part in parts:
        assert part in message


def test_eval_finds_what_compare_finds(answer, judged, model_folder, encoder, tmp_path):
    found = answer("eval", judged, "--model", model_folder, "--out", tmp_path / "result.json")
    expected = compare(encoder, RetrievalDataset.read(judged))
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(expected.to_dict()))
    assert [row["label"] for row in found["rows"]] == [row.label for row in expected.rows]
    for shown, row in zip(found["rows"], expected.rows, strict=True):
        assert shown["ndcg@10"] == row.evaluation.mean().to_dict()
        assert shown["map"] == row.evaluation.mean("map").to_dict()
    assert [row["mode"] for row in found["rows"]] == [row.mode for row in expected.rows]
    gain = expected.gain_over(expected.rows[1].label)
    assert found["rows"][1]["first_row_gains"] == {**gain.to_dict(), "significant": gain.is_significant}
    assert found["rows"][0]["first_row_gains"] == {}
    about = (found["data"], found["documents"], found["queries"], found["queries_are_made"], found["out"])
    assert about == ("animals", 54, 9, False, str(tmp_path / "result.json"))


def test_eval_compares_all_that_is_asked_for(answer, judged, more, model_folder, encoder, tmp_path):
    options = ["--context-of", more, "--size", 4, "--size", 8, "--strategy", "kmeans", "--seed", 1, "--bm25"]
    found = answer("eval", judged, "--model", model_folder, "--out", tmp_path / "result.json", *options)
    assert [row["label"] for row in found["rows"]][USUAL:] == [
        "context of more.jsonl, hybrid",
        "own context, kmeans, hybrid",
        "own context, seed 1, hybrid",
        "own context, 4 documents, hybrid",
        "own context, 8 documents, hybrid",
        "BM25",
    ]
    other = RetrievalDataset.of({"q": "a"}, {f"m{i}": t for i, t in enumerate(Corpus(more).texts())}, {"q": {"m0"}})
    options = {"foreign": [other], "strategies": ["kmeans"], "seeds": [1], "sizes": [4, 8], "others": [BM25()]}
    expected = compare(encoder, RetrievalDataset.read(judged), **options)
    saved = Comparison.from_dict(json.loads((tmp_path / "result.json").read_text()))
    for row, same in zip(saved.rows, expected.rows, strict=True):
        assert row.evaluation.best == same.evaluation.best
        assert (row.group, row.size) == (same.group, same.size)


def test_other_documents_of_one_name_are_told_apart(answer, judged, tmp_path, model_folder):
    others = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        others.append(write_rows(tmp_path / folder / "docs.jsonl", [{"text": f"a {folder}"}, {"text": "a file"}]))
    options = [part for other in others for part in ("--context-of", other)]
    found = answer("eval", judged, "--model", model_folder, *options)
    assert [row["label"] for row in found["rows"]][USUAL:] == [f"context of {other}, hybrid" for other in others]


def test_eval_shows_a_table_and_what_it_means(run, judged, model_folder, tmp_path):
    marked = write_rows(tmp_path / "[red]docs.jsonl", [{"text": "a cat"}, {"text": "a file"}])
    result = run("eval", judged, "--model", model_folder, "--context-of", marked)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][:5] == ["animals", "ndcg@10", "recall@100", "mrr@10", "map"]
    own = RetrievalDataset.read(judged)
    expected = compare(ContextualEncoder.from_pretrained(model_folder, "cpu", "float32"), own).own
    assert lines[1] == ["own", "context,", "hybrid", *(f"{100 * expected.mean(m).mean:.1f}" for m in expected.values)]
    # Brackets in a name are no markup.
    assert "context of [red]docs.jsonl" in result.stdout
    assert "54 documents, 9 judged queries" in result.stderr
    told = result.stdout.splitlines()[-1]
    assert "dense vectors without context" in told
    assert "; over RRF of plain vectors and BM25 " in told


def test_documents_without_judgements_ask_for_themselves(run, answer, stories, model_folder, tmp_path):
    found = answer("eval", stories, "--model", model_folder, "--out", tmp_path / "result.json")
    expected = known_items(Corpus(stories))
    assert (found["queries"], found["queries_are_made"], found["note"]) == (12, True, expected.note)
    saved = Comparison.from_dict(json.loads((tmp_path / "result.json").read_text()))
    assert saved.own.queries == tuple(expected.judged.queries)
    result = run("eval", stories, "--model", model_folder)
    assert "no judged queries are there, so 12 were made from the corpus" in result.stderr
    assert f"{result.stdout} {result.stderr}".count("not asked by people") == 1
    assert "The queries were" not in result.stdout


def test_reading_options_hold_for_documents_and_for_others(answer, tmp_path, model_folder):
    rows = [{"name": f"s{i}", "body": text} for i, text in enumerate(STORIES)]
    source, other = (write_rows(tmp_path / f"{name}.jsonl", rows) for name in ("these", "those"))
    options = ["--text", "body", "--id", "name", "--context-of", other]
    found = answer("eval", source, "--model", model_folder, *options)
    assert (found["documents"], found["rows"][USUAL]["label"]) == (12, "context of those.jsonl, hybrid")


def test_a_title_that_asks_is_taken_out_of_its_document(answer, tmp_path, model_folder, monkeypatch):
    folder = tmp_path / "titled"
    folder.mkdir()
    rows = [{"_id": f"d{i}", "title": f"animal {i}", "text": text} for i, text in enumerate(STORIES)]
    write_rows(folder / "corpus.jsonl", rows)
    write_rows(folder / "queries.jsonl", [{"_id": "q", "text": "unused"}])
    found = answer("report", folder, "--model", model_folder, "--out", tmp_path / "report.html")
    expected = known_items(Corpus(folder, ReadOptions(text=("text",))))
    assert found["note"] == expected.note
    assert "made from the corpus: 12 titles, each" in found["note"]
    page = (tmp_path / "report.html").read_text()
    assert "animal 3 The" not in page


@pytest.mark.parametrize(
    ("options", "parts", "exit_code"),
    [
        (["--qrels", "dev"], ["no judgements qrels/dev.tsv, only ['test']"], 1),
        (["--skip-empty"], ["--skip-empty says how documents are read", "leave it out"], 2),
        (["--context-of", "nowhere"], ["nowhere does not exist"], 1),
        (["--size", "1"], ["Invalid value for '--size'"], 2),
        (["--strategy", "best"], ["--strategy", "kmeans"], 2),
        (["--mode", "sparse"], ["--mode", "hybrid"], 2),
        (["--out", "."], [". is a directory; give the path of a file"], 1),
        (["--out", "animals/result.json"], ["is inside the source"], 2),
        (["--out", "there.json"], ["there.json already exists", "--replace"], 1),
    ],
)
@pytest.mark.parametrize("command", ["eval", "report"])
def test_what_is_not_possible_is_refused_before_the_model_is_loaded(
    run, judged, tmp_path, monkeypatch, command, options, parts, exit_code
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("{}")
    out = [] if command == "eval" or "--out" in options else ["--out", "report.html"]
    assert_refused(run(command, "animals", "--model", "no such model", *out, *options), *parts, exit_code=exit_code)
    assert (tmp_path / "there.json").read_text() == "{}"
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--queries", "missing.txt"], "missing.txt does not exist"),
        (["--queries", "questions.txt", "--qrels", "missing.tsv"], "missing.tsv does not exist"),
        (["--queries", "questions.txt", "--qrels", "questions.txt"], "questions.txt"),
        (["--context-of", "nowhere"], "nowhere does not exist"),
        (["--out", "there.json"], "there.json already exists"),
    ],
)
@pytest.mark.parametrize("command", ["eval", "report"])
def test_files_are_looked_at_before_anything_heavy_is_imported(
    run, stories, questions, tmp_path, monkeypatch, command, options, part
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "cde_retrievers.cli.evaluation_tables", None)
    out = [] if command == "eval" or "--out" in options else ["--out", "report.html"]
    result = run(command, stories, *out, *options)
    assert_refused(result, part)
    assert "unexpected" not in result.stderr
    result = run(command, "no such folder", "--out", "other.html")
    assert_refused(result, "no such folder does not exist")


def test_judgements_that_are_not_there_cannot_be_named(run, stories):
    assert_refused(run("eval", stories, "--qrels", "dev"), "has no judgements (qrels/)", exit_code=2)


def test_documents_that_make_no_queries_are_refused_with_the_way_out(run, source):
    assert_refused(run("eval", source), "no query could be made of 54 documents", "a BEIR folder with queries.jsonl")


def test_a_missing_package_is_named_before_the_model_is_loaded(run, judged, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    result = run("eval", judged, "--bm25", "--model", "no such model")
    assert_refused(result, "needs bm25s: pip install 'cde-retrievers[eval]'")


def test_report_writes_a_page_about_what_it_answers(run, answer, judged, model_folder, tmp_path):
    path = tmp_path / "report.html"
    command = ["report", judged, "--model", model_folder, "--out", path, "--size", 4, "--size", 8]
    found = answer(*command)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert found["headline"] in page
    assert found["report"] == str(path)
    assert all(row["label"] in page for row in found["rows"])
    assert "9 queries with judgements" in page
    again = run(*command)
    assert (again.exit_code, path.read_text(encoding="utf-8")) == (1, page)
    result = run(*command, "--replace")
    assert result.stdout.splitlines()[-1] == f"{path}: open it in a browser"


def test_eval_replaces_a_result_only_on_request(run, answer, judged, model_folder, tmp_path):
    path = tmp_path / "result.json"
    path.write_text("mine")
    answer("eval", judged, "--model", model_folder, "--out", path, "--replace")
    assert len(Comparison.from_dict(json.loads(path.read_text())).rows) == USUAL


@pytest.mark.parametrize("command", ["eval", "report"])
def test_modes_may_be_chosen(answer, judged, model_folder, tmp_path, command):
    options = ["--mode", "lexical", "--mode", "dense", "--mode", "lexical", "--out", tmp_path / "result"]
    found = answer(command, judged, "--model", model_folder, *options)
    assert [row["label"] for row in found["rows"]] == [
        "own context, lexical",
        "own context, dense",
        "no context (generic texts), lexical",
        "no context (its bi-encoder), dense",
    ]


@pytest.fixture
def questions(tmp_path):
    (tmp_path / "questions.txt").write_text("who has number 3?\nwhere is the dog?\n")
    return tmp_path / "questions.txt"


def test_questions_are_marked_in_a_page_and_then_evaluated(run, answer, stories, questions, model_folder, tmp_path):
    options = [stories, "--model", model_folder, "--queries", questions]
    found = answer("report", *options, "--out", tmp_path / "marking.html")
    assert (found["queries"], found["documents"]) == (2, 12)
    assert "Which hits are right?" in (tmp_path / "marking.html").read_text(encoding="utf-8")
    (tmp_path / "marked.tsv").write_text("query-id\tcorpus-id\tscore\nwho has number 3?\ts3\t1\n")
    found = answer("eval", *options, "--qrels", tmp_path / "marked.tsv")
    assert (found["queries"], found["queries_are_made"], len(found["rows"])) == (1, False, USUAL)
    assert found["note"] == "1 of 2 questions have no answer marked and are left out."
    answer("report", *options, "--qrels", tmp_path / "marked.tsv", "--out", tmp_path / "report.html")
    assert "Query by query" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_command_for_the_marks_has_every_option_of_the_page(run, answer, tmp_path, model_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my docs").mkdir()
    (tmp_path / "my docs" / "it's a page.md").write_text(
        "# Cats\n\nThe red cat sleeps.\n\n# Dogs\n\nThe old dog runs.\n"
    )
    (tmp_path / "questions.txt").write_text("where is the dog?\n")
    options = ["--split", "headings", "--max-words", 5, "--ending", ".md", "--ending", ".txt", "--skip-empty", "--bm25"]
    options += ["--id-prefix", "a$b ", "--mode", "hybrid", "--model", model_folder, "--queries", "questions.txt"]
    result = run("report", "my docs", *options, "--out", "marking.html")
    assert result.exit_code == 0, result.stderr
    command = result.stdout.splitlines()[-1]
    assert html.escape(command, quote=True).replace("&#x27;", "&#39;") in (tmp_path / "marking.html").read_text()
    program, name, *given = shlex.split(command)
    assert (program, name) == ("cde-retrievers", "eval")
    assert {"--split", "--max-words", "--skip-empty", "--bm25", "--mode", "a$b "} < set(given)
    assert given.count("--ending") == 2
    found = answer("report", "my docs", *options, "--out", "again.html")
    assert found["command"] == command
    ids = json.loads(re.search(r'id="ids">(.*?)</script>', (tmp_path / "marking.html").read_text())[1])["documents"]
    (tmp_path / "marked.tsv").write_text(f"query-id\tcorpus-id\tscore\nwhere is the dog?\t{ids[0]}\t1\n")
    assert answer(name, *given)["queries"] == 1


def test_questions_without_marks_are_refused_with_the_way_to_mark_them(run, stories, questions):
    assert_refused(run("eval", stories, "--queries", questions), "nothing says which hits are right", exit_code=2)
    result = run("report", stories, "--queries", questions, "--out", questions.parent / "page.html", "--size", 4)
    assert_refused(result, "the page for marking shows no other contexts", exit_code=2)
