"""Files that were edited and sealed again: whatever they say is checked, and what is wrong is said as our error."""

import copy
import hashlib
import json
import random
import shutil
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from bag_of_words import BagOfWords
from resealing import read_content, replace_listed, reseal
from safetensors.numpy import save
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import CDEError, IndexFileError
from cde_retrievers.index import ContextualIndex, Document

ODD = [
    None, True, -1, 0, 1, 3, 41, 10**6, 2**53, 2**70, 1.5, "", "x", "../../secret", "/etc/passwd", "segments", "\ud800",
    "0" * 64, "deleted-0123456789ab.json", "accelerator-0123456789ab.faiss", "0123456789ab", [], {}, ["x"], {"a": 1},
]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """An index of kind "hnsw" with an accelerator, two segments, deletions and an interrupted refit."""

    class Failing(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if self.embedded >= 20:
                raise KeyboardInterrupt
            return super().encode_documents(texts, context)

    path = tmp_path_factory.mktemp("resealed") / "index"
    documents = [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 10)
        index = ContextualIndex.build(documents[:40], BagOfWords(), path, kind="hnsw")
        index.add(documents[40:50])
        index.delete(["d3", "d44"])
    with suppress(KeyboardInterrupt):
        index.refit(embedder=Failing(), seed=1, batch_size=10)
    assert read_content(path / "index.json")["accelerator"] is not None
    assert read_content(path / "next.json")["segments"] != []
    return path


@pytest.fixture
def path(original, tmp_path):
    (tmp_path / "secret").write_text("secret")
    return shutil.copytree(original, tmp_path / "index")


def places(value, place=()):
    """Every place in nested JSON."""
    if place:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*place, key))


def mutated(content, chance):
    """The content with one change in a random place: another value, or none."""
    changed = copy.deepcopy(content)
    *above, last = chance.choice(list(places(content)))
    holder = changed
    for key in above:
        holder = holder[key]
    how = chance.random()
    if how < 0.15:
        del holder[last]
    elif how < 0.3 and isinstance(holder[last], int):
        holder[last] += chance.choice([-1, 1, 7])
    elif how < 0.35 and isinstance(holder, dict):
        holder["another"] = chance.choice(ODD)
    else:
        holder[last] = chance.choice(ODD)
    return changed


def use_fully(path):
    """Everything one can do with an index, as far as it goes; anything but the library's errors comes out."""
    done = 0
    for salvage in (True, False):
        with suppress(CDEError):
            index = ContextualIndex.open(path, BagOfWords(), salvage=salvage)
            index.search(QUERIES, k=100)
            index.search(QUERIES[0], k=3, filter={"row": {"$gte": 0}})
            list(index.documents())
            index.get(["d1"])
            done += 1
    with suppress(CDEError):
        index = ContextualIndex.open(path, BagOfWords())
        index.upsert([Document("a purple whale", id="d1")])
        index.delete(["d2"])
        index.refit(seed=1, batch_size=10)
        index.optimize()
        assert len(ContextualIndex.open(path, BagOfWords())) == len(index)
        done += 1
    return done


@pytest.mark.parametrize(
    ("name", "rounds", "least"), [("index.json", 80, 60), ("next.json", 20, 0), ("identity.json", 20, 10)]
)
def test_a_manifest_that_was_edited_and_sealed_again_raises_only_our_errors(
    path, original, monkeypatch, name, rounds, least
):
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 10)
    chance, refused = random.Random(name), 0
    content = read_content(path / name)
    for _ in range(rounds):
        reseal(path / name, mutated(content, chance))
        refused += use_fully(path) < 3
        assert (path.parent / "secret").read_text() == "secret"
        shutil.rmtree(path)
        shutil.copytree(original, path)
    assert least <= refused <= (rounds if least else 0)  # notes of an interrupted refit block nothing


def test_a_manifest_that_is_nested_or_long_without_end_is_refused(path):
    for name in ("index.json", "identity.json"):
        content = (path / name).read_bytes()
        for odd in (b"[" * 50_000, b'{"a":' * 50_000, b'{"generation": ' + b"9" * 5_000 + b"}", b"[]", b"3", b"\xff"):
            (path / name).write_bytes(odd)
            with pytest.raises(IndexFileError, match=name):
                ContextualIndex.open(path, BagOfWords())
        (path / name).write_bytes(content)


def test_a_manifest_that_is_a_directory_is_refused(path):
    (path / "index.json").unlink()
    (path / "index.json").mkdir()
    with pytest.raises(IndexFileError, match=r"index\.json is not a file; restore it"):
        ContextualIndex.open(path, BagOfWords())


def lines(ids, ends):
    return json.dumps({"ids": ids, "ends": ends}).encode()


def head(shape, dtype="F32"):
    text = json.dumps({"vectors": {"dtype": dtype, "shape": shape, "data_offsets": [0, 4 * int(np.prod(shape))]}})
    return struct.pack("<Q", len(text)) + text.encode()


def postings(**arrays):
    """Two terms in a document each."""
    right = {"bounds": [0, 1, 2], "terms": [3, 7], "rows": [0, 39], "weights": [0.5, 0.25]}
    types = {"bounds": np.int64, "terms": np.int32, "rows": np.int32, "weights": np.float32}
    return save({name: np.array(values, types[name]) for name, values in (right | arrays).items()})


def columns(changed=None, **arrays):
    """One field, with a number, a text and nothing else, in two documents."""
    entry = {"name": "row", "found": 2, "everywhere": False, "bytes": 6, "values": 2, "numbers": 1, "texts": 1}
    listed = json.dumps([entry | (changed or {})]).encode()
    right = {"ends": [2, 6], "codes": [0, 1], "rows": [3, 39], "fields": list(listed), "values": list(b'7,"a",')}
    types = {"ends": np.int64, "codes": np.int32, "rows": np.int32, "fields": np.uint8, "values": np.uint8}
    return save({name: np.array(values, types[name]) for name, values in (right | arrays).items()})


def document(**fields):
    return json.dumps({"id": "d0", "text": "a text", "metadata": {}} | fields).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.json", b"["),
        ("lines.json", b"[" * 50_000),
        ("lines.json", b"[]"),
        ("lines.json", b'{"ids": []}'),
        ("lines.json", lines([f"d{i}" for i in range(40)], [1] * 40)),
        ("lines.json", lines([f"d{i}" for i in range(40)], list(range(1, 41)))),
        ("lines.json", lines([f"d{i}" for i in range(40)], [float(i) for i in range(1, 41)])),
        ("lines.json", lines(["d1"] * 40, list(range(1, 41)))),
        ("lines.json", lines([1] * 40, list(range(1, 41)))),
        ("lines.json", b'{"ids": 3, "ends": null}'),
        ("deleted-", b"{}"),
        ("deleted-", b"3"),
        ("deleted-", b"[true]"),
        ("deleted-", b"[40]"),
        ("deleted-", b"[-1]"),
        ("deleted-", b"[3, 4]"),
        ("deleted-", b'["3"]'),
        ("vectors.safetensors", b"\0" * 3),
        ("vectors.safetensors", b"\xff" * 9),
        ("vectors.safetensors", head([40, 31]) + bytes(4 * 40 * 31)),
        ("vectors.safetensors", head([41, 32]) + bytes(4 * 41 * 32)),
        ("vectors.safetensors", head([40, 32]) + bytes(4 * 40 * 32 - 4)),
        ("vectors.safetensors", head([40, 32], "F16") + bytes(4 * 40 * 32)),
        ("vectors.safetensors", head([1280])[:8] + b"{" * (len(head([1280])) - 8) + bytes(4 * 40 * 32)),
        ("postings.safetensors", b"\0" * 3),
        ("postings.safetensors", b"\xff" * 9),
        ("postings.safetensors", struct.pack("<Q", 5_000) + b"[" * 5_000),
        ("postings.safetensors", struct.pack("<Q", 2) + b"[]"),
        ("postings.safetensors", head([1])),
        ("postings.safetensors", postings()[:-4]),
        ("postings.safetensors", postings() + bytes(4)),
        ("postings.safetensors", postings(rows=[0, 40])),
        ("postings.safetensors", postings(rows=[-1, 3])),
        ("postings.safetensors", postings(terms=[7, 7])),
        ("postings.safetensors", postings(terms=[7, 1 << 24])),
        ("postings.safetensors", postings(bounds=[0, 2, 2])),
        ("postings.safetensors", postings(bounds=[0, 1, 9])),
        ("postings.safetensors", postings(bounds=[0, 2])),
        ("postings.safetensors", postings(weights=[1, np.nan])),
        ("postings.safetensors", postings(weights=[1, -1])),
        ("columns.safetensors", b"\xff" * 9),
        ("columns.safetensors", postings()),
        ("columns.safetensors", columns()[:-4]),
        ("columns.safetensors", columns(rows=[3, 40])),
        ("columns.safetensors", columns(rows=[3, 3])),
        ("columns.safetensors", columns(rows=[-1, 3])),
        ("columns.safetensors", columns(codes=[0, 2])),
        ("columns.safetensors", columns(codes=[0, -2])),
        ("columns.safetensors", columns(ends=[2, 7])),
        ("columns.safetensors", columns(ends=[6, 2])),
        ("columns.safetensors", columns(fields=list(b"["))),
        ("columns.safetensors", columns({"found": 3})),
        ("columns.safetensors", columns({"found": -1})),
        ("columns.safetensors", columns({"everywhere": True})),
        ("columns.safetensors", columns({"values": 1})),
        ("columns.safetensors", columns({"numbers": 2})),
        ("columns.safetensors", columns({"bytes": True})),
        ("columns.safetensors", columns({"secret": 1})),
        ("documents.jsonl", b"x"),
        ("documents.jsonl", document() + b"\n"),
        ("documents.jsonl", (b"[" * 5_000 + b"\n") * 40),
        ("documents.jsonl", (document(id=3) + b"\n") * 40),
        ("documents.jsonl", (document(metadata=[]) + b"\n") * 40),
    ],
)
def test_a_file_that_the_manifest_vouches_for_is_checked_too(path, name, content):
    replace_listed(path, name, content)
    with pytest.raises(IndexFileError, match=name.replace(".", r"\.")):
        ContextualIndex.open(path, BagOfWords())
    salvaged = ContextualIndex.open(path, BagOfWords(), salvage=True)
    assert any(name in wrong for wrong in salvaged.damaged)
    with suppress(IndexFileError):
        list(salvaged.documents())
    with suppress(IndexFileError):
        salvaged.search(QUERIES[0], k=100)
    assert "d45" in salvaged.ids()
    use_fully(path)


def test_lines_that_hold_another_document_are_noticed_when_they_are_read(path):
    segment = path / "segments" / read_content(path / "index.json")["segments"][0]["name"]
    stored = (segment / "documents.jsonl").read_bytes()
    for old, new in ((b'"d5"', b'"d6"'), (b'{"row":5}', b"[[[[[[]]]"), (b'"text"', b'"lost"')):
        replace_listed(path, "documents.jsonl", stored.replace(old, new))
        index = ContextualIndex.open(path, BagOfWords())
        with pytest.raises(IndexFileError, match=r"documents\.jsonl .*in line 6"):
            index.get(["d5"])
        assert index.get(["d45"])[0].text == CORPUS[45]
    use_fully(path)


def test_an_accelerator_of_other_vectors_is_done_without(path, tmp_path, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", 10)
    other = ContextualIndex.build(CORPUS, BagOfWords(48), tmp_path / "other", kind="hnsw")
    (file,) = other.path.glob("accelerator-*")
    for content in (file.read_bytes(), b"IHNs" + b"\xff" * 200, b"no faiss"):
        manifest = read_content(path / "index.json")
        entry = manifest["accelerator"]["file"]
        (path / entry["name"]).write_bytes(content)
        entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        reseal(path / "index.json", manifest)
        index = ContextualIndex.open(path, BagOfWords())
        assert entry["name"] in index.damaged[0]
        assert len(index.search(QUERIES[0], k=100)) == 48


def test_the_same_id_in_two_segments_is_refused(path):
    manifest = read_content(path / "index.json")
    second = path / "segments" / manifest["segments"][1]["name"]
    content = json.loads((second / "lines.json").read_text())
    content["ids"][0] = "d1"
    manifest["segments"].reverse()
    manifest["accelerator"] = None
    reseal(path / "index.json", manifest)
    replace_listed(path, "lines.json", json.dumps(content).encode())
    index = ContextualIndex.open(path, BagOfWords())
    for call in (index.ids, lambda: index.get(["d1"]), lambda: index.delete(["d1"]), lambda: "d1" in index):
        with pytest.raises(IndexFileError, match=r"same id"):
            call()


def test_what_the_system_lets_nobody_read_is_said(path, monkeypatch):
    import cde_retrievers.index.entries as module

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(module, "sha256_of_file", refuse)
        with pytest.raises(IndexFileError, match=r"vectors\.safetensors cannot be read \(Permission denied\)"):
            ContextualIndex.open(path, BagOfWords())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        with pytest.raises(IndexFileError, match=r"index\.json cannot be read \(Permission denied\)"):
            ContextualIndex.open(path, BagOfWords())
