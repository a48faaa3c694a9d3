"""A plan holds everything that is to be embedded, whole or not at all."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.bulk import Plan, plan
from cde_retrievers.bulk.id_check import refuse_repeated_ids
from cde_retrievers.bulk.input_file import read_input
from cde_retrievers.bulk.paths import input_file
from cde_retrievers.bulk.worker import Worker
from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    CorpusFileError,
    DuplicateIdError,
    InvalidTextError,
    PathInUseError,
    PlanError,
)
from cde_retrievers.retrieval.document import Document

ROWS = [Document(f"cat {number}", f"row-{number}", {"n": number}) for number in range(12)]


def rows_of(made):
    return [
        document
        for number, shard in enumerate(made.shards)
        for document in read_input(input_file(made.directory, number), shard)
    ]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": row.id, "text": row.text}) + "\n" for row in ROWS))
    return path


def test_rows_are_cut_into_numbered_inputs(make_plan):
    made = make_plan(ROWS, 5)
    assert [shard.rows for shard in made.shards] == [5, 5, 2]
    assert made.rows == 12
    assert rows_of(made) == ROWS


def test_a_plan_reads_back_as_it_was_made(make_plan):
    made = make_plan()
    assert Plan.load(made.directory) == made


def test_a_moved_plan_is_the_same(make_plan, tmp_path):
    made = make_plan()
    moved = made.directory.rename(tmp_path / "moved")
    assert Plan.load(moved).identity(1) == made.identity(1)
    assert Worker(moved).embed(1).rows == 5


def test_documents_without_ids_are_named_by_place(make_plan):
    made = make_plan(["a cat", Document("a dog", "own"), "a bird"], 2)
    assert [row.id for row in rows_of(made)] == ["doc-0", "own", "doc-2"]


def test_a_generator_is_read_once(make_plan):
    assert rows_of(make_plan(row for row in ROWS)) == ROWS


def test_files_are_read_as_a_corpus(make_plan, lines):
    made = make_plan(lines)
    assert [row.id for row in rows_of(made)] == [row.id for row in ROWS]
    assert made.source is not None
    assert made.source.files.keys() == {"rows.jsonl"}


def test_the_same_plan_again_is_returned(make_plan, lines):
    made = make_plan(lines)
    before = (made.directory / "plan.json").stat().st_mtime_ns
    assert make_plan(lines) == made
    assert (made.directory / "plan.json").stat().st_mtime_ns == before


def test_a_changed_source_is_refused_by_the_plan_that_is_there(make_plan, lines):
    make_plan(lines)
    lines.write_text(lines.read_text().replace("cat 3", "dog 3"))
    with pytest.raises(PathInUseError, match=r"has changed since .* was planned \(rows\.jsonl\)"):
        make_plan(lines)


def test_other_settings_are_refused_by_the_plan_that_is_there(make_plan, lines):
    make_plan(lines, 5)
    with pytest.raises(PathInUseError, match="another rows_per_shard"):
        make_plan(lines, 6)
    with pytest.raises(PathInUseError, match="another source"):
        make_plan(Corpus(lines, ReadOptions(id_prefix="x")), 5)


def test_files_that_are_split_in_another_way_are_refused_by_the_plan_that_is_there(make_plan, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.md").write_text("red cat\n\nold dog")

    def split_at(mark):
        return Corpus(tmp_path / "texts", splitter=lambda text: text.split(mark))

    made = make_plan(split_at("\n\n"))
    assert make_plan(split_at("\n\n")) == made
    for other in (Corpus(tmp_path / "texts"), split_at(None)):
        with pytest.raises(PathInUseError, match="other rows of the same files"):
            make_plan(other)


def test_documents_in_memory_are_not_compared(make_plan):
    make_plan()
    with pytest.raises(PathInUseError, match="cannot be compared"):
        make_plan()


def test_a_source_that_changes_while_it_is_read_is_refused(make_plan, lines, monkeypatch, tmp_path):
    from cde_retrievers.bulk import planning

    write = planning.write_input

    def growing(path, documents):
        lines.write_text(lines.read_text().replace("cat 11", "dog 11"))
        return write(path, documents)

    monkeypatch.setattr(planning, "write_input", growing)
    with pytest.raises(CorpusFileError, match="changed while it was read"):
        make_plan(lines)
    assert not (tmp_path / "plan").exists()


def test_a_file_that_has_come_since_the_corpus_was_made_is_refused(make_plan, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.md").write_text("red cat")
    corpus = Corpus(tmp_path / "texts")
    (tmp_path / "texts" / "b.md").write_text("old dog")
    with pytest.raises(CorpusFileError, match=r"have come or gone since they were looked for \(b\.md\)"):
        make_plan(corpus)
    assert not (tmp_path / "plan").exists()


def test_a_bad_row_leaves_nothing_behind(make_plan, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidTextError, match="text 7"):
        make_plan([*ROWS[:7], Document("\ud800")])
    assert sorted(tmp_path.iterdir()) == before


def test_no_rows_are_refused(make_plan):
    with pytest.raises(PlanError, match="no documents"):
        make_plan([])


@pytest.mark.parametrize("place", [0, 5, 11])
def test_an_id_that_comes_twice_is_found_in_any_shard(make_plan, place):
    rows = [*ROWS, Document("again", ROWS[place].id)]
    with pytest.raises(DuplicateIdError, match=f"document 12 has the id 'row-{place}', which document {place}"):
        make_plan(rows)


def test_a_given_id_must_not_be_that_of_a_place(make_plan):
    with pytest.raises(DuplicateIdError, match="doc-1"):
        make_plan([Document("a", "doc-1"), "b"])


def test_hashes_that_are_alike_by_chance_are_no_duplicates(monkeypatch):
    monkeypatch.setattr("cde_retrievers.bulk.id_check.id_hashes", lambda documents: np.zeros(len(documents), np.uint64))
    refuse_repeated_ids([Document("a", "one"), Document("a", "two")], frozenset({0}))


def test_other_files_are_not_replaced(make_plan, tmp_path):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "mine.txt").write_text("mine")
    with pytest.raises(PathInUseError, match="other files"):
        make_plan()


@pytest.mark.parametrize("url", ["s3://bucket/plan", "gs://bucket", "hdfs://host:1/x", "file:///there"])
def test_object_stores_are_refused_by_name(url, context, model_folder, tmp_path):
    with pytest.raises(ConfigurationError, match=r"out must be .* file system .* found '" + url):
        plan(ROWS, model_folder, context, url)
    with pytest.raises(ConfigurationError, match="source must be"):
        plan(url, model_folder, context, tmp_path / "plan")
    with pytest.raises(ConfigurationError, match="plan must be"):
        Plan.load(url)


def test_a_loaded_encoder_goes_into_the_plan(encoder, context, tmp_path):
    made = plan(ROWS, encoder, context, tmp_path / "plan", 12)
    assert made.model is None
    assert ContextualEncoder.from_pretrained(made.model_path).fingerprint == encoder.fingerprint
    Worker(made).embed(0)


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnxscript") is None, reason="needs the extra 'onnx'"
)
@pytest.mark.parametrize("loaded", [True, False])
def test_workers_compute_in_the_backend_of_the_plan(loaded, model_folder, context, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = {"backend": "onnx", "precision": "int8"}
    encoder = ContextualEncoder.from_pretrained(model_folder, **asked)
    own = encoder.fit_context([row.text for row in ROWS], show_progress=False)
    made = plan(ROWS, encoder if loaded else model_folder, own, tmp_path / "plan", **({} if loaded else asked))
    assert (made.backend, made.precision, made.model_fingerprint) == ("onnx", "int8", encoder.fingerprint)
    Worker(made).embed(0)
    with pytest.raises(ContextMismatchError):
        plan(ROWS, model_folder, own, tmp_path / "other", device="cpu", dtype="float32")


def test_a_folder_named_as_a_built_in_model_is_not_taken_for_it(context, model_folder, tmp_path, monkeypatch):
    asked = []

    def loaded(name, **settings):
        asked.append(name)
        return load(model_folder)

    load = ContextualEncoder.from_pretrained
    monkeypatch.setattr(ContextualEncoder, "from_pretrained", loaded)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    plan(ROWS, "minilm", context, tmp_path / "plan")
    assert asked == ["minilm"]


def test_a_loaded_encoder_has_its_own_device(encoder, context, tmp_path):
    with pytest.raises(ConfigurationError, match="its own device"):
        plan(ROWS, encoder, context, tmp_path / "plan", dtype="bfloat16")


def test_a_context_may_be_a_path(model_folder, context, tmp_path):
    context.save(tmp_path / "saved")
    made = plan(ROWS, model_folder, tmp_path / "saved", tmp_path / "plan")
    assert CorpusContext.load(made.directory / "context") == context


def test_a_context_of_another_model_is_refused(context, biencoder_folder, tmp_path):
    other = ContextualEncoder.from_biencoder(biencoder_folder, "cached", device="cpu", context_size=16)
    with pytest.raises(ContextMismatchError):
        plan(ROWS, other, context, tmp_path / "plan")


def test_an_edited_plan_is_refused(make_plan):
    path = make_plan().directory / "plan.json"
    path.write_text(path.read_text().replace('"rows": 5', '"rows": 4'))
    with pytest.raises(PlanError, match="was edited"):
        Plan.load(path.parent)


def test_a_directory_without_a_plan_is_refused(tmp_path):
    with pytest.raises(PlanError, match="holds no plan"):
        Plan.load(tmp_path)
