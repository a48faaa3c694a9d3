"""Vectors of pairs by a frozen model."""

import numpy as np
import pytest
from tiny import CORPUS
from topics import topic_pairs, topic_vectors, unit

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import CheckpointError, TrainingDataError, TrainingError
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.training.batches import surrogate
from cde_retrievers.training.batches.surrogate import PairVectors, embed_pairs
from cde_retrievers.training.data.pairs import Pair, TrainingPairs

PAIRS = TrainingPairs.of(
    Pair(f"{text.split()[1]} {i}", text, (CORPUS[-1 - i],), "zoo") for i, text in enumerate(CORPUS[:7])
)
PROMPTS = {"query_prompt": "q: ", "document_prompt": "d: "}


@pytest.fixture
def encoder(make_encoder):
    return make_encoder(**PROMPTS)


def one_at_a_time(encoder, texts, prompt):
    vectors = np.concatenate([encoder.biencoder_vectors([prompt + text], prompt="") for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [3, 4096])
def test_vectors_are_the_first_stages_behind_each_prompt(encoder, block, monkeypatch):
    monkeypatch.setattr(surrogate, "_BLOCK_ROWS", block)
    found = embed_pairs(PAIRS, encoder)
    assert found.queries.dtype == found.documents.dtype == np.float32
    np.testing.assert_allclose(found.queries, one_at_a_time(encoder, PAIRS.queries, "q: "), atol=1e-5)
    np.testing.assert_allclose(found.documents, one_at_a_time(encoder, PAIRS.documents, "d: "), atol=1e-5)


def test_kept_vectors_equal_fresh_ones_and_are_embedded_once(encoder, tmp_path, monkeypatch):
    fresh = embed_pairs(PAIRS, encoder)
    embed_pairs(PAIRS, encoder, tmp_path)
    monkeypatch.setattr(ContextualEncoder, "biencoder_vectors", None)
    kept = embed_pairs(PAIRS, encoder, tmp_path)
    assert isinstance(kept.queries, np.memmap)
    assert isinstance(kept.documents, np.memmap)
    np.testing.assert_array_equal(kept.queries, fresh.queries)
    np.testing.assert_array_equal(kept.documents, fresh.documents)
    assert kept.fingerprint == fresh.fingerprint


def entries(folder):
    return len([path for path in folder.iterdir() if path.is_dir()])


def test_another_text_prompt_model_or_number_format_is_embedded_anew(encoder, make_encoder, other_folder, tmp_path):
    embed_pairs(PAIRS, encoder, tmp_path)
    embed_pairs(PAIRS[:6], encoder, tmp_path)
    embed_pairs(PAIRS, make_encoder(**{**PROMPTS, "query_prompt": "x: "}), tmp_path)
    embed_pairs(PAIRS, make_encoder(**PROMPTS, dtype="bfloat16"), tmp_path)
    embed_pairs(PAIRS, other_folder, tmp_path)
    assert entries(tmp_path) == 5


def test_every_conditioning_gives_the_vectors_of_the_biencoder_beneath(make_encoder):
    """Whatever stands behind it: under `joint` the first stage ends in a projection that is not trained yet."""
    plain = make_encoder(**PROMPTS).first_stage_vectors(PAIRS.documents)
    for conditioning in ("joint", "cached"):
        found = embed_pairs(PAIRS, make_encoder(conditioning, **PROMPTS))
        np.testing.assert_allclose(found.documents, unit(plain), atol=1e-5)


def test_mined_negatives_that_are_known_texts_need_no_embedding(encoder, tmp_path):
    embed_pairs(PAIRS, encoder, tmp_path)
    embed_pairs(PAIRS[:] + PAIRS[:1], encoder, tmp_path)
    assert entries(tmp_path) == 1


def test_a_surrogate_goes_by_the_folder_of_a_biencoder_or_of_a_contextual_model(biencoder_folder, tmp_path):
    plain = ContextualEncoder.from_biencoder(biencoder_folder, WhiteningConditioning(power=0), device="cpu")
    plain.save(tmp_path / "saved")
    wanted = embed_pairs(PAIRS, plain)
    for folder in (biencoder_folder, str(tmp_path / "saved")):
        np.testing.assert_allclose(embed_pairs(PAIRS, folder).documents, wanted.documents, atol=1e-6)


def test_a_surrogate_that_does_not_exist_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        embed_pairs(PAIRS, tmp_path / "empty")


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_text_without_a_direction_is_named(encoder, monkeypatch, value):
    vectors = np.full((len(PAIRS.queries), encoder.width), 1, dtype=np.float32)
    vectors[2] = value
    monkeypatch.setattr(encoder, "biencoder_vectors", lambda *_: vectors)
    with pytest.raises(TrainingError, match=rf"without a direction to 1 texts, such as '{PAIRS.queries[2]}'"):
        embed_pairs(PAIRS, encoder)


def test_vectors_of_other_pairs_are_refused():
    pairs = topic_pairs({"a": 5})
    with pytest.raises(TrainingDataError, match=r"\(5, 5\) rows of queries and documents for \(6, 6\) texts"):
        topic_vectors(pairs).check_pairs(topic_pairs({"a": 6}))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.eye(4, 3, dtype=np.float32), r"must have length 1, row 3 has 0"),
        (np.full((2, 3), np.nan, dtype=np.float32), r"must have length 1, row 0 has nan"),
        (np.eye(3), r"must be a float32 matrix, found float64"),
        (np.ones(3, dtype=np.float32), r"must be a float32 matrix, found float32 of shape \(3,\)"),
        (np.eye(2, dtype=np.float32), r"query vectors are 2 wide and document vectors 3"),
    ],
)
def test_what_is_no_unit_row_is_refused(queries, message):
    with pytest.raises(TrainingDataError, match=message):
        PairVectors(queries, np.eye(3, dtype=np.float32))


def test_the_fingerprint_tells_vectors_apart():
    rows = np.eye(3, dtype=np.float32)
    same, other = PairVectors(rows, rows.copy()), PairVectors(rows, rows[::-1].copy())
    assert PairVectors(rows, rows).fingerprint == same.fingerprint != other.fingerprint
