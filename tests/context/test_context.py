import copy
import json
import os
import pickle
import random
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from cde_retrievers import CorpusContext
from cde_retrievers.errors import CDEError, ContextFileError, ContextMismatchError
from cde_retrievers.storage.hashing import sha256_of_file, sha256_of_json

FIELDS = {
    "model_name": "tiny",
    "model_fingerprint": "f" * 64,
    "documents": ["a" * 64, "b" * 64, "a" * 64],
    "positions": [4, 0, 4],
    "distinct": 2,
    "corpus_size": 9,
    "strategy": "random",
    "seed": 0,
}


def make(**changes):
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    return CorpusContext(**{"vectors": vectors, **FIELDS, **changes})


@pytest.fixture
def saved(tmp_path):
    make().save(tmp_path / "context")
    return tmp_path / "context"


def edit(folder, **changes):
    path = folder / "context.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "change",
    [
        {"model_fingerprint": "e" * 64},
        {"documents": ["b" * 64, "a" * 64, "a" * 64]},
        {"strategy": "kmeans"},
        {"seed": 1},
        {"probe": np.zeros(4)},
    ],
)
def test_fingerprint_follows_what_changes_an_embedding(change):
    assert make(**change).fingerprint != make().fingerprint
    assert make(**change) != make()


@pytest.mark.parametrize("change", [{"model_name": "elsewhere"}, {"positions": [0, 1, 0]}, {"corpus_size": 3}])
def test_fingerprint_ignores_what_does_not(change):
    assert make(**change) == make()
    assert hash(make(**change)) == hash(make())


def test_fingerprints_stay_what_they_were():
    assert make().fingerprint == "16b2651902de5e9f64478f17921bef8dda1be920f140bdf1ec3d4fdc8d68658a"


def test_a_probe_is_kept_with_the_context(tmp_path):
    probe = np.array([0.6, 0, 0, 0.8], dtype=np.float32)
    context = make(probe=probe)
    context.save(tmp_path / "context")
    loaded = CorpusContext.load(tmp_path / "context")
    assert loaded == context
    for twin in (context, loaded, copy.deepcopy(context)):
        np.testing.assert_array_equal(twin.probe, probe)
        with pytest.raises(ValueError, match="read-only"):
            twin.probe[0] = 1
    assert make(probe=probe[::-1]) != context


def test_a_context_without_a_probe_is_saved_as_before(saved):
    assert list(load_file(saved / "vectors.safetensors")) == ["vectors"]
    assert json.loads((saved / "context.json").read_text())["format_version"] == 1
    assert CorpusContext.load(saved).probe is None


def test_a_file_without_context_vectors_is_refused(saved):
    save_file({"probe": np.zeros(4, dtype=np.float32)}, saved / "vectors.safetensors")
    header = json.loads((saved / "context.json").read_text())
    del header["seal"]
    header["vectors_sha256"] = sha256_of_file(saved / "vectors.safetensors")
    (saved / "context.json").write_text(json.dumps({**header, "seal": sha256_of_json(header)}))
    with pytest.raises(ContextFileError, match=r"does not hold context vectors \(it holds the tensors \['probe'\]\)"):
        CorpusContext.load(saved)


def test_a_context_is_no_equal_of_other_things():
    assert make() != make().fingerprint


def test_a_context_never_changes():
    context = make()
    with pytest.raises(FrozenInstanceError):
        context.seed = 3
    with pytest.raises(ValueError, match="read-only"):
        context.vectors[0, 0] = 1
    with pytest.raises(TypeError):
        context.documents[0] = "c"


def test_the_callers_array_stays_writable_and_apart():
    vectors = np.zeros((3, 4), dtype=np.float32)
    context = make(vectors=vectors)
    vectors[0, 0] = 1
    assert context.vectors[0, 0] == 0


def test_repr_says_what_it_is():
    assert repr(make()).startswith("CorpusContext(3 documents, 2 distinct, of 9; model='tiny', strategy='random'")


def test_save_and_load(saved):
    context = CorpusContext.load(saved)
    assert context == make()
    np.testing.assert_array_equal(context.vectors, make().vectors)
    for name, value in FIELDS.items():
        assert getattr(context, name) == (tuple(value) if isinstance(value, list) else value), name
    assert sorted(os.listdir(saved)) == ["context.json", "vectors.safetensors"]


def test_saving_again_replaces_the_old_context(saved):
    make(seed=5).save(saved)
    assert CorpusContext.load(saved).seed == 5


def test_nothing_else_in_a_directory_is_overwritten(saved):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"already holds other files \(notes.txt\)"):
        make(seed=5).save(saved)
    assert CorpusContext.load(saved).seed == 0


def test_another_models_context_is_refused():
    make().check_model("f" * 64, "tiny")
    with pytest.raises(
        ContextMismatchError, match=r"fitted by model 'tiny' \(ffffffffffff\), but the encoder is 'big'"
    ):
        make().check_model("e" * 64, "big")


@pytest.mark.parametrize("name", ["context.json", "vectors.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ContextFileError, match=f"there is no {name} in it; restore the directory"):
        CorpusContext.load(saved)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ContextFileError, match="holds no context"):
        CorpusContext.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["context.json", "vectors.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, name, keep):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ContextFileError, match=f"{name} is (damaged|truncated)"):
        CorpusContext.load(saved)


def test_every_single_changed_byte_is_noticed(saved):
    for name in ("context.json", "vectors.safetensors"):
        content = (saved / name).read_bytes()
        for place in range(0, len(content), 7):
            changed = bytearray(content)
            changed[place] ^= 1
            (saved / name).write_bytes(changed)
            try:
                context = CorpusContext.load(saved)
            except (ContextFileError, UnicodeDecodeError):
                continue
            assert name == "context.json", f"byte {place} of {name} was changed unnoticed"
            assert context.checksum == make().checksum, "only white space may change"
            assert all(getattr(context, field) == getattr(make(), field) for field in FIELDS)
        (saved / name).write_bytes(content)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"distinct": 3}, {"fingerprint": "0" * 64}, {"extra": 1}, {"seal": "0" * 64}]
)
def test_an_edited_header_is_refused(saved, change):
    edit(saved, **change)
    with pytest.raises(ContextFileError, match=r"context.json was edited: its content does not match its seal"):
        CorpusContext.load(saved)


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_a_header_of_another_kind_is_refused(saved, content):
    (saved / "context.json").write_text(content)
    with pytest.raises(ContextFileError, match="was edited"):
        CorpusContext.load(saved)


def test_vectors_of_another_context_are_refused(saved):
    save_file({"vectors": np.zeros((3, 4), dtype=np.float32)}, saved / "vectors.safetensors")
    with pytest.raises(ContextFileError, match=r"truncated, damaged or from another context: its sha256 is"):
        CorpusContext.load(saved)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda context: pickle.loads(pickle.dumps(context))])
def test_copies_and_pickles_are_read_only_too(copied):
    twin = copied(make())
    assert twin == make()
    with pytest.raises(ValueError, match="read-only"):
        twin.vectors[0, 0] = 1


def test_a_surrogate_written_into_the_header_is_refused(saved):
    edit(saved, model_name="\ud800")
    with pytest.raises(ContextFileError, match="was edited"):
        CorpusContext.load(saved)


def reseal(folder, drop=(), **changes):
    """Change the header as somebody would who knows how it is sealed."""
    path = folder / "context.json"
    header = {**json.loads(path.read_text()), **changes}
    kept = {name: value for name, value in header.items() if name not in ("seal", *drop)}
    path.write_text(json.dumps({**kept, "seal": sha256_of_json(kept)}))


def revector(folder, **tensors):
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / "vectors.safetensors")
    reseal(folder, vectors_sha256=sha256_of_file(folder / "vectors.safetensors"))


@pytest.mark.parametrize("name", [*FIELDS, "fingerprint", "vectors_sha256"])
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "x", [], [None], ["x"], {}, [[0]], 10**30, "\ud800"])
def test_a_resealed_header_of_wrong_types_is_refused_or_the_same(saved, name, value):
    reseal(saved, **{name: value})
    try:
        context = CorpusContext.load(saved)
    except ContextFileError:
        return
    assert getattr(context, name) == value, "what is accepted is what was written"
    assert name in ("model_name", "corpus_size", "distinct"), "what the fingerprint covers cannot be changed"


@pytest.mark.parametrize("name", [*FIELDS, "fingerprint", "vectors_sha256", "format_version"])
def test_a_resealed_header_without_a_key_is_refused(saved, name):
    reseal(saved, drop=[name])
    with pytest.raises(ContextFileError, match=rf"context.json (is not a valid context: .*{name}|has format version)"):
        CorpusContext.load(saved)


VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"vectors": VECTORS.astype(np.float64)}, r"a float32 matrix is expected, but it holds {'vectors': 'F64'"),
        ({"vectors": VECTORS.astype(np.int64)}, r"it holds {'vectors': 'I64'"),
        ({"vectors": VECTORS[0]}, r"a float32 matrix is expected"),
        ({"vectors": VECTORS[None]}, r"a float32 matrix is expected"),
        ({"vectors": VECTORS[:, :0]}, r"a float32 matrix is expected"),
        ({"vectors": VECTORS[:0]}, r"a float32 matrix is expected"),
        ({"vectors": VECTORS[:2]}, r"it has 2 vectors, 3 documents and 3 positions"),
        ({"vectors": np.where(VECTORS == 5, np.nan, VECTORS)}, "vector 1 holds NaN or infinity"),
        ({"vectors": np.where(VECTORS == 5, np.inf, VECTORS)}, "vector 1 holds NaN or infinity"),
        ({"vectors": VECTORS, "probe": VECTORS[0, :3]}, r"its probe has shape \[3\], but its vectors \[3, 4\]"),
        ({"vectors": VECTORS, "probe": VECTORS}, r"its probe has shape \[3, 4\]"),
        ({"vectors": VECTORS, "probe": VECTORS[0].astype(np.float16)}, r"it holds {'probe': 'F16', 'vectors': 'F32'"),
        ({"vectors": VECTORS, "probe": VECTORS[0] * np.float32(np.nan)}, "NaN or infinity"),
        ({"vectors": VECTORS, "more": VECTORS}, r"it holds the tensors \['more', 'vectors'\]"),
    ],
)
def test_vectors_that_no_context_has_are_refused_even_if_the_header_vouches_for_them(saved, tensors, message):
    revector(saved, **tensors)
    with pytest.raises(ContextFileError, match=rf"{message}.*; restore the directory"):
        CorpusContext.load(saved)


def test_vectors_of_a_format_that_numpy_does_not_have_are_refused(saved):
    save_torch_file({"vectors": torch.zeros(3, 4, dtype=torch.bfloat16)}, saved / "vectors.safetensors")
    reseal(saved, vectors_sha256=sha256_of_file(saved / "vectors.safetensors"))
    with pytest.raises(ContextFileError, match=r"it holds {'vectors': 'BF16'"):
        CorpusContext.load(saved)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 500 + "1" + "}" * 500, "NaN", '{"seed": 1e400}'])
def test_json_that_nobody_writes_is_refused(saved, content):
    (saved / "context.json").write_text(content)
    with pytest.raises(ContextFileError, match=r"context.json is (nested|damaged).*; restore the directory"):
        CorpusContext.load(saved)


@pytest.mark.parametrize("name", ["context.json", "vectors.safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_only_regular_files_are_read(saved, name, make):
    (saved / name).unlink()
    make(saved / name)
    with pytest.raises(ContextFileError, match=rf"there is no {name} in it"):
        CorpusContext.load(saved)


def test_mutations_of_the_files_give_the_same_context_or_our_error(saved):
    """Seeded: bits flipped, stretches cut out, repeated, moved between the files, or replaced by others' text."""
    chance = random.Random(0)
    pieces = [b"null", b"NaN", b"-1", b"1e999", b'""', b"[]", b"{}", b"\x00", b"\xff", b"9" * 5_000, b"[" * 200]
    contents = {name: (saved / name).read_bytes() for name in ("context.json", "vectors.safetensors")}
    for _ in range(600):
        name = chance.choice(sorted(contents))
        content = contents[name]
        start = chance.randrange(len(content))
        end = min(len(content), start + chance.choice([1, 1, 4, 32, len(content)]))
        other = contents[chance.choice(sorted(contents))]
        piece = chance.choice([*pieces, content[start:end] * 2, other[start:end], bytes([chance.randrange(256)])])
        (saved / name).write_bytes(content[:start] + piece + content[end:])
        try:
            context = CorpusContext.load(saved)
        except ContextFileError:
            pass
        else:
            assert (context, context.checksum) == (make(), make().checksum)
            assert all(getattr(context, field) == getattr(make(), field) for field in FIELDS)
        (saved / name).write_bytes(content)


def test_a_context_of_no_corpus_comes_back(tmp_path):
    vectors = np.ones((3, 4), dtype=np.float32)
    context = make(vectors=vectors, documents=(), positions=(), distinct=0, corpus_size=0, strategy="null")
    context.save(tmp_path / "context")
    assert CorpusContext.load(tmp_path / "context") == context


@pytest.mark.parametrize("length", [200, 245, 246, 250, 255])
def test_the_longest_names_that_a_file_can_have_are_taken(tmp_path, length):
    path = tmp_path / ("n" * length)
    make().save(path)
    make(seed=5).save(path)
    assert CorpusContext.load(path).seed == 5
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("path", ["n" * 256, "a/" * 3_000, "nul\0", "\ud800"])
def test_a_path_that_no_file_can_have_is_our_error(tmp_path, path):
    with pytest.raises(CDEError):
        make().save(tmp_path / path)
    with pytest.raises(CDEError):
        CorpusContext.load(tmp_path / path)
