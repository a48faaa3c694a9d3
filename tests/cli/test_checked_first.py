"""What a command cannot read or write is said before a document is read or a model loaded."""

import json
import shutil

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

from cde_retrievers import ContextualEncoder
from cde_retrievers.cli.app import app
from cde_retrievers.corpora.corpus import Corpus


@pytest.fixture
def work(monkeypatch):
    """What was begun."""
    begun = []
    monkeypatch.setattr(
        ContextualEncoder, "from_pretrained", classmethod(lambda *given, **how: begun.append("model") or 1 / 0)
    )
    monkeypatch.setattr(Corpus, "check", lambda *given: begun.append("reading") or 1 / 0)
    return begun


@pytest.fixture
def places(tmp_path, indexed, source):
    """Paths by the names that the command lines below have for them."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "thesis.tex").write_text("mine")
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_text(json.dumps({"_id": "d", "text": "a cat"}) + "\n")
    (beir / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a cat"}) + "\n")
    (beir / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    (tmp_path / "questions.txt").write_text("a cat?\n")
    context = next((indexed / "contexts").iterdir())
    shutil.copytree(context, tmp_path / "context")
    return {
        "SOURCE": source,
        "INDEX": indexed,
        "CONTEXT": tmp_path / "context",
        "GONE": tmp_path / "gone",
        "NEW": tmp_path / "new",
        "FILE": tmp_path / "file",
        "BELOW": tmp_path / "file" / "below",
        "OTHERS": tmp_path / "others",
        "BEIR": beir,
        "QUESTIONS": tmp_path / "questions.txt",
    }


@pytest.mark.parametrize(
    "line",
    [
        "fit GONE --out NEW",
        "fit SOURCE --out FILE",
        "fit SOURCE --out BELOW",
        "fit SOURCE --out OTHERS",
        "fit SOURCE --out INDEX",
        "fit SOURCE --out NEW --language klingon",
        "fit SOURCE --out NEW --size 0",
        "index GONE --out NEW",
        "index SOURCE --out FILE",
        "index SOURCE --out BELOW",
        "index SOURCE --out OTHERS",
        "index SOURCE --out INDEX",
        "index SOURCE --out CONTEXT",
        "index SOURCE --out NEW --context GONE",
        "index SOURCE --out NEW --language klingon",
        "index SOURCE --out NEW --size 0",
        "search GONE cat",
        "search INDEX cat --filter {",
        "add GONE SOURCE",
        "add INDEX GONE",
        "sync GONE",
        "sync INDEX --source GONE",
        "check GONE",
        "check INDEX --context GONE",
        "drift GONE SOURCE",
        "drift INDEX GONE",
        "drift CONTEXT GONE",
        "drift INDEX SOURCE --sample 3",
        "drift INDEX SOURCE --seed -1",
        "refit GONE",
        "refit INDEX --context GONE",
        "refit INDEX --judged GONE",
        "refit INDEX --judged FILE",
        "refit INDEX --judged SOURCE",
        "refit INDEX --judged OTHERS",
        "refit INDEX --judged BEIR",
        "refit INDEX --judged-split dev",
        "refit INDEX --language klingon",
        "refit INDEX --size 0",
        "info GONE",
        "eval GONE",
        "eval BEIR",
        "eval BEIR --qrels GONE",
        "eval BEIR --qrels dev --context-of GONE",
        "eval SOURCE --out OTHERS",
        "eval SOURCE --out FILE",
        "eval SOURCE --out BELOW",
        "eval SOURCE --queries GONE",
        "eval SOURCE --queries QUESTIONS --qrels GONE",
        "report GONE --out NEW",
        "report BEIR --out NEW",
        "report SOURCE --out OTHERS",
        "report SOURCE --out FILE",
        "report SOURCE --out BELOW",
        "report SOURCE --out NEW --queries GONE",
        "serve --contexts GONE",
        "serve --contexts OTHERS",
        "serve --contexts CONTEXT --token-file GONE",
        "serve --contexts CONTEXT --max-texts 0",
        "train GONE --out NEW",
        "train GONE --from-documents --out NEW",
        "train SOURCE --from-documents --out FILE",
        "train SOURCE --from-documents --out BELOW",
        "train SOURCE --from-documents --out NEW --evaluate GONE",
        "train SOURCE --from-documents --out NEW --evaluate OTHERS",
        "train SOURCE --from-documents --out NEW --evaluate BEIR",
        "train SOURCE --from-documents --out NEW --resume",
        "train SOURCE --from-documents --out NEW --epochs 0",
        "train SOURCE --from-documents --out NEW --setting what=1",
        "bulk plan GONE --context CONTEXT --out NEW",
        "bulk plan SOURCE --context GONE --out NEW",
        "bulk plan SOURCE --context CONTEXT --out FILE",
        "bulk plan SOURCE --context CONTEXT --out BELOW",
        "bulk plan SOURCE --context CONTEXT --out OTHERS",
        "bulk run GONE",
        "bulk collect GONE --into NEW",
    ],
)
def test_what_is_wrong_is_said_before_any_work(places, work, line):
    before = sorted(path for path in places["OTHERS"].parent.rglob("*") if places["INDEX"] not in path.parents)
    arguments = [str(places.get(part, part)) for part in line.split()]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code in (1, 2), result.output
    assert "unexpected" not in result.stderr
    assert (work, result.stdout) == ([], "")
    after = sorted(path for path in places["OTHERS"].parent.rglob("*") if places["INDEX"] not in path.parents)
    assert after == before, "nothing is left behind"


@pytest.mark.parametrize(
    "line",
    [
        "fit SOURCE --out NEW --model GONE",
        "fit SOURCE --out NEW --device nowhere",
        "index SOURCE --out NEW --model GONE",
        "index SOURCE --out NEW --dtype int3",
        "eval SOURCE --model GONE",
        "eval BEIR --qrels dev --model GONE",
        "report SOURCE --out NEW --model GONE",
        "train SOURCE --from-documents --out NEW --model GONE",
        "bulk plan SOURCE --context CONTEXT --out NEW --model GONE",
    ],
)
def test_a_model_that_cannot_be_loaded_is_told_before_documents_are_read(places, monkeypatch, line):
    for reads in ("check", "__iter__"):
        monkeypatch.setattr(Corpus, reads, lambda *given: pytest.fail("documents were read"))
    arguments = [str(places.get(part, part)) for part in line.split()]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert "unexpected" not in result.stderr


@pytest.mark.parametrize(("judged", "found"), [("GONE", "does not exist"), ("QUESTIONS", "is not a folder")])
def test_where_judged_queries_belong_is_told(places, judged, found):
    result = CliRunner().invoke(app, ["refit", str(places["INDEX"]), "--judged", str(places[judged])])
    told = f"{places[judged]} {found}; give a BEIR folder, with queries.jsonl and qrels/test.tsv"
    assert told in " ".join(result.stderr.split())
