"""Vectors in fewer bytes: every form against a slow twin, and through every change of an index."""

import json

import numpy as np
import pytest
from approximate import approximate_from
from bag_of_words import BagOfWords
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from resealing import read_content, reseal
from safetensors.numpy import load_file
from tiny import CORPUS, QUERIES

from cde_retrievers.encoder.lexical import LexicalEmbedder
from cde_retrievers.errors import ConfigurationError, IndexFileError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.vector_format import VectorFormat

DOCUMENTS = [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)]
WIDTH = 32
FORMS = [("int8", None), ("binary", None), ("float32", 20), ("int8", 20), ("binary", 20), ("binary", 13)]
forms = pytest.mark.parametrize(("dtype", "dimensions"), FORMS)


def stored(vector, dtype, dimensions):
    """The slow obvious twin: one vector, number by number."""
    numbers = [float(x) for x in vector[: dimensions or len(vector)]]
    if dimensions is not None:
        numbers = [x / max(np.linalg.norm(numbers), 1e-30) for x in numbers]
    if dtype == "int8":
        largest = max(abs(x) for x in numbers)
        numbers = [round(127 * x / largest) for x in numbers] if largest else numbers
    if dtype == "binary":
        numbers = [1 if x > 0 else -1 for x in numbers]
    length = np.linalg.norm(numbers)
    return np.array([x / length if length else 0.0 for x in numbers])


def expected_vectors(index, dtype, dimensions):
    texts = [document.text for document in index.documents()]
    embedded = index.embedder.encode_documents(texts, index.context)
    return np.stack([stored(vector, dtype, dimensions) for vector in embedded])


def asked(index, query, dimensions):
    return stored(index.embedder.encode_queries([query], index.context)[0], "float32", dimensions)


def assert_stored(index, dtype, dimensions):
    assert (index.dtype, index.dimensions) == (dtype, dimensions or WIDTH)
    np.testing.assert_allclose(index.vectors(index.ids()), expected_vectors(index, dtype, dimensions), atol=1e-6)


def vector_files(index):
    return sorted(index.path.glob("segments/*/vectors.safetensors"))


@pytest.fixture
def build(tmp_path):
    def build(dtype, dimensions, documents=DOCUMENTS, **options):
        options = {"batch_size": 10, "dtype": dtype, "dimensions": dimensions, **options}
        return ContextualIndex.build(documents, BagOfWords(WIDTH), tmp_path / "index", **options)

    return build


vectors = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    elements=st.floats(-1, 1, width=32, allow_subnormal=False),
)


@given(vectors=vectors, dtype=st.sampled_from(["int8", "binary"]))
def test_what_is_read_is_the_twins_and_is_stored_as_before(vectors, dtype):
    form = VectorFormat(vectors.shape[1], vectors.shape[1], dtype)
    codes = form.encoded(vectors)
    read = form.decoded(codes)
    assert codes.nbytes == len(vectors) * form.bytes_per_vector
    np.testing.assert_array_equal(form.encoded(read), codes)
    step = 1e-6 if dtype == "binary" else 1.01 / 127  # a number between two steps may go to either
    np.testing.assert_allclose(read, [stored(vector, dtype, None) for vector in vectors], atol=step)


@forms
def test_vectors_are_stored_as_the_twins(build, dtype, dimensions):
    assert_stored(build(dtype, dimensions), dtype, dimensions)


@forms
@pytest.mark.parametrize("allowed", [None, {"row": {"$gte": 5}}, {"row": {"$in": [3, 17]}}])
def test_searches_find_what_the_twin_finds(build, dtype, dimensions, allowed):
    index = build(dtype, dimensions)
    kept = [row for row, document in enumerate(index.documents()) if document in index.documents(allowed)]
    rows, ids = expected_vectors(index, dtype, dimensions), index.ids()
    together = index.search(QUERIES, k=4, filter=allowed, mode="dense")
    for query, hits in zip(QUERIES, together, strict=True):
        scores = rows @ asked(index, query, dimensions)
        np.testing.assert_allclose([hit.score for hit in hits], sorted(scores[kept])[::-1][:4], atol=1e-5)
        np.testing.assert_allclose([scores[ids.index(hit.id)] for hit in hits], [hit.score for hit in hits], atol=1e-5)
        alone = index.search(query, k=4, filter=allowed, mode="dense")
        np.testing.assert_allclose([hit.score for hit in alone], [hit.score for hit in hits], atol=1e-6)


@forms
def test_hybrid_scores_are_the_stored_vectors_cosine_and_the_words_bonus(build, dtype, dimensions):
    index = build(dtype, dimensions)
    plain = ContextualIndex.build(DOCUMENTS, BagOfWords(WIDTH), index.path.parent / "plain")
    rows, ids = expected_vectors(index, dtype, dimensions), index.ids()
    for query in QUERIES:
        bonus = {hit.id: hit.score - hit.dense for hit in plain.search(query, k=len(ids), mode="hybrid")}
        dense = dict(zip(ids, rows @ asked(index, query, dimensions), strict=True))
        hits = index.search(query, k=5, mode="hybrid")
        np.testing.assert_allclose([hit.dense for hit in hits], [dense[hit.id] for hit in hits], atol=1e-5)
        best = sorted((dense[identity] + bonus[identity] for identity in ids), reverse=True)[:5]
        np.testing.assert_allclose([hit.score for hit in hits], best, atol=1e-5)


@forms
def test_every_change_keeps_the_form(build, dtype, dimensions):
    index = build(dtype, dimensions, DOCUMENTS[:30])
    index.add(DOCUMENTS[30:32])
    index.upsert([Document(CORPUS[40], id="d3"), Document(CORPUS[4], id="copy")])
    index.delete(["d0", "d7"])
    assert_stored(index, dtype, dimensions)
    index.optimize()
    assert_stored(index, dtype, dimensions)
    for document in DOCUMENTS[50:60]:  # segments are merged
        index.add([document])
    assert_stored(index, dtype, dimensions)
    before = index.context
    index.refit(seed=3)
    assert index.context != before
    assert_stored(index, dtype, dimensions)
    assert_stored(ContextualIndex.open(index.path, BagOfWords(WIDTH)), dtype, dimensions)


@forms
def test_given_embeddings_are_converted_and_copies_are_stored_alike(build, dtype, dimensions):
    index = build(dtype, dimensions)
    made = index.embedder.encode_documents(["a red fox"], index.context)
    index.add_embedded([Document("a red fox", id="given")], made, index.context.fingerprint)
    np.testing.assert_allclose(index.vectors(["given"])[0], stored(made[0], dtype, dimensions), atol=1e-6)
    before = index.embedder.embedded
    index.upsert([Document(CORPUS[3], id="copy")])
    assert index.embedder.embedded == before
    np.testing.assert_array_equal(index.vectors(["copy"]), index.vectors(["d3"]))
    if dimensions is not None:
        with pytest.raises(ConfigurationError, match=r"shape \(1, 32\) are needed"):
            index.add_embedded(["x"], index.vectors(["copy"]), index.context.fingerprint)


@forms
def test_files_are_as_small_as_the_form_and_open_elsewhere(build, dtype, dimensions):
    index = build(dtype, dimensions)
    width = dimensions or WIDTH
    for path in vector_files(index):
        read = load_file(path)["vectors"]
        assert read.nbytes == len(read) * {"float32": 4 * width, "int8": width, "binary": -(-width // 8)}[dtype]
        assert read.dtype == {"float32": np.float32, "int8": np.int8, "binary": np.uint8}[dtype]


@forms
def test_a_flipped_bit_is_found_and_the_rest_is_salvaged(build, dtype, dimensions):
    path = build(dtype, dimensions).path
    damaged = vector_files(ContextualIndex.open(path, BagOfWords(WIDTH)))[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    with pytest.raises(IndexFileError, match=r"sha256 differs"):
        ContextualIndex.open(path)
    index = ContextualIndex.open(path, BagOfWords(WIDTH), salvage=True)
    assert len(list(index.documents())) == len(DOCUMENTS)
    assert 0 < len(index.search(QUERIES[0], k=100, mode="dense")) < len(DOCUMENTS)
    assert index.dtype == dtype


class Interrupted(BagOfWords):
    """Is interrupted after twenty documents."""

    def encode_documents(self, texts, context, show_progress=None):
        if self.embedded >= 20:
            raise KeyboardInterrupt
        return super().encode_documents(texts, context)


@forms
def test_an_interrupted_build_continues_in_its_form_alone(tmp_path, dtype, dimensions):
    path = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        ContextualIndex.build(DOCUMENTS, Interrupted(), path, batch_size=10, dtype=dtype, dimensions=dimensions)
    with pytest.raises(ConfigurationError, match=rf"'dimensions': {dimensions}.*, now .*'dimensions': 31"):
        ContextualIndex.build(DOCUMENTS, BagOfWords(), path, dtype="int8", dimensions=31)
    embedder = BagOfWords()
    index = ContextualIndex.build(DOCUMENTS, embedder, path, dtype=dtype, dimensions=dimensions)
    assert embedder.embedded < len(DOCUMENTS) + 16
    assert_stored(index, dtype, dimensions)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@forms
def test_accelerators_propose_and_the_stored_vectors_decide(build, monkeypatch, kind, dtype, dimensions):
    approximate_from(40, monkeypatch)
    monkeypatch.setattr("cde_retrievers.index.accelerator._LEAST_EFFORT", {"hnsw": 256, "ivf": 40})
    index = build(dtype, dimensions, kind=kind)
    assert list(index.path.glob("accelerator-*.faiss"))
    rows = expected_vectors(index, dtype, dimensions)
    for query in QUERIES:
        scores = sorted(rows @ asked(index, query, dimensions), reverse=True)
        hits = index.search(query, k=5, mode="dense")
        np.testing.assert_allclose([hit.score for hit in hits], scores[:5], atol=1e-5)


@pytest.mark.parametrize("make", ["build", "create"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, r"dtype.*'float16'"),
        ({"dimensions": 0}, r"dimensions must be .*1"),
        ({"dimensions": 33}, r"dimensions=33 .* gives 32; ask for 1 to 32"),
        ({"dimensions": True}, r"dimensions"),
    ],
)
def test_impossible_forms_are_refused_before_anything_is_made(tmp_path, make, options, message):
    embedder, path = BagOfWords(), tmp_path / "index"
    context = embedder.fit_context(CORPUS)
    before = embedder.embedded
    given = {"documents": CORPUS} if make == "build" else {"context": context}
    with pytest.raises(ConfigurationError, match=message):
        getattr(ContextualIndex, make)(embedder=embedder, path=path, **given, **options)
    assert embedder.embedded == before
    assert not path.exists()


def test_a_lexical_part_is_not_cut_off(tmp_path):
    embedder = LexicalEmbedder(BagOfWords(), 64)
    with pytest.raises(ConfigurationError, match=r"would cut off its lexical part, the last 64"):
        ContextualIndex.build(CORPUS, embedder, tmp_path / "index", dimensions=16)


def test_a_model_that_is_too_narrow_is_refused_before_a_refit(build):
    index = build("int8", 20)
    narrow = BagOfWords(16)
    with pytest.raises(ConfigurationError, match=r"dimensions=20 .* gives 16"):
        index.refit(embedder=narrow)
    assert narrow.embedded == 0
    index.refit(embedder=BagOfWords(48))
    assert (index.dtype, index.dimensions) == ("int8", 20)


def test_an_index_of_an_earlier_release_holds_float32(build):
    path = build("float32", None).path
    content = read_content(path / "index.json")
    reseal(path / "index.json", {key: value for key, value in content.items() if key not in ("dtype", "dimensions")})
    index = ContextualIndex.open(path, BagOfWords())
    index.add(["another text"])
    assert_stored(index, "float32", None)


@pytest.mark.parametrize("changes", [{"dtype": "int8"}, {"dimensions": 4}, {"dtype": "binary", "dimensions": 33}])
def test_a_manifest_with_another_form_than_the_files_is_refused(build, changes):
    path = build("float32", None).path
    reseal(path / "index.json", {**read_content(path / "index.json"), **changes})
    with pytest.raises(IndexFileError, match=r"does not hold 10 rows|have no first 33"):
        ContextualIndex.open(path)


def test_the_manifest_says_the_form(build):
    content = json.loads((build("binary", 20).path / "index.json").read_text())
    assert (content["dtype"], content["dimensions"], content["width"]) == ("binary", 20, WIDTH)


def test_queries_are_cut_as_vectors_are(build):
    index = build("int8", 20)
    embedded = index.embedder.encode_queries(QUERIES, index.context)
    np.testing.assert_allclose(index.cut(embedded), [stored(row, "float32", 20) for row in embedded], atol=1e-6)
    hits = index.search_embedded(embedded, index.context.fingerprint, 3)
    for query, row in zip(QUERIES, hits, strict=True):
        scores = [hit.score for hit in index.search(query, k=3, mode="dense")]
        np.testing.assert_allclose([hit.score for hit in row], scores, atol=1e-6)
    with pytest.raises(ConfigurationError, match=r"\(n, 32\) are needed, found \(1, 20\)"):
        index.cut(embedded[:1, :20])
