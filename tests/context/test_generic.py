"""The context for when no corpus is known: what it is made of, and that it is a context like any other."""

import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from subprocess import run
from sys import executable
from zipfile import ZipFile

import numpy as np
import pytest
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.errors import ConfigurationError

DATA = files("cde_retrievers.context") / "data"
LINES = (DATA / "generic_texts.jsonl").read_text(encoding="utf-8").splitlines()
ENTRIES = [json.loads(line) for line in LINES]
TEXTS = generic_texts()
ROOT = Path(__file__).parents[2]


def stated_counts(notice):
    """What the list at the head of NOTICE says: {package: texts}."""
    return {name: int(count) for name, count in re.findall(r"^([a-z][\w.-]+) \((\d+)\)", notice, flags=re.MULTILINE)}


def test_they_are_512_distinct_texts_of_sane_length():
    assert len(TEXTS) == len(set(TEXTS)) == 512
    assert all(40 <= len(text.split()) <= 120 for text in TEXTS)
    assert sum(len(line.encode()) + 1 for line in LINES) < 600_000


def test_they_come_in_the_files_order():
    assert list(TEXTS) == [entry["text"] for entry in ENTRIES]


def test_they_are_clean_sentences():
    unclean = re.compile(r"[@<>\ufffd]|://|\s\s|\n|Copyright|&\w+;")
    assert [text for text in TEXTS if unclean.search(text)] == []
    assert [text for text in TEXTS if not re.search(r"[.!?][\"\u201d\u2019')]?$", text)] == []


def test_no_two_of_them_say_the_same():
    words = [frozenset(re.findall(r"[a-z]{4,}", text.lower())) for text in TEXTS]
    most = max(len(one & two) / len(one | two) for i, one in enumerate(words) for two in words[:i])
    assert most <= 0.2


def test_every_source_is_named_in_the_notice_and_none_prevails():
    counts = Counter(entry["source"] for entry in ENTRIES)
    assert counts == stated_counts((DATA / "NOTICE").read_text(encoding="utf-8"))
    assert len(counts) >= 6
    assert max(counts.values()) < len(ENTRIES) / 3


def test_the_script_asks_for_what_is_there(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from generic_texts import QUOTAS, acceptable

    assert stated_counts((DATA / "NOTICE").read_text(encoding="utf-8")) == QUOTAS
    assert [text for text in TEXTS if not acceptable(text)] == []


def test_texts_and_notice_are_in_the_built_package(tmp_path):
    command = [executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        assert archive.read("cde_retrievers/context/data/generic_texts.jsonl").decode().splitlines() == LINES
        assert archive.read("cde_retrievers/context/data/NOTICE") == (DATA / "NOTICE").read_bytes()
        assert [name for name in archive.namelist() if name.endswith("licenses/cde_retrievers/context/data/NOTICE")]


def test_it_is_the_same_for_two_encoders_of_one_model(model_folder):
    encoders = [ContextualEncoder.from_pretrained(model_folder, "cpu", "float32") for _ in range(2)]
    first, second = (encoder.generic_context() for encoder in encoders)
    assert first == second == encoders[0].generic_context()
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_it_holds_the_first_stage_vectors_of_the_texts(make_encoder):
    encoder = make_encoder(document_prompt="read: ")
    context = encoder.generic_context()
    assert (len(context), context.corpus_size, context.strategy) == (16, 512, "generic")
    expected = encoder.first_stage_vectors([TEXTS[i] for i in context.positions])
    np.testing.assert_allclose(context.vectors, expected, atol=1e-5)


def test_it_differs_from_a_fitted_one_even_on_the_same_texts(make_encoder):
    encoder = make_encoder()
    generic, fitted = encoder.generic_context(), encoder.fit_context(TEXTS)
    assert generic.documents == fitted.documents, "chosen and hashed by the same code"
    np.testing.assert_array_equal(generic.vectors, fitted.vectors)
    assert generic.fingerprint != fitted.fingerprint
    assert generic != encoder.fit_context(CORPUS)


def test_it_conditions_embeddings_and_can_be_saved(conditioning, make_encoder, tmp_path):
    encoder = make_encoder(conditioning)
    generic = encoder.generic_context()
    rows = encoder.encode_queries(QUERIES, generic)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.abs(rows - encoder.encode_queries(QUERIES, encoder.fit_context(CORPUS))).max() > 1e-3
    generic.save(tmp_path / "context")
    np.testing.assert_array_equal(encoder.encode_queries(QUERIES, CorpusContext.load(tmp_path / "context")), rows)


@pytest.mark.parametrize(("size", "distinct"), [(2, 2), (100, 100), (512, 512), (700, 512)])
def test_it_has_the_models_context_size(make_encoder, size, distinct):
    context = make_encoder(context_size=size).generic_context()
    assert (len(context), context.distinct, len(set(context.documents))) == (size, distinct, distinct)


def test_generic_is_no_strategy_for_a_corpus(make_encoder):
    with pytest.raises(ConfigurationError, match="strategy 'generic' is unknown"):
        make_encoder().fit_context(CORPUS, strategy="generic")


def test_a_bar_on_request(make_encoder, capsys):
    make_encoder().generic_context(show_progress=True)
    assert "Embedding" in capsys.readouterr().err
    make_encoder().generic_context(show_progress=False)
    assert capsys.readouterr().err == ""
