"""The page to mark on: what it shows, what it saves, and that no text of a user becomes markup or script."""

import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from importlib.resources import files

import numpy as np
import pytest
from browser import BROWSER, tab
from pages import EVIL, Read
from tiny import CORPUS

pytest.importorskip("jinja2")
from cde_retrievers.errors import CorpusFileError, EvaluationDataError
from cde_retrievers.evaluation import BM25, Contextual, evaluate, own_questions
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.index import Document
from cde_retrievers.report import marking_page
from cde_retrievers.report.marking import marking_html, script_safe

SCRIPT = (files("cde_retrievers") / "report" / "templates" / "marking.js").read_text()
DOCUMENTS = [Document(text, f"d{place}") for place, text in enumerate(CORPUS)]
HOSTILE = ["</script><script>alert(1)</script>", 'a "quoted"\tid', "line\nbreak\rs", "<!-- é ", "plain", " spaces "]


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("where does the red cat sleep?\n\n  which dog   runs? \n", encoding="utf-8")
    return path


def embedded(written):
    return json.loads(re.search(r'<script type="application/json" id="ids">(.*?)</script>', written, re.DOTALL)[1])


def hostile(tmp_path):
    (tmp_path / "q.txt").write_text(f"{EVIL} \"\"\n</script> 'what'?\n")
    data = own_questions([Document(f"{EVIL} {name}", name) for name in HOSTILE], tmp_path / "q.txt")
    rows = np.array([[0, 1, 2], [3, 4, 5]])
    return data, marking_html(data, {EVIL: Hits(rows, -rows.astype(np.float32))})


def test_the_page_shows_the_first_hits_of_every_search(make_encoder, questions, tmp_path):
    encoder = make_encoder("whitening")
    data = own_questions(DOCUMENTS, questions)
    marking_page(encoder, data, tmp_path / "new" / "marking.html", others=[BM25()])
    written = (tmp_path / "new" / "marking.html").read_text(encoding="utf-8")
    read, ids = Read(written), embedded(written)
    assert ids["queries"] == ["where does the red cat sleep?", "which dog runs?"]
    searchers = [*(Contextual(encoder, mode=mode) for mode in ("hybrid", "dense", "lexical")), None, BM25()]
    shown = [ids["documents"][int(box["data-document"])] for box in read.of("input") if box["data-query"] == "0"]
    for column, searcher in enumerate(searchers):
        if searcher is not None:
            expected = list(searcher.search(data, 5).run(data)[ids["queries"][0]])
            assert shown[5 * column : 5 * column + 5] == expected
    for label in ("own context, hybrid", "own context, dense", "own context, lexical", "no context", "BM25"):
        assert label in read.line


def test_only_the_pages_own_script_runs(tmp_path):
    _, written = hostile(tmp_path)
    read = Read(written)
    assert [each.get("type") for each in read.of("script")] == ["application/json", None]
    for tag in ("b", "a", "img", "link", "iframe", "form"):
        assert read.of(tag) == []
    (policy,) = [a["content"] for a in read.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    digest = b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert f"<script>{SCRIPT}</script>" in written


def test_ids_and_questions_reach_the_script_as_they_are(tmp_path):
    data, written = hostile(tmp_path)
    ids = embedded(written)
    assert re.fullmatch("[0-9a-f]{64}", ids.pop("page"))
    assert ids == {"queries": list(data.judged.queries), "documents": HOSTILE}
    assert not set("<>&") & set(script_safe(HOSTILE))


def saved(ids, marks):
    """What the page's script writes, by the program that runs such scripts, where there is one."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node to run the page's script")
    code = f"{SCRIPT}\nprocess.stdout.write(qrels({json.dumps(ids)}, {json.dumps(marks)}));"
    return subprocess.run([node, "-e", code], capture_output=True, check=True).stdout


def test_what_the_page_saves_is_read_back(tmp_path):
    _, written = hostile(tmp_path)
    (tmp_path / "marked.tsv").write_bytes(saved(embedded(written), [[0, 1], [0, 2], [1, 0], [1, 3], [1, 5]]))
    documents = [Document(f"{EVIL} {name}", name) for name in HOSTILE]
    found = own_questions(documents, tmp_path / "q.txt", tmp_path / "marked.tsv")
    assert [set(grades) for grades in found.judged.relevant.values()] == [
        {HOSTILE[1], HOSTILE[2]},
        {HOSTILE[0], HOSTILE[3], HOSTILE[5]},
    ]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_keeps_the_marks_through_a_reload_and_saves_them(tmp_path):
    pytest.importorskip("websockets")
    page = tmp_path / "marking #1 é.html"
    page.write_text(hostile(tmp_path)[1], encoding="utf-8")
    checked = "[...document.querySelectorAll('input:checked')].map((box) => box.dataset.document).join()"
    with tab(tmp_path) as browser:
        browser.open(page.as_uri())
        for key in ("Tab", "Space", "Tab", "Space", "Tab", "Tab", "Space", "Space"):
            browser.press(key)
        assert browser.run(checked) == "0,1"
        browser.open(page.as_uri())
        assert browser.run(checked) == "0,1"
        assert browser.run("document.getElementById('count').textContent") == "1 of 2 questions have a right hit."
        browser.run("document.getElementById('save').focus()")
        browser.press("Space")
        assert browser.wait("Browser.downloadWillBegin")["suggestedFilename"] == "marked.tsv"
        browser.wait("Browser.downloadProgress", state="completed")
        assert browser.complaints() == []
    documents = [Document(f"{EVIL} {name}", name) for name in HOSTILE]
    found = own_questions(documents, tmp_path / "q.txt", tmp_path / "marked.tsv")
    assert [set(grades) for grades in found.judged.relevant.values()] == [{HOSTILE[0], HOSTILE[1]}]


def test_marks_are_kept_for_the_texts_they_were_made_on(tmp_path):
    data, written = hostile(tmp_path)
    other = own_questions([Document(f"other {name}", name) for name in HOSTILE], tmp_path / "q.txt")
    hits = {EVIL: Hits(np.array([[0, 1, 2], [3, 4, 5]]), np.zeros((2, 3), np.float32))}
    assert embedded(marking_html(data, hits)) == embedded(written)
    assert embedded(marking_html(other, hits))["page"] != embedded(written)["page"]


MARKED = "query-id\tcorpus-id\tscore\nwhich dog runs?\td8\t1\n"


def test_questions_without_a_mark_are_left_out_and_that_is_said(questions, tmp_path):
    (tmp_path / "marked.tsv").write_text(MARKED + "where does the red cat sleep?\td1\t0\nan older question\td1\t1\n")
    found = own_questions(DOCUMENTS, questions, tmp_path / "marked.tsv")
    assert found.judged.relevant == {"which dog runs?": {"d8": 1}}
    assert found.note == "1 of 2 questions have no answer marked and are left out."
    assert evaluate(BM25(), found).queries == ("which dog runs?",)


def test_what_is_not_marked_is_not_evaluated(questions, make_encoder):
    with pytest.raises(EvaluationDataError, match=r"none of the 2 queries has an answer.*mark answers first"):
        evaluate(BM25(), own_questions(DOCUMENTS, questions))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", r"questions.txt holds no question; write one question a line"),
        ("a?\n\na?\n", r"questions.txt:3 asks what line 1 asks already"),
        ('{"_id": "q1", "text": "a?"}\n', r"questions.txt:1 is .*give one question a line, as plain text"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(questions, written, message):
    questions.write_text(written)
    with pytest.raises(CorpusFileError, match=message):
        own_questions(DOCUMENTS, questions)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (MARKED.replace("which", "what"), r"none of the documents marked for these questions"),
        (MARKED.replace("\t1", "\t0"), r"marks no answer to any of these questions"),
        (MARKED.replace("\t1", "\tyes"), r"marked.tsv:2 must have"),
        (None, r"marked.tsv does not exist"),
    ],
)
def test_marks_that_say_nothing_are_refused(questions, tmp_path, written, message):
    if written is not None:
        (tmp_path / "marked.tsv").write_text(written)
    with pytest.raises(CorpusFileError, match=message):
        own_questions(DOCUMENTS, questions, tmp_path / "marked.tsv")
