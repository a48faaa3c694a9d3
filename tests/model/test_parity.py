"""The released models' function, entry by entry, against outputs of the official code (tests/fixtures/parity)."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from torch.testing import assert_close

from cde_retrievers import ContextualModel

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
TOLERANCE = {"atol": 1e-5, "rtol": 0}
CONTEXT_SLOTS = 6


@pytest.fixture(params=["v1_tiny", "v2_tiny"])
def release(request):
    return FIXTURES / request.param


@pytest.fixture(params=["train", "hub"])
def variant(request):
    return request.param


@pytest.fixture
def expected(release, variant):
    return load_file(release / f"expected_{variant}.safetensors")


@pytest.fixture
def inputs(release):
    return load_file(release / "inputs.safetensors")


@pytest.fixture
def model(release, variant):
    return ContextualModel.from_pretrained(release, variant=variant)


@pytest.fixture
def first_stage(model, inputs):
    return model.first_stage(inputs["ctx_input_ids"], inputs["ctx_attention_mask"])


@pytest.fixture
def embed(model, inputs):
    return lambda context: model.second_stage(inputs["doc_input_ids"], inputs["doc_attention_mask"], context)


def check(actual, expected, name):
    assert_close(actual, expected[name], **TOLERANCE)
    assert_close(normalize(actual, dim=-1), expected[f"{name}_normalized"], **TOLERANCE)


def test_first_stage(first_stage, expected):
    assert_close(first_stage, expected["first_stage"], **TOLERANCE)


def test_soft_prompt(model, expected):
    assert_close(model.second_stage.soft_prompt(), expected["soft_prompt"], **TOLERANCE)


def test_full(embed, first_stage, expected):
    check(embed(first_stage[:CONTEXT_SLOTS]), expected, "full")


def test_full_hidden_states(model, first_stage, inputs, expected):
    prefix = model.second_stage.prepare(first_stage[:CONTEXT_SLOTS])
    mask = inputs["doc_attention_mask"]
    states = model.second_stage.hidden_states(inputs["doc_input_ids"], mask, prefix)
    assert_close(states[mask.bool()], expected["full_hidden_states"][mask.bool()], **TOLERANCE)


def test_vectors_beyond_the_slots_are_not_read(embed, first_stage, expected):
    check(embed(first_stage), expected, "truncated")


def test_permuted(embed, first_stage, inputs, expected):
    check(embed(first_stage[:CONTEXT_SLOTS][inputs["context_permutation"]]), expected, "permuted")


def test_per_example(embed, first_stage, inputs, expected):
    check(embed(first_stage[inputs["per_example_index"]]), expected, "per_example")


def test_fewer(embed, first_stage, expected):
    check(embed(first_stage[: CONTEXT_SLOTS - 2]), expected, "fewer")


def test_combined_forward(model, inputs, expected):
    actual = model(
        inputs["doc_input_ids"],
        inputs["doc_attention_mask"],
        inputs["ctx_input_ids"][:CONTEXT_SLOTS],
        inputs["ctx_attention_mask"][:CONTEXT_SLOTS],
    )
    assert_close(actual, expected["combined_forward"], **TOLERANCE)


def test_null_context(release, variant, inputs, tmp_path):
    folder = shutil.copytree(release, tmp_path / "model")
    shutil.copy(release / "null" / "config.json", folder / "config.json")
    null = load_file(release / "null" / "null_embedding.safetensors")
    save_file({**load_file(release / "model.safetensors"), **null}, folder / "model.safetensors")
    model = ContextualModel.from_pretrained(folder, variant=variant)
    actual = model.second_stage(
        inputs["doc_input_ids"], inputs["doc_attention_mask"], torch.ones(CONTEXT_SLOTS, 32), null_context=True
    )
    check(actual, load_file(release / "null" / f"expected_{variant}.safetensors"), "null")


def test_texts_one_by_one_equal_the_batch(model, first_stage, inputs, expected):
    rows = []
    for ids, mask in zip(inputs["doc_input_ids"], inputs["doc_attention_mask"], strict=True):
        length = int(mask.sum())
        rows.append(model.second_stage(ids[None, :length], mask[None, :length], first_stage[:CONTEXT_SLOTS]))
    assert_close(torch.cat(rows), expected["full"], **TOLERANCE)


def test_more_padding_changes_nothing(model, first_stage, inputs, expected):
    pad = model.config.backbone["pad_token_id"]
    ids = torch.nn.functional.pad(inputs["doc_input_ids"], (0, 7), value=pad)
    mask = torch.nn.functional.pad(inputs["doc_attention_mask"], (0, 7))
    assert_close(model.second_stage(ids, mask, first_stage[:CONTEXT_SLOTS]), expected["full"], **TOLERANCE)


def test_eager_and_sdpa_attention_agree(model, embed, inputs, expected):
    for stage in (model.first_stage, model.second_stage):
        stage.backbone.set_attn_implementation("eager")
    vectors = model.first_stage(inputs["ctx_input_ids"], inputs["ctx_attention_mask"])
    check(embed(vectors[:CONTEXT_SLOTS]), expected, "full")


def test_bfloat16_stays_close(model, first_stage, inputs, expected):
    model.to(torch.bfloat16)
    vectors = model.first_stage(inputs["ctx_input_ids"], inputs["ctx_attention_mask"])
    texts = inputs["doc_input_ids"], inputs["doc_attention_mask"]
    actual = model.second_stage(*texts, vectors[:CONTEXT_SLOTS]).float()
    cosine = (normalize(actual, dim=-1) * expected["full_normalized"]).sum(dim=-1)
    assert cosine.min() > 0.99
