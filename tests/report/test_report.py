"""`report` compares as `compare` does, and puts a page where it was asked for, or leaves what is there."""

import sys
from pkgutil import iter_modules

import numpy as np
import pytest
from searched import ANIMALS, OTHERS

pytest.importorskip("jinja2")
import cde_retrievers.report
from cde_retrievers.errors import MissingDependencyError, PathInUseError
from cde_retrievers.evaluation import BM25, compare
from cde_retrievers.evaluation.pictures import Projection
from cde_retrievers.report import report
from cde_retrievers.report.findings import MappedContext


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("whitening")


def test_the_page_is_about_what_compare_finds(encoder, tmp_path):
    options = {"foreign": [OTHERS], "sizes": [4, 8], "others": [BM25()]}
    found = report(encoder, ANIMALS, tmp_path / "new" / "report.html", **options)
    expected = compare(encoder, ANIMALS, **options)
    assert found.to_dict() == expected.to_dict()
    written = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    for row in expected.rows:
        assert row.label in written
    assert "Words that favoured the right document:" in written
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_a_page_embeds_every_text_once(encoder, tmp_path, monkeypatch):
    runs, run = [], encoder._runner.run
    monkeypatch.setattr(encoder._runner, "run", lambda texts, *a: (runs.append(len(texts)), run(texts, *a))[1])
    report(encoder, ANIMALS, tmp_path / "report.html", seeds=[1], sizes=[4, 8])
    assert sum(runs) == len(set(ANIMALS.texts)) + len(set(ANIMALS.judged.queries.values()))


def test_the_mapped_context_is_the_one_that_is_searched_under(encoder):
    mapped = MappedContext.of(encoder, ANIMALS)
    context = encoder.fit_context(ANIMALS.texts)
    assert list(mapped.chosen) == list(context.positions)
    assert (mapped.strategy, mapped.seed) == ("random", 0)
    assert mapped.terms.fingerprint == context.terms.fingerprint
    assert len(set(mapped.chosen)) == 16
    assert len(mapped.projection.points) == len(ANIMALS.texts)
    # The context documents come first, so their distances on the map are those of their embeddings' projection.
    others = [place for place in range(len(ANIMALS.texts)) if place not in mapped.chosen]
    everything = encoder.encode_documents([ANIMALS.texts[place] for place in (*mapped.chosen, *others)], context)
    expected = Projection.of(everything).points[:16]
    np.testing.assert_allclose(np.abs(mapped.projection.points[:16]), np.abs(expected), atol=1e-4)


def test_a_small_corpus_is_listed_once(encoder):
    assert sorted(MappedContext.of(encoder, OTHERS).chosen) == [0, 1, 2]


def test_of_a_large_corpus_a_part_is_mapped(encoder, monkeypatch):
    monkeypatch.setattr("cde_retrievers.report.findings._ON_MAP", 5)
    assert len(MappedContext.of(encoder, ANIMALS).projection.points) == 21


def test_a_directory_is_refused_before_the_model_is_loaded(tmp_path):
    with pytest.raises(PathInUseError, match=r"is a directory; give the path of a file"):
        report("no such model", ANIMALS, tmp_path)


def test_a_page_that_cannot_be_made_leaves_the_older_one(encoder, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("older")

    def broken(findings):
        raise KeyboardInterrupt

    monkeypatch.setattr("cde_retrievers.report.writer.page", broken)
    with pytest.raises(KeyboardInterrupt):
        report(encoder, ANIMALS, path)
    assert path.read_text() == "older"
    monkeypatch.undo()
    report(encoder, ANIMALS, path)
    assert path.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "ir_measures"])
def test_a_missing_package_is_named_before_the_model_is_loaded(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"a report needs {package}: .*cde-retrievers\[eval\]"):
        report("no such model", ANIMALS, tmp_path / "report.html")


def test_no_module_hides_a_public_name():
    modules = {module.name for module in iter_modules(cde_retrievers.report.__path__)}
    assert modules.isdisjoint(cde_retrievers.report.__all__)
