"""A context carries the term statistics of its documents, on disk too, and sparse vectors need them."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cde_retrievers.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.storage.checked_json import sealed
from cde_retrievers.storage.hashing import sha256_of_file

TEXTS = ["the cat sat on the mat", "dogs chase cats", "os.path.join joins path segments"]
TERMS = TermStatistics.of(TEXTS, Analyzer())


def make(terms=TERMS) -> CorpusContext:
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    return CorpusContext(vectors, "model", "f" * 64, ("a", "b", "c"), (0, 1, 2), 3, 3, "random", 0, terms=terms)


@pytest.fixture
def saved(tmp_path):
    make().save(tmp_path / "context")
    return tmp_path / "context"


def reseal(path, **changed):
    content = json.loads((path / "context.json").read_text())
    content = {name: value for name, value in content.items() if name not in ("seal", "format_version")}
    content |= {"vectors_sha256": sha256_of_file(path / "vectors.safetensors"), **changed}
    (path / "context.json").write_text(json.dumps(sealed(content, 2)))


def test_they_are_part_of_the_fingerprint_and_come_back_from_disk(saved):
    loaded = CorpusContext.load(saved)
    assert loaded == make() == pickle.loads(pickle.dumps(make()))
    assert loaded.term_statistics().fingerprint == TERMS.fingerprint
    assert make(None) != make() != make(TermStatistics.of(TEXTS[:2], Analyzer()))


def test_a_context_without_them_is_saved_as_before_and_says_that_it_carries_none(tmp_path):
    make(None).save(tmp_path / "old")
    content = json.loads((tmp_path / "old" / "context.json").read_text())
    assert (content["format_version"], "terms" in content) == (1, False)
    with pytest.raises(ContextMismatchError, match=r"carries no term statistics.*fit a context with this release"):
        CorpusContext.load(tmp_path / "old").term_statistics()


@pytest.mark.parametrize(
    "change",
    [
        lambda path, tensors: reseal(path, terms={}),
        lambda path, tensors: reseal(path, terms=None),
        lambda path, tensors: reseal(path, terms={**TERMS.settings(), "documents": "3"}),
        lambda path, tensors: reseal(path, terms={**TERMS.settings(), "b": 2.0}),
        lambda path, tensors: reseal(path, terms={**TERMS.settings(), "documents": 2}),
        lambda path, tensors: (tensors.pop("term_numbers"), save(path, tensors)),
        lambda path, tensors: save(path, {**tensors, "term_numbers": tensors["term_numbers"][::-1].copy()}),
        lambda path, tensors: save(path, {**tensors, "term_frequencies": tensors["vectors"]}),
    ],
)
def test_edited_ones_are_refused(saved, change):
    change(saved, load_file(saved / "vectors.safetensors"))
    with pytest.raises(ContextFileError, match="context"):
        CorpusContext.load(saved)


def save(path, tensors):
    save_file(tensors, path / "vectors.safetensors")
    reseal(path)


def test_something_else_is_refused():
    with pytest.raises(ConfigurationError, match="terms must be TermStatistics, found dict"):
        replace(make(), terms={})
