"""`bulk`: a plan, its shards, and an index of them."""

import json

import pytest
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
from cde_retrievers.bulk import Plan, Worker
from cde_retrievers.index import ContextualIndex


@pytest.fixture
def bulk(answer):
    def invoke(command, *arguments, exit_code=0):
        return answer("bulk", command, *arguments, exit_code=exit_code)

    return invoke


@pytest.fixture
def context(answer, source, model_folder, tmp_path):
    answer("fit", source, "--out", tmp_path / "context", "--model", model_folder)
    return tmp_path / "context"


@pytest.fixture
def planned(bulk, source, context, tmp_path):
    options = ["--rows-per-shard", 20, "--device", "cpu", "--dtype", "float32"]
    return bulk("plan", source, "--context", context, "--out", tmp_path / "plan", *options)


@pytest.fixture
def embedded(planned):
    worker = Worker(planned["plan"])
    for number in range(planned["shards"]):
        worker.embed(number)
    return planned["plan"]


def test_plan_says_what_it_made(planned, model_folder):
    plan = Plan.load(planned["plan"])
    assert (planned["documents"], planned["shards"]) == (len(CORPUS), len(plan.shards)) == (54, 3)
    assert (planned["model"], planned["precision"]) == (str(model_folder), "float32")
    assert plan.rows == 54


def test_plan_says_what_it_leaves_out(run, context, tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"bad{number}.md").write_bytes(b"\xff\xfe\xff\x00 \xe9")
        (tmp_path / "texts" / f"empty{number}.md").write_text(" ")
    (tmp_path / "texts" / "good.md").write_text("red cat")
    options = ["--skip-errors", "--skip-empty", "--device", "cpu", "--dtype", "float32"]
    result = run("bulk", "plan", tmp_path / "texts", "--context", context, "--out", tmp_path / "plan", *options)
    assert result.exit_code == 0, result.stderr
    assert "1 document in 7 files (text)" in result.stderr
    assert "3 of 7 files cannot be read and are left out" in result.stderr
    assert all(f"left out: {tmp_path / 'texts' / f'bad{number}.md'}" in result.stderr for number in range(3))
    assert "3 documents without text left out" in result.stderr


@pytest.mark.slow
def test_run_embeds_what_is_missing(bulk, planned):
    Worker(planned["plan"]).embed(1)
    done = bulk("run", planned["plan"], "--workers", 1, "--device", "cpu")
    assert (done["shards"], done["embedded"], done["were_there"], done["failed"]) == (3, 2, 1, {})


@pytest.mark.slow
def test_run_names_a_shard_that_fails_and_embeds_the_others(run, planned, tmp_path):
    path = tmp_path / "plan" / "inputs" / "00001.jsonl"
    path.write_text(path.read_text().replace("cat", "cap"))
    options = ["--workers", 1, "--attempts", 1, "--device", "cpu"]  # a failed attempt costs a process
    result = run("bulk", "run", planned["plan"], *options, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"].keys() == {"1"}
    assert json.loads(result.stdout)["embedded"] == 2
    assert "error: 1 of 3 shards could not be embedded (shard 1: " in result.stderr


def test_collect_makes_an_index_that_is_searched(answer, bulk, embedded, tmp_path):
    found = bulk("collect", embedded, "--into", tmp_path / "index")
    assert (found["documents"], found["added"]) == (54, 54)
    assert len(ContextualIndex.open(tmp_path / "index")) == 54
    assert bulk("collect", embedded, "--into", tmp_path / "index")["added"] == 0
    assert answer("search", tmp_path / "index", CORPUS[7], "-k", 1)["hits"][0]["text"] == CORPUS[7]


def test_collect_loads_the_model_as_the_plan_says(bulk, embedded, tmp_path, monkeypatch):
    load, asked = ContextualEncoder.from_pretrained, []

    def loaded(*arguments, **settings):
        asked.append(settings)
        return load(*arguments, **settings)

    monkeypatch.setattr(ContextualEncoder, "from_pretrained", loaded)
    bulk("collect", embedded, "--into", tmp_path / "index")
    assert asked == [{"backend": "torch", "dtype": "float32"}]


def test_a_new_index_has_the_kind_and_the_form_of_vectors_that_were_asked_for(run, bulk, embedded, tmp_path):
    index = tmp_path / "index"
    bulk("collect", embedded, "--into", index, "--kind", "hnsw", "--vectors", "int8")
    made = ContextualIndex.open(index)
    assert (made.kind, made.dtype) == ("hnsw", "int8")
    assert bulk("collect", embedded, "--into", index, "--vectors", "int8")["added"] == 0
    for option, other in (("--kind", "flat"), ("--vectors", "binary")):
        result = run("bulk", "collect", embedded, "--into", index, option, other)
        assert result.exit_code == 2
        assert option in result.stderr
        assert repr(other) in result.stderr


def test_collect_writes_parquet_files(bulk, embedded, tmp_path):
    assert bulk("collect", embedded, "--parquet", tmp_path / "rows")["added"] == 54
    assert len(list((tmp_path / "rows").iterdir())) == 3


def test_collect_makes_no_index_of_half_a_plan(run, planned, tmp_path):
    result = run("bulk", "collect", planned["plan"], "--into", tmp_path / "index")
    assert result.exit_code == 1
    assert "3 of 3 shards are not embedded yet (0, 1, 2)" in result.stderr
    assert not (tmp_path / "index").exists()


def test_an_interruption_says_what_is_there(run, planned, monkeypatch):
    Worker(planned["plan"]).embed(0)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("cde_retrievers.bulk.run_local", interrupted, raising=False)
    result = run("bulk", "run", planned["plan"])
    assert result.exit_code == 130
    assert "1 of 3 shards are there and kept" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "PLAN", "--address", "auto"], "--runner ray"),
        (["run", "PLAN", "--runner", "ray", "--device", "cpu"], "--gpus"),
        (["run", "PLAN", "--runner", "slurm"], "slurm"),
        (["collect", "PLAN"], "one of --into and --parquet"),
        (["collect", "PLAN", "--into", "a", "--parquet", "b"], "one of --into and --parquet"),
        (["collect", "PLAN", "--parquet", "b", "--kind", "flat"], "--kind"),
        (["collect", "PLAN", "--parquet", "b", "--vectors", "int8"], "--vectors"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, arguments, said):
    result = run("bulk", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("command", [["run", "s3://bucket/plan"], ["collect", "s3://bucket/plan", "--into", "index"]])
def test_an_object_store_is_an_error_that_says_what_works(run, command):
    result = run("bulk", *command)
    assert result.exit_code == 1
    assert "plan must be a directory or file of a file system" in result.stderr
