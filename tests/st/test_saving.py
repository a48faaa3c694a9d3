"""What a `SentenceTransformer` saves comes back as it was, or not at all."""

import json

import numpy as np
import pytest
import torch
from tiny import CORPUS, QUERIES

pytest.importorskip("sentence_transformers", reason="needs the package of the `st` extra")

from sentence_transformers import SentenceTransformer

from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextFileError,
    ContextMismatchError,
    PathInUseError,
)
from cde_retrievers.st import ContextualModule

TEXTS = [*CORPUS, "", "green"]


def assert_same(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def sentence_transformer(module, **settings) -> SentenceTransformer:
    return SentenceTransformer(modules=[module], device="cpu", **{"prompts": module.prompts, **settings})


def load(path, **settings) -> SentenceTransformer:
    settings = {"trust_remote_code": True, "model_kwargs": {"dtype": "float32"}, **settings}
    return SentenceTransformer(str(path), device="cpu", **settings)


@pytest.fixture
def saved(module, tmp_path):
    sentence_transformer(module, similarity_fn_name="cosine").save(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_saved_and_loaded(conditioning, make_module, tmp_path):
    model = sentence_transformer(make_module(conditioning), similarity_fn_name="dot")
    model.save(str(tmp_path / "saved"))
    model.save(str(tmp_path / "saved"))
    assert not list((tmp_path / "saved").rglob("*.py"))
    again = load(tmp_path / "saved")
    assert again.prompts == model.prompts
    assert again.similarity_fn_name == "dot"
    assert again[0].context == model[0].context
    assert_same(again.encode_query(TEXTS), model.encode_query(TEXTS))
    assert_same(again.encode_document(TEXTS), model.encode_document(TEXTS))


def test_nothing_is_replaced_where_the_context_cannot_be(make_module, saved):
    before = (saved / "encoder" / "checksums.json").read_text()
    (saved / "context" / "context.json").rename(saved / "context" / "letter.json")
    with pytest.raises(PathInUseError, match="already holds other files"):
        make_module(document_prompt="other: ").save(str(saved))
    assert (saved / "encoder" / "checksums.json").read_text() == before


def test_without_trust_the_library_refuses_and_the_class_loads(module, saved):
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        load(saved, trust_remote_code=False)
    again = ContextualModule.load(saved, model_kwargs={"dtype": "float32"})
    assert_same(sentence_transformer(again).encode_query(TEXTS), module.encoder.encode_queries(TEXTS, module.context))


def test_a_saved_context_of_another_model_is_refused(saved, make_encoder):
    make_encoder().fit_context(CORPUS).save(saved / "context")
    with pytest.raises(ContextMismatchError, match="was fitted by model"):
        load(saved)


def test_an_edited_context_is_refused(saved):
    header = json.loads((saved / "context" / "context.json").read_text())
    (saved / "context" / "context.json").write_text(json.dumps({**header, "seed": 1}))
    with pytest.raises(ContextFileError, match="was edited"):
        load(saved)


@pytest.mark.parametrize("part", ["encoder", "context"])
def test_a_missing_part_is_named(saved, part):
    (saved / part).rename(saved / "elsewhere")
    with pytest.raises(CheckpointError, match=f"no directory {part}"):
        load(saved)


@pytest.mark.parametrize(
    "settings", [{"backend": "onnx"}, {"model_kwargs": {"attn_implementation": "sdpa"}}, {"config_kwargs": {"x": 1}}]
)
def test_settings_that_encoders_do_not_have_are_refused(saved, settings):
    with pytest.raises(ConfigurationError, match="leave them out"):
        load(saved, **settings)


def test_the_number_format_is_chosen_in_loading_and_kept(saved):
    model = load(saved, model_kwargs={"dtype": torch.bfloat16})
    assert model[0].encoder.dtype == torch.bfloat16
    assert model.half().encode_query(QUERIES).dtype == np.float32
    assert model[0].encoder.dtype == torch.bfloat16
