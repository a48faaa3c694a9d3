"""`drift` measures what the library measures, and a script can act on its exit code."""

import json
import random

import pytest
from tiny import CORPUS

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.drift import measure
from cde_retrievers.index import ContextualIndex

FOREIGN = [f"{i} + {j} = {i + j}; x{i} := {j * 7}" for i in range(10, 18) for j in range(5)]
MIXED = random.Random(0).sample(CORPUS, len(CORPUS))


@pytest.fixture
def written(tmp_path):
    def write(texts):
        path = tmp_path / "new.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return path

    return write


@pytest.mark.parametrize(("texts", "verdict", "code"), [(FOREIGN, "refit", 3), (MIXED[27:], "as expected", 0)])
def test_the_exit_code_says_whether_to_refit(answer, written, model_folder, tmp_path, texts, verdict, code):
    answer("index", written(MIXED[:27]), "--out", tmp_path / "half", "--model", model_folder)
    found = answer("drift", tmp_path / "half", written(texts), "--sample", 20, "--seed", 2, exit_code=code)
    encoder = ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")
    assert found == measure(ContextualIndex.open(tmp_path / "half", encoder), texts, sample=20, seed=2).to_dict()
    assert found["verdict"] == verdict


def test_a_context_alone_can_be_asked(answer, run, source, written, model_folder, tmp_path):
    answer("fit", source, "--out", tmp_path / "context", "--model", model_folder)
    result = run("drift", tmp_path / "context", written(FOREIGN))
    assert result.exit_code == 3
    assert result.stdout.startswith("refit: ")
    found = answer("drift", tmp_path / "context", written(FOREIGN), exit_code=3)
    assert found["context"] == CorpusContext.load(tmp_path / "context").fingerprint


def test_too_few_documents_to_measure_are_no_error(run, answer, indexed, written):
    result = run("drift", indexed, written(FOREIGN[:3]))
    assert result.exit_code == 0
    assert result.stdout.startswith("too few: 3 different new documents cannot be compared")
    assert answer("drift", indexed, written(FOREIGN[:3]))["verdict"] == "too few"


def test_the_documents_of_the_index_are_nothing_new(run, answer, indexed, source):
    assert run("drift", indexed, source).stdout.startswith("nothing new: ")
    assert answer("drift", indexed, source)["verdict"] == "nothing new"
