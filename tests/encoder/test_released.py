"""The released models from end to end: tokenizer, prompts, variants, contexts, and the way back to disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import CORPUS, QUERIES
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from cde_retrievers import ContextualEncoder, ContextualModel
from cde_retrievers.errors import CheckpointError, ConfigurationError, ContextMismatchError, PathInUseError
from cde_retrievers.model import hub

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
COLON = 27
CPU = {"device": "cpu", "dtype": "float32"}


def released_tokenizer(size, colon=COLON):
    """Every word of the tests' corpus, and the colon that ends a prompt where ModernBERT has it."""
    words = sorted({word for text in [*CORPUS, *QUERIES] for word in text.replace("?", "").split()})
    words += ["search", "_", "query", "document", "?"]
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, ":": colon}
    free = (i for i in range(size) if i not in vocabulary.values())
    vocabulary |= {word: next(free) for word in words}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer


@pytest.fixture(params=["v1_tiny", "v2_tiny"])
def folder(request, tmp_path):
    """A copy of the published layout with a tokenizer in it."""
    copy = shutil.copytree(FIXTURES / request.param, tmp_path / "published")
    released_tokenizer(200).save(str(copy / "tokenizer.json"))
    return copy


@pytest.fixture
def v2(tmp_path):
    copy = shutil.copytree(FIXTURES / "v2_tiny", tmp_path / "v2")
    released_tokenizer(200).save(str(copy / "tokenizer.json"))
    return copy


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_fit_and_encode_with_the_published_prompts(folder):
    encoder = ContextualEncoder.from_pretrained(folder, **CPU)
    assert (encoder.config.query_prompt, encoder.config.document_prompt) == ("search_query: ", "search_document: ")
    context = encoder.fit_context(CORPUS)
    assert (len(context), encoder.config.max_length) == (6, 512)
    rows = encoder.encode_queries(QUERIES, context)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode(f"search_query: {QUERIES[1]}").ids])
    alone = encoder.model.second_stage(ids, torch.ones_like(ids), torch.from_numpy(context.vectors.copy()))
    np.testing.assert_allclose(rows[1], (alone / alone.norm()).detach()[0], atol=1e-5)


def test_prompts_are_read_but_not_pooled_in_v2_train(v2):
    """With attention cut off, leaving the prompt out of the pooling is leaving it out of the text."""
    model = ContextualModel.from_pretrained(v2)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]])
    ids = torch.tensor([[1, 9, COLON, 11, 2, COLON]])
    assert model.second_stage._pooled_tokens(ids, mask).tolist() == [[0, 0, 0, 1, 1, 0]]
    hub_stage = ContextualModel.from_pretrained(v2, variant="hub").second_stage
    assert hub_stage._pooled_tokens(ids, mask).tolist() == mask.tolist()


def test_contexts_of_one_variant_do_not_fit_the_other(folder):
    train, hub_variant = (ContextualEncoder.from_pretrained(folder, variant=v, **CPU) for v in ("train", "hub"))
    context = train.fit_context(CORPUS)
    assert ContextualEncoder.from_pretrained(folder, **CPU).fit_context(CORPUS) == context
    with pytest.raises(ContextMismatchError):
        hub_variant.encode_queries(QUERIES, context)
    own = hub_variant.fit_context(CORPUS)
    assert np.abs(hub_variant.encode_queries(QUERIES, own) - train.encode_queries(QUERIES, context)).max() > 1e-3


def test_a_small_corpus_fills_all_slots_and_no_other_size_is_taken(folder):
    encoder = ContextualEncoder.from_pretrained(folder, **CPU)
    assert len(encoder.fit_context(CORPUS[:2])) == len(encoder.fit_context(CORPUS, size=6)) == 6
    with pytest.raises(ConfigurationError, match="reads exactly 6 context vectors, size=4 was requested"):
        encoder.fit_context(CORPUS, size=4)


@pytest.mark.parametrize("variant", ["train", "hub"])
def test_own_layout_comes_back_bit_for_bit(folder, variant, tmp_path):
    encoder = ContextualEncoder.from_pretrained(folder, variant=variant, **CPU)
    encoder.save(tmp_path / "own")
    again = ContextualEncoder.from_pretrained(tmp_path / "own", **CPU)
    assert again.fingerprint == encoder.fingerprint
    assert again.config == encoder.config
    for (name, weight), (_, expected) in zip(
        again.model.named_parameters(), encoder.model.named_parameters(), strict=True
    ):
        assert torch.equal(weight, expected), name
    with pytest.raises(ConfigurationError, match=f"was saved as '{variant}'"):
        ContextualEncoder.from_pretrained(tmp_path / "own", variant="hub" if variant == "train" else "train")


@pytest.mark.parametrize("variant", ["train", "hub"])
def test_the_published_layout_comes_back_bit_for_bit(folder, variant, tmp_path):
    encoder = ContextualEncoder.from_pretrained(folder, variant=variant, **CPU)
    encoder.export_published_layout(tmp_path / "out")
    published, exported = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "out"))
    assert exported.keys() == published.keys()
    assert all(torch.equal(exported[name], published[name]) for name in published)
    again = ContextualEncoder.from_pretrained(tmp_path / "out", variant=variant, **CPU)
    assert again.fingerprint == encoder.fingerprint
    theirs = json.loads((folder / "config.json").read_text())
    ours = json.loads((tmp_path / "out" / "config.json").read_text())
    shared = ours.keys() & theirs.keys()
    assert {"embedder", "transductive_corpus_size", "max_seq_length"} <= shared
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}


def test_the_null_vector_is_exported_too(tmp_path):
    folder = shutil.copytree(FIXTURES / "v1_tiny", tmp_path / "null")
    shutil.copy(folder / "null" / "config.json", folder / "config.json")
    weights = load_file(folder / "model.safetensors") | load_file(folder / "null" / "null_embedding.safetensors")
    save_file(weights, folder / "model.safetensors")
    ContextualModel.from_pretrained(folder).export_published_layout(tmp_path / "out")
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == weights.keys()


def test_other_models_have_no_published_layout(make_model, tmp_path):
    for conditioning in ("joint", "whitening"):
        with pytest.raises(ConfigurationError, match=r"holds released models only .*; use save\(\)"):
            make_model(conditioning).export_published_layout(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_exporting_never_replaces_something_else(folder, tmp_path):
    encoder = ContextualEncoder.from_pretrained(folder, **CPU)
    encoder.save(tmp_path / "own")
    with pytest.raises(PathInUseError, match="already holds other files"):
        encoder.export_published_layout(tmp_path / "own")


def test_without_a_null_vector_a_context_is_needed(folder):
    model = ContextualModel.from_pretrained(folder)
    ids = torch.tensor([[1, 9, 2]])
    with pytest.raises(ConfigurationError, match="has no null vector"):
        model.second_stage(ids, torch.ones_like(ids), torch.ones(6, 32), null_context=True)


def test_too_many_context_vectors_are_said(folder, caplog):
    model = ContextualModel.from_pretrained(folder)
    model.second_stage.prepare(torch.ones(8, 32))
    assert "only the first 6 of 8 context vectors are read" in caplog.text


def test_the_architecture_is_known_by_its_weights_too(folder):
    expected = ContextualModel.from_pretrained(folder).fingerprint()
    edit_config(folder, embedder="somebody/renamed-it")
    assert ContextualModel.from_pretrained(folder).fingerprint() == expected


def test_the_tokenizer_comes_by_name_where_the_checkpoint_has_none(folder, monkeypatch, tmp_path):
    (folder / "tokenizer.json").rename(tmp_path / "fetched.json")
    asked = []

    def download(repository, name, cache_dir):
        asked.append((repository, name))
        return str(tmp_path / "fetched.json")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    ContextualEncoder.from_pretrained(folder, **CPU)
    v1 = "nomic" in (folder / "config.json").read_text()
    assert asked == [("google-bert/bert-base-uncased" if v1 else "answerdotai/ModernBERT-base", "tokenizer.json")]


def test_offline_the_missing_tokenizer_is_named(folder, monkeypatch, tmp_path):
    (folder / "tokenizer.json").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"has no tokenizer.json, and .* put tokenizer.json of .* into"):
        ContextualEncoder.from_pretrained(folder, cache_folder=tmp_path / "cache", **CPU)


def test_a_tokenizer_whose_colon_is_another_token_is_refused(v2):
    released_tokenizer(200, colon=30).save(str(v2 / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"expects token 27 at the end of a prompt, which must be ':'.* has 30"):
        ContextualEncoder.from_pretrained(v2, **CPU)
    ContextualEncoder.from_pretrained(v2, variant="hub", **CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transductive_tokens_per_document": 2}, "several vectors per context document, which is not supported"),
        ({"transductive_corpus_size": 1}, "transductive_corpus_size: .* greater than or equal to 2"),
    ],
)
def test_settings_that_no_released_model_has_are_refused(folder, change, message):
    edit_config(folder, **change)
    with pytest.raises(CheckpointError, match=message):
        ContextualModel.from_pretrained(folder)


def test_an_unknown_variant_is_refused(folder):
    with pytest.raises(ConfigurationError, match=r"variant 'hf_model' is unknown; use one of \['train', 'hub'\]"):
        ContextualModel.from_pretrained(folder, variant="hf_model")


def test_an_unknown_backbone_is_refused(folder):
    edit_config(folder, embedder="somebody/new")
    save_file({"first_stage_model.embedder.x": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="has the backbone 'somebody/new', which is unknown"):
        ContextualModel.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder, value):
    weights = load_file(folder / "model.safetensors")
    weights["second_stage_model.output_projection.0.bias"][3] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"output_projection.0.bias has values that are not finite numbers"):
        ContextualModel.from_pretrained(folder)


def test_a_half_downloaded_checkpoint_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"is damaged or incomplete .*; fetch or save it again"):
        ContextualModel.from_pretrained(folder)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"safetensors only .*convert other formats first"):
        ContextualModel.from_pretrained(folder)


def test_weights_of_the_wrong_shape_are_listed(folder):
    weights = load_file(folder / "model.safetensors")
    weights["first_stage_model.mlp.0.weight"] = torch.ones(3, 3)
    del weights["first_stage_model.mlp.2.bias"]
    weights["second_stage_model.extra"] = torch.ones(1)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="do not fit the config") as caught:
        ContextualModel.from_pretrained(folder)
    for part in ("first_stage.mlp.0.weight has shape (3, 3) instead of (32, 32)", "missing first_stage.mlp.2.bias"):
        assert part in str(caught.value)
    assert "unexpected second_stage_model.extra" in str(caught.value)


def test_built_in_models_have_no_variants():
    with pytest.raises(ConfigurationError, match="the built-in model 'minilm' has no variants"):
        ContextualEncoder.from_pretrained("minilm", variant="hub")


def test_cached_conditioning_needs_layers_that_know_their_number(folder):
    config = ContextualModel.from_pretrained(folder).config
    settings = {**config.to_dict(), "conditioning": {"kind": "cached"}}
    with pytest.raises(ConfigurationError, match="cached conditioning is not available over"):
        ContextualModel(type(config).from_dict(settings))


def test_push_to_hub_uploads_the_model_with_its_card(folder, monkeypatch):
    class FakeApi:
        def __init__(self, token):
            uploads["token"] = token

        def create_repo(self, repository, private, exist_ok):
            uploads["repository"] = (repository, private, exist_ok)

        def upload_folder(self, repo_id, folder_path, commit_message):
            uploads["files"] = {path.name: path.read_bytes() for path in folder_path.iterdir()}
            return type("Commit", (), {"commit_url": f"hub/{repo_id}/commit/1"})

    uploads = {}
    monkeypatch.setattr(hub, "HfApi", FakeApi)
    encoder = ContextualEncoder.from_pretrained(folder, **CPU)
    assert encoder.push_to_hub("me/mine", private=True, token="secret") == "hub/me/mine/commit/1"
    assert uploads["repository"] == ("me/mine", True, True)
    assert uploads["token"] == "secret"
    assert uploads["files"].keys() == {
        *("config.json", "model.safetensors", "tokenizer.json", "checksums.json", "README.md")
    }
    card = uploads["files"]["README.md"].decode()
    assert 'ContextualEncoder.from_pretrained("me/mine")' in card
    assert encoder.fingerprint in card
    assert "secret" not in card
