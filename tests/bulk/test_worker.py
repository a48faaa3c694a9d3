"""A worker embeds a shard once, and whatever is there but not that shard is embedded again."""

import dataclasses
import shutil
import sys

import numpy as np
import pytest
import torch

from cde_retrievers import ContextualEncoder, bulk
from cde_retrievers.bulk.collection import collect
from cde_retrievers.bulk.paths import input_file, shard_file
from cde_retrievers.bulk.probe import TOLERANCES, check_probe
from cde_retrievers.bulk.shard_file import read_shard
from cde_retrievers.bulk.worker import Worker, attempts_at, failing
from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextFileError,
    ContextMismatchError,
    PathInUseError,
    PlanError,
    ShardError,
    WriteError,
)
from cde_retrievers.index import ContextualIndex
from cde_retrievers.retrieval.document import Document


def read(plan, number):
    return read_shard(shard_file(plan.directory, number), plan.identity(number))


def bytes_of(plan, number):
    return shard_file(plan.directory, number).read_bytes()


def rows_of_shard(plan, number):
    from cde_retrievers.bulk.input_file import read_input

    return read_input(input_file(plan.directory, number), plan.shards[number])


@pytest.mark.parametrize("sparse", [False, True])
def test_a_shard_holds_what_the_encoder_gives(make_plan, encoder, context, sparse):
    plan = make_plan(sparse=sparse)
    done = Worker(plan).embed(1)
    shard, rows = read(plan, 1), rows_of_shard(plan, 1)
    assert (done.rows, done.was_there) == (5, False)
    assert shard.documents == rows
    texts = [row.text for row in rows]
    np.testing.assert_allclose(shard.vectors, encoder.encode_documents(texts, context), atol=1e-6)
    if sparse:
        difference = shard.sparse - encoder.encode_documents_sparse(texts, context)
        assert abs(difference).max() == 0
    else:
        assert shard.sparse is None


def test_a_shard_that_is_there_loads_no_model(make_plan, monkeypatch):
    plan = make_plan()
    Worker(plan).embed(0)
    before = bytes_of(plan, 0)
    monkeypatch.setattr(ContextualEncoder, "from_pretrained", None)
    assert Worker(plan).embed(0).was_there
    assert bytes_of(plan, 0) == before


def test_embed_shard_takes_the_path_of_a_plan(make_plan):
    plan = make_plan()
    assert bulk.embed_shard(str(plan.directory), 2).number == 2
    assert len(read(plan, 2).documents) == 2


def cut(plan, path):
    path.write_bytes(path.read_bytes()[:-20])


def halved(plan, path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(plan, path):
    path.write_bytes(b"")


def flipped(plan, path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def swapped(plan, path):
    shutil.copy(shard_file(plan.directory, 0), path)


def text_instead(plan, path):
    path.write_text("id,text\n1,cat\n")


def other_parquet(plan, path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["row-5"]}), path)


def edited(plan, path):
    """Another text under the same note."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    texts = ["forged", *table.column("text").to_pylist()[1:]]
    pq.write_table(table.set_column(1, "text", pa.array(texts)).replace_schema_metadata(table.schema.metadata), path)


def without_a_row(plan, path):
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(path).slice(1), path)


DAMAGES = [cut, halved, emptied, flipped, swapped, text_instead, other_parquet, edited, without_a_row]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_shard_is_found_and_embedded_again(make_plan, damage):
    plan = make_plan(sparse=True)
    worker = Worker(plan)
    worker.embed(0)
    worker.embed(1)
    whole, path = read(plan, 1), shard_file(plan.directory, 1)
    damage(plan, path)
    with pytest.raises(ShardError, match="run the plan again"):
        read(plan, 1)
    assert not worker.embed(1).was_there
    assert read(plan, 1).documents == whole.documents
    np.testing.assert_array_equal(read(plan, 1).vectors, whole.vectors)


def test_every_byte_of_a_shard_counts(make_plan):
    """No flipped byte passes with another vector or text."""
    plan = make_plan()
    Worker(plan).embed(2)
    path, whole = shard_file(plan.directory, 2), read(plan, 2)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            found = read(plan, 2)
        except ShardError:
            continue
        assert found.documents == whole.documents
        np.testing.assert_array_equal(found.vectors, whole.vectors)


@pytest.mark.parametrize("name", ["model", "context", "precision", "input", "sparse"])
def test_a_shard_of_another_plan_is_not_this_ones(make_plan, name):
    plan = make_plan()
    Worker(plan).embed(0)
    with pytest.raises(ShardError, match=f"another {name}"):
        read_shard(shard_file(plan.directory, 0), {**plan.identity(0), name: "another"})


def test_a_missing_shard_is_said_to_be(make_plan):
    with pytest.raises(ShardError, match="shard 1 is not embedded yet"):
        read(make_plan(), 1)


@pytest.mark.parametrize("number", [-1, 3, "0", True])
def test_a_shard_that_the_plan_has_not(make_plan, number):
    with pytest.raises(ConfigurationError, match="shards 0 to 2"):
        Worker(make_plan()).embed(number)


def test_a_changed_input_is_refused(make_plan):
    plan = make_plan()
    path = input_file(plan.directory, 1)
    path.write_text(path.read_text().replace("cat", "cap"))
    with pytest.raises(PlanError, match="has changed since the plan was made"):
        Worker(plan).embed(1)
    failed = Worker(plan).attempt(1)
    assert "has changed" in failed.reason
    assert failed.error is None


def test_another_context_is_refused(make_plan, encoder):
    plan = make_plan()
    encoder.fit_context([f"cat {number}" for number in range(30)]).save(plan.directory / "context")
    with pytest.raises(ContextMismatchError, match="plan was made with"):
        Worker(plan).embed(0)


def test_a_context_that_is_gone_fails_every_shard(make_plan):
    plan = make_plan()
    shutil.rmtree(plan.directory / "context")
    failed = Worker(plan).attempt(0)
    assert isinstance(failed.error, ContextFileError)


def test_another_model_at_the_same_path_is_refused(make_plan, other_folder, tmp_path):
    folder = tmp_path / "model"
    one = ContextualEncoder.from_biencoder(other_folder, "whitening", device="cpu", context_size=16)
    one.save(folder)
    context = one.fit_context([f"cat {number}" for number in range(30)])
    plan = bulk.plan(["a cat"], folder, context, tmp_path / "plan")
    ContextualEncoder.from_biencoder(other_folder, "cached", device="cpu", context_size=16).save(folder)
    failed = Worker(plan).attempt(0)
    assert isinstance(failed.error, ContextMismatchError)
    assert "another model here" in failed.reason


def test_a_model_that_is_gone_fails_every_shard(make_plan, tmp_path):
    plan = make_plan().model_copy(update={"model": str(tmp_path / "gone")})
    assert isinstance(Worker(plan).attempt(0).error, CheckpointError)


def test_a_machine_that_computes_otherwise_is_refused(make_plan):
    plan = make_plan()
    moved = np.roll(plan.probe_vector, 1)
    worker = Worker(plan.model_copy(update={"probe": tuple(moved.tolist())}))
    failed = worker.attempt(0)
    assert isinstance(failed.error, ContextMismatchError)
    assert "computes other vectors" in failed.reason


@pytest.mark.parametrize("dtype", [name for name in TOLERANCES if name != "int8"])
def test_a_number_format_explains_its_own_differences(make_encoder, dtype):
    """The same model, alone and within a batch, is within the tolerance; 2 % of another direction is not."""
    from cde_retrievers.external.identity import PROBE

    encoder = make_encoder("cached", dtype=dtype)
    context = encoder.fit_context([f"cat {number}" for number in range(30)])
    alone = encoder.encode_documents([PROBE], context)[0]
    batched = encoder.encode_documents(["a", PROBE, "the cat runs", PROBE], context)[1]
    check_probe(alone, batched, dtype)
    turned = alone + 2 * TOLERANCES[dtype] * np.eye(len(alone), dtype=np.float32)[0]
    with pytest.raises(ContextMismatchError):
        check_probe(alone, turned, dtype)


def test_a_failing_text_is_named(make_plan, monkeypatch):
    encode = ContextualEncoder.encode_documents

    def encode_or_fail(self, texts, context, show_progress=None):
        if any("row-3" in text or "green dog" in text for text in texts):
            raise RuntimeError("a kernel failed")
        return encode(self, texts, context, show_progress)

    monkeypatch.setattr(ContextualEncoder, "encode_documents", encode_or_fail)
    failed = Worker(make_plan()).attempt(1)
    assert failed.error is None
    assert failed.reason.startswith("RuntimeError: a kernel failed; it arises at document 'row-5': 'the green dog")


def test_a_failing_document_is_found_by_halving():
    documents = [Document(str(number)) for number in range(100)]

    def work(some):
        if any(document.text == "71" for document in some):
            raise ValueError

    assert failing(documents, work) == documents[71]
    assert failing(documents[:50], work) is None


def test_documents_that_fail_only_together_name_none():
    def work(some):
        if len(some) > 3:
            raise ValueError

    assert failing([Document(str(number)) for number in range(4)], work) is None


def test_a_full_disk_ends_the_run_and_leaves_no_file(make_plan, monkeypatch):
    import errno
    import os

    plan = make_plan()
    worker = Worker(plan)
    worker.embed(0)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cde_retrievers.storage.atomic.flush", full)
    failed = worker.attempt(1)
    assert isinstance(failed.error, WriteError)
    assert "no space left" in failed.reason
    assert [path.name for path in (plan.directory / "shards").iterdir()] == ["00000.parquet"]


def test_a_copy_of_a_plan_without_its_empty_directory_is_embedded(make_plan):
    worker = Worker(make_plan())
    (worker.plan.directory / "shards").rmdir()
    assert worker.embed(0).rows == 5
    assert worker.has(0)


def test_a_place_that_is_taken_is_found_before_anything_is_embedded(make_plan, monkeypatch):
    worker = Worker(make_plan())
    (worker.plan.directory / "shards" / "00000.parquet").mkdir()
    monkeypatch.setattr(Worker, "_embedded", lambda self, documents: pytest.fail("embedded"))
    with pytest.raises(PathInUseError, match="is a directory"):
        worker.embed(0)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@pytest.mark.parametrize("size", [0, 500])
def test_a_disk_that_takes_nothing_more_leaves_all_as_it_was(make_plan, encoder, context, tmp_path, size):
    import resource

    def embed_all(made):
        worker = Worker(made)
        for number in range(len(made.shards)):
            worker.embed(number)

    whole = make_plan(out="whole")
    embed_all(whole)
    rest, index = make_plan(out="rest"), ContextualIndex.create(encoder, context, tmp_path / "index")
    calls = [
        lambda: make_plan(out="none"),
        lambda: Worker(rest).embed(0),
        lambda: collect(whole, tmp_path / "rows"),
        lambda: collect(whole, index),
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for call in calls:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(WriteError, match="files may not be that large"):
                call()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "none").exists()
    assert list((rest.directory / "shards").iterdir()) == list((tmp_path / "rows").iterdir()) == []
    assert collect(whole, index).added == collect(whole, tmp_path / "rows").added == whole.rows
    embed_all(rest)
    assert collect(rest, tmp_path / "rows of the rest").added == rest.rows


def test_texts_that_are_cut_are_counted(make_plan):
    plan = make_plan(["cat " * 40, "a dog"], 2)
    assert Worker(plan).embed(0).cut == 1


def test_threads_do_not_change_the_result(make_plan):
    plan = make_plan()
    Worker(plan).embed(0)
    one = read(plan, 0).vectors
    shard_file(plan.directory, 0).unlink()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    Worker(plan).embed(0)
    torch.set_num_threads(threads)
    np.testing.assert_allclose(read(plan, 0).vectors, one, atol=1e-6)


def test_outcomes_pass_between_processes(make_plan):
    import pickle

    plan = make_plan()
    failed = Worker(plan.model_copy(update={"model": "/gone/away"})).attempt(0)
    back = pickle.loads(pickle.dumps(failed))
    assert (back.reason, type(back.error), str(back.error)) == (failed.reason, CheckpointError, str(failed.error))
    assert dataclasses.asdict(Worker(plan).attempt(0))["rows"] == 5


def test_a_model_that_breaks_while_it_is_loaded_fails_every_shard(make_plan, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA driver version is insufficient")

    plan = make_plan()
    monkeypatch.setattr(ContextualEncoder, "from_pretrained", broken)
    failed = Worker(plan).attempt(0)
    assert isinstance(failed.error, ShardError)
    assert "CUDA driver version is insufficient" in failed.reason


def test_a_plan_that_is_not_there_fails_every_shard(tmp_path):
    failed = attempts_at(str(tmp_path), "cpu")(3)
    assert (failed.number, type(failed.error)) == (3, PlanError)
