"""Files of an index and of a context, damaged or edited and sealed again: the same content, or an error of ours."""

import hashlib
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from bag_of_words import BagOfWords
from fuzzed import assert_same_content, cases, content_of, only_our_errors
from hostile import mutated_bytes, mutated_json
from hypothesis import given
from hypothesis import strategies as st
from resealing import read_content, replace_listed, reseal

from cde_retrievers import CorpusContext
from cde_retrievers.errors import CDEError
from cde_retrievers.index import ContextualIndex, Document

KINDS = {
    "manifest": "index.json",
    "marker": "identity.json",
    "header": "contexts/*/context.json",
    "context": "contexts/*/vectors.safetensors",
    "postings": "segments/*/postings.safetensors",
    "columns": "segments/*/columns.safetensors",
    "lines": "segments/*/lines.json",
    "documents": "segments/*/documents.jsonl",
    "vectors": "segments/*/vectors.safetensors",
    "deletions": "segments/*/deleted-*.json",
}


class Copy:
    """A copy of an index, for one case."""

    def __init__(self, saved):
        self.saved = saved

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        outside = Path(self._folder.name) / "secret"
        outside.write_text("secret")
        return Path(shutil.copytree(self.saved, Path(self._folder.name) / "index"))

    def __exit__(self, *error):
        assert (Path(self._folder.name) / "secret").read_text() == "secret"
        self._folder.cleanup()


def file_of(index, kind):
    return sorted(index.glob(KINDS[kind]))[0]


def use_fully(path):
    """All that can be done with an index, as far as it goes; anything but errors of ours comes out."""
    for salvage in (True, False):
        with suppress(CDEError):
            index = ContextualIndex.open(path, BagOfWords(), salvage=salvage)
            index.search(["red cat", "a dog"], k=30)
            index.search("red cat", k=2, filter={"row": {"$gte": 3}})
            list(index.documents())
    with suppress(CDEError):
        index = ContextualIndex.open(path, BagOfWords())
        index.upsert([Document("a purple whale", id="d1")])
        index.delete(["d2"])
        index.refit(seed=1, size=3)
        index.optimize()
        assert list(ContextualIndex.open(path).documents()) == list(index.documents())


@pytest.mark.parametrize("kind", KINDS)
@cases(30)
@given(data=st.data())
def test_damaged_files_of_an_index(saved, kind, data):
    with Copy(saved) as path:
        before = content_of(path)
        file = file_of(path, kind)
        file.write_bytes(data.draw(mutated_bytes(file.read_bytes())))
        with only_our_errors():
            assert_same_content(path, before)
        with only_our_errors():
            list(ContextualIndex.open(path, salvage=True).documents())


@pytest.mark.parametrize("name", ["index.json", "identity.json"])
@cases(40)
@given(data=st.data())
def test_resealed_files_of_an_index(saved, name, data):
    with Copy(saved) as path:
        reseal(path / name, data.draw(mutated_json(read_content(path / name))))
        use_fully(path)


@pytest.mark.parametrize("kind", ["lines", "documents", "vectors", "deletions"])
@cases(30)
@given(data=st.data())
def test_files_that_the_manifest_vouches_for(saved, kind, data):
    with Copy(saved) as path:
        segment = read_content(path / "index.json")["segments"][0]
        name = Path(KINDS[kind]).name.partition("*")[0]
        file = next((path / "segments" / segment["name"]).glob(f"{name}*"))
        is_json = kind in ("lines", "deletions") and data.draw(st.booleans())
        if is_json:
            content = json.dumps(data.draw(mutated_json({"all": json.loads(file.read_text())}))["all"]).encode()
        else:
            content = data.draw(mutated_bytes(file.read_bytes()))
        replace_listed(path, name, content)
        use_fully(path)


@cases(75)
@given(data=st.data())
def test_resealed_contexts(saved, data):
    with Copy(saved) as path:
        folder = file_of(path, "header").parent
        header = data.draw(mutated_json(read_content(folder / "context.json")))
        if data.draw(st.booleans()):
            vectors = folder / "vectors.safetensors"
            vectors.write_bytes(data.draw(mutated_bytes(vectors.read_bytes())))
            header["vectors_sha256"] = hashlib.sha256(vectors.read_bytes()).hexdigest()
        reseal(folder / "context.json", header)
        with only_our_errors():
            context = CorpusContext.load(folder)
            assert (len(context.documents), len(context)) in ((4, 4), (0, len(context)), (len(context),) * 2)
            BagOfWords().encode_queries(["red cat"], context)
        with only_our_errors():
            list(ContextualIndex.open(path).documents())
