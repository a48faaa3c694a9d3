"""Bi-encoders from anywhere: damaged, edited or made to hurt, they are refused by name, or work."""

import copy
import json
import os
import random
import resource
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import CORPUS

from cde_retrievers import ContextualEncoder, ContextualModel
from cde_retrievers.errors import CDEError, CheckpointError

CPU = {"device": "cpu", "dtype": "float32"}
HUGE = 10**9
JSON_FILES = ["config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]


@pytest.fixture
def folder(biencoder_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(biencoder_folder, tmp_path / "copy")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def load(folder):
    return ContextualEncoder.from_biencoder(folder, **CPU)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("hidden_act", [0, None, [], "gelo", "", {"a": 1}], "hidden_act"),
        ("hidden_size", ["32", 32.0, None, True, 0, -32, 33, HUGE, 10**30, [32]], "hidden_size"),
        ("num_hidden_layers", ["2", None, 0, -1, HUGE, 257, {}], "num_hidden_layers"),
        ("num_attention_heads", ["4", 0, -4, HUGE, 5], "num_attention_heads|heads"),
        ("intermediate_size", ["64", 0, HUGE], "intermediate_size"),
        ("vocab_size", ["162", 0, HUGE, 10**15], "vocab_size"),
        ("max_position_embeddings", ["48", 0, 7, HUGE], "max_position_embeddings|has positions for 7 tokens"),
        ("type_vocab_size", ["2", 0, HUGE], "type_vocab_size"),
        ("layer_norm_eps", ["x", -1, 2, []], "layer_norm_eps"),
        ("pad_token_id", ["0", -1, 5_000, 0.5], "pad_token_id"),
        ("hidden_dropout_prob", [2, -0.1, "0"], "hidden_dropout_prob"),
        ("model_type", [None, 0, [], {}, "gpt2", "../bert"], "backbones of type .* are not supported"),
        ("is_decoder", [True], "is a decoder"),
    ],
)
def test_a_setting_of_a_wrong_type_or_size_is_named(folder, name, values, message):
    original = (folder / "config.json").read_text()
    for value in values:
        edit(folder / "config.json", **{name: value})
        if value is None and name == "hidden_act":
            continue  # transformers' default
        with pytest.raises(CheckpointError, match=rf"{folder} is not a readable bi-encoder: .*({message})"):
            load(folder)
        (folder / "config.json").write_text(original)


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocab_size": 10_000_000, "hidden_size": 1_000_000},
        {"num_hidden_layers": 256, "intermediate_size": 1_000_000, "hidden_size": 1_000_000},
        {"max_position_embeddings": 10_000_000, "hidden_size": 100_000},
    ],
)
def test_sizes_that_are_not_the_weights_take_no_memory(folder, sizes):
    edit(folder / "config.json", **sizes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="do not fit the config"):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "3",
        '"x"',
        "NaN",
        '{"a": Infinity}',
        '{"a": 1e999}',
        "[" * 100_000,
        "[[1]]",
        "\udcff",
    ],
    ids=lambda content: content[:12],
)
def test_json_of_another_kind_is_our_error_or_says_nothing(folder, name, content):
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    try:
        load(folder)
    except CheckpointError:
        return
    assert content in ("[]", "{}"), "what is missing has a default"


@pytest.mark.parametrize("name", [*JSON_FILES, "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_only_regular_files_are_read(folder, name, make):
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(CheckpointError, match=name):
        load(folder)


@pytest.mark.parametrize("name", [*JSON_FILES, "tokenizer.json", "model.safetensors"])
def test_links_out_of_the_directory_are_followed_to_files_as_the_hubs_cache_has_them(folder, tmp_path, name):
    expected = load(folder).fingerprint
    (folder / name).rename(tmp_path / "blob")
    (folder / name).symlink_to(tmp_path / "blob")
    assert load(folder).fingerprint == expected
    (tmp_path / "blob").unlink()
    with pytest.raises(CheckpointError, match=name):
        load(folder)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "1_Pooling/../..", "a\\b", ".", "x\0y", 3])
def test_a_module_outside_the_directory_is_refused(folder, path):
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match=r"modules.json has an unknown format: 1.path"):
        load(folder)


def shard(folder, **options):
    """The weights in two files with an index; returns the names in the second one."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    places = {name: f"model-{1 + (place > 20)}-of-2.safetensors" for place, name in enumerate(names)}
    for file in set(places.values()):
        save_file({name: weights[name] for name in names if places[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places, **options}))
    return [name for name in names if places[name].startswith("model-2")]


def test_weights_in_several_files_are_read_as_their_index_says(folder):
    expected = load(folder).fingerprint
    shard(folder)
    save_file({"embeddings.LayerNorm.bias": torch.ones(32)}, folder / "zzz.safetensors")
    assert load(folder).fingerprint == expected, "a file that nobody names is not read"
    (folder / "model-2-of-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-2-of-2\.safetensors is missing"):
        load(folder)


def test_a_further_file_of_weights_changes_nothing(folder):
    expected = load(folder).fingerprint
    save_file({"embeddings.LayerNorm.bias": torch.ones(32)}, folder / "adapter_model.safetensors")
    save_file({"embeddings.LayerNorm.bias": torch.ones(32)}, folder / "zzz.safetensors")
    assert load(folder).fingerprint == expected


@pytest.mark.parametrize("weight_map", [None, [], {"a": 3}, {"a": "../../secret"}, {"a": "/etc/passwd"}])
def test_an_index_that_leads_elsewhere_is_refused(folder, weight_map):
    shard(folder, weight_map=weight_map)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json is damaged: weight_map"):
        load(folder)


def test_a_weight_under_two_names_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.LayerNorm.bias"] = torch.ones(32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"has the weight embeddings\.LayerNorm\.bias twice"):
        load(folder)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(32, dtype=torch.int64), "has integers"),
        (torch.ones(32, dtype=torch.bool), "has integers"),
        (torch.ones(33), r"has shape \(33,\) instead of \(32,\)"),
        (torch.ones(32, 1), r"has shape \(32, 1\) instead of \(32,\)"),
        (torch.tensor(1.0), r"has shape \(\) instead of \(32,\)"),
        (torch.full((32,), torch.nan), "has values that are not finite numbers"),
        (torch.full((32,), 1e300, dtype=torch.float64), "has values that are not finite numbers"),
    ],
)
def test_weights_of_another_kind_are_listed(folder, tensor, message):
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] = tensor
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"do not fit the config: embeddings\.LayerNorm\.bias {message}"):
        load(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
    ids=lambda header: header[:12].decode(),
)
@pytest.mark.parametrize("length", [None, 0, 2**63, 2**64 - 1])
def test_a_header_that_nobody_writes_is_refused(folder, header, length):
    size = struct.pack("<Q", len(header) if length is None else length)
    (folder / "model.safetensors").write_bytes(size + header + b"\0" * 64)
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors is damaged or incomplete .*; fetch or save it again"
    ):
        load(folder)


def edit_tokenizer(folder, change):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    change(tokenizer)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Writing out a tokenizer with such an id would take gigabytes.
        (
            lambda t: t["model"]["vocab"].update(cat=HUGE),
            r"token id 1000000000, but at most 10,000,000 tokens are possible",
        ),
        (
            lambda t: t["post_processor"]["special_tokens"]["[SEP]"].update(ids=[5_000]),
            "gives token 5000, which is not",
        ),
        (lambda t: t["post_processor"]["special_tokens"].pop("[SEP]"), "is damaged"),
        (lambda t: t["model"].update(unk_token="[NONE]"), "is damaged"),
        (lambda t: t["model"].update(vocab={}), "is damaged"),
        (lambda t: t.update(model={}), r"tokenizer\.json is damaged"),
    ],
)
def test_a_damaged_tokenizer_is_refused(folder, change, message):
    edit_tokenizer(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


VALUES = [
    None,
    True,
    0,
    -1,
    1,
    2,
    7,
    0.5,
    -0.5,
    1e300,
    HUGE,
    2**63,
    10**40,
    "",
    "x",
    "32",
    [],
    [1],
    {},
    {"a": []},
    "\ud800",
]


def places(value, path=()):
    """The way to every value inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def mutated(value, chance):
    """A copy with a value inside replaced or taken out, in up to two places."""
    whole = [copy.deepcopy(value)]
    for _ in range(chance.choice([1, 1, 2])):
        *way, last = (0, *chance.choice(places(whole[0])))
        parent = whole
        for key in way:
            parent = parent[key]
        if chance.random() < 0.2 and way:
            del parent[last]
        else:
            parent[last] = chance.choice(VALUES)
    return whole[0]


@pytest.mark.parametrize("name", [*JSON_FILES, "tokenizer.json"])
def test_a_mutated_biencoder_is_refused_or_works(folder, name):
    """Seeded: values replaced by others of every kind, or taken out; then bytes flipped."""
    original, chance = (folder / name).read_bytes(), random.Random(name)
    accepted = 0
    for round_ in range(60):
        if round_ % 4:
            changed = json.dumps(mutated(json.loads(original), chance)).encode()
        else:
            flipped = bytearray(original)
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            changed = bytes(flipped)
        (folder / name).write_bytes(changed)
        try:
            encoder = load(folder)
            context = encoder.fit_context(CORPUS, size=8)
            rows = encoder.encode_queries(["a red cat", ""], context)
        except CDEError:
            continue
        accepted += 1
        assert rows.shape == (2, 32)
        assert np.isfinite(rows).all()
    assert accepted < 60, "something must be wrong with some of them"


@pytest.mark.parametrize("name", ["n" * 300, "a/" * 3_000, "nul\0", "\ud800", 5, None, b"bytes", ["a"]])
def test_what_names_no_model_is_our_error(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for function in (ContextualModel.from_pretrained, ContextualModel.from_biencoder, ContextualEncoder.from_biencoder):
        with pytest.raises(CDEError):
            function(name)
