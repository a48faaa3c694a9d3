"""`train` does what the library does, says what it will do and what came of it, and refuses before work is lost."""

import json
import os
import shutil
import signal
from typing import get_args, get_type_hints

import pytest
from tiny import CORPUS

pytest.importorskip("accelerate")
from cde_retrievers import ContextualEncoder
from cde_retrievers.cli.options import training as training_options
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import ndcg_at_10
from cde_retrievers.evaluation.searchers import Contextual
from cde_retrievers.model.config import _BY_KIND
from cde_retrievers.training.base_model import encoder_to_train
from cde_retrievers.training.checkpoints import newest_complete
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.from_corpus import pairs_from_corpus
from cde_retrievers.training.data.pair_statistics import describe_pairs
from cde_retrievers.training.data.read import read_pairs
from cde_retrievers.training.run import train
from cde_retrievers.training.trainer import ContextualTrainer

SHORT = ("--batch-size", 8, "--epochs", 2, "--setting", "seed=3")


@pytest.fixture(autouse=True)
def ctrl_c_is_as_before():
    """Tests hear Ctrl-C, as a program in the background would not, and leave it as it was."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_a_run_in_the_background_goes_on_ignoring_ctrl_c(answer, pairs, biencoder_folder, tmp_path, monkeypatch):
    step = ContextualTrainer.training_step

    def interrupted(self, *arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return step(self, *arguments, **options)

    monkeypatch.setattr(ContextualTrainer, "training_step", interrupted)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    found = answer("train", pairs, "--out", tmp_path / "run", "--model", biencoder_folder, *SHORT)
    assert found["steps"] == 12
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN


@pytest.fixture
def pairs(tmp_path):
    """48 pairs in two domains, as JSONL."""
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"query": " ".join(text.split()[:3]) + f" {i}", "positive": text + f" {i}", "domain": f"part {i % 2}"}
        for i, text in enumerate(CORPUS[:48])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_beir(folder, first=0):
    """A BEIR folder that asks for twenty documents by most of their words."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(CORPUS)]
    asked = range(first, first + 20)
    queries = [{"_id": f"q{i}", "text": CORPUS[i].replace(" in the", "")} for i in asked]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in asked)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


def config_of(out, **settings):
    short = {"per_device_train_batch_size": 8, "num_train_epochs": 2, "seed": 3, "use_cpu": True, "disable_tqdm": True}
    return TrainingConfig(output_dir=str(out), **{**short, **settings})


def fingerprint(folder) -> str:
    return ContextualEncoder.from_pretrained(folder, "cpu", "float32").fingerprint


def assert_refused(result, *parts, exit_code=1):
    assert result.exit_code == exit_code, result.stderr
    assert (result.stdout, "Traceback" in result.stderr) == ("", False)
    message = " ".join(result.stderr.replace("│", " ").split())
    for part in parts:
        assert part in message


def interrupt_at(monkeypatch, step, times=1):
    """Ctrl-C while a step is computed."""
    compute, steps = ContextualTrainer.compute_loss, []

    def interrupted(self, *arguments, **options):
        steps.append(1)
        if len(steps) == step:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return compute(self, *arguments, **options)

    monkeypatch.setattr(ContextualTrainer, "compute_loss", interrupted)


def test_it_trains_what_the_library_trains_and_says_so(answer, pairs, biencoder_folder, tmp_path):
    found = answer("train", pairs, "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT)
    encoder = encoder_to_train(biencoder_folder, device="cpu")
    expected = train(encoder, read_pairs(pairs), config_of(tmp_path / "twin", logging_steps=1))
    assert found["model"] == str(tmp_path / "out" / "model")
    assert fingerprint(found["model"]) == expected.encoder.fingerprint != encoder.fingerprint
    losses = [entry["loss"] for entry in expected.log_history if "loss" in entry]
    assert (found["steps"], len(losses), found["conditioning"]) == (12, 12, "cached")
    assert found["loss"]["first"] == pytest.approx(losses[0])
    assert found["loss"]["last"] == pytest.approx(sum(losses[-2:]) / 2)  # since the log entry of step 10
    report = describe_pairs(read_pairs(pairs), encoder, batch_size=8)
    assert found["pairs"] == json.loads(json.dumps(report.to_dict()))
    assert found["ndcg_at_10"] == {}


def test_people_are_told_what_the_pairs_are_like_what_came_of_it_and_what_to_do_next(
    run, answer, pairs, biencoder_folder, source, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run("train", pairs, "--out", "out", "--model", biencoder_folder, *SHORT)
    assert result.exit_code == 0, result.stderr
    assert "48 pairs: 48 distinct queries" in result.stderr
    assert "batches of 8: 6 an epoch" in result.stderr
    first, *lines, last = result.stdout.splitlines()
    assert first.startswith(f"{biencoder_folder}, cached, trained on 48 pairs in 12 steps")
    assert [line.split(":")[0] for line in lines[:2]] == ["loss", "accuracy in the batch"]
    command = last.split(": cde-retrievers ")[1].replace("docs/", str(source)).split()
    assert answer(*command)["documents"] == len(CORPUS)
    assert answer("search", "docs_index", "red cat")["hits"]


def test_pairs_are_made_of_documents_and_a_sample_is_shown(run, biencoder_folder, tmp_path):
    source = tmp_path / "docs.jsonl"
    rows = [{"title": f"the {text}", "text": f"{text} and so on {i}"} for i, text in enumerate(CORPUS)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--from-documents", "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT, "--json"]
    result = run("train", source, *options)
    assert result.exit_code == 0, result.stderr
    from cde_retrievers.corpora import Corpus

    made = pairs_from_corpus(Corpus(source))
    assert json.loads(result.stdout)["made"] == json.loads(json.dumps(made.to_dict()))
    assert len(made.pairs) == json.loads(result.stdout)["pairs"]["pairs"] == len(CORPUS)
    assert str(made).splitlines()[-2].strip() in result.stderr


def test_a_contextual_model_is_trained_as_it_is(answer, run, pairs, model_folder, tmp_path):
    found = answer("train", pairs, "--out", tmp_path / "out", "--model", model_folder, *SHORT)
    assert found["conditioning"] == "whitening"
    assert fingerprint(found["model"]) != fingerprint(model_folder)
    for option in (("--conditioning", "joint"), ("--max-length", 16)):
        result = run("train", pairs, "--out", tmp_path / "other", "--model", model_folder, *SHORT, *option)
        assert_refused(
            result, "is already contextual", option[0].removeprefix("--").replace("-", "_"), "leave that out"
        )
    assert not (tmp_path / "other").exists()


def test_options_and_settings_reach_the_run(answer, pairs, biencoder_folder, tmp_path):
    options = ["--conditioning", "joint", "--max-length", 12, "--batching", "random", "--learning-rate", "1e-3"]
    settings = ["chunk_size=None", "save_steps = 2", "matryoshka_dimensions=[16, 32]", "lr_scheduler_type=constant"]
    options += [word for setting in settings for word in ("--setting", setting)]
    options += ["--lora-rank", 2, "--epochs", 0.5, "--batch-size", 8]
    found = answer("train", pairs, "--out", tmp_path / "out", "--model", biencoder_folder, *options)
    saved = json.loads((tmp_path / "out" / "checkpoint-2" / "training_config.json").read_text())
    assert found["steps"] == 3
    assert ContextualEncoder.from_pretrained(found["model"], "cpu").config.max_length == 12
    expected = {"batching": "random", "learning_rate": 1e-3, "lora_rank": 2, "chunk_size": None}
    assert {name: saved[name] for name in expected} == expected
    assert (saved["lr_scheduler_type"], saved["bf16"]) == ("constant", False)
    assert saved["matryoshka_dimensions"] == [16, 32]


def test_the_best_weights_of_an_evaluated_run_are_kept_and_compared_with_the_first(run, biencoder_folder, tmp_path):
    folders = [write_beir(tmp_path / "one"), write_beir(tmp_path / "two", first=20)]
    wrong = tmp_path / "wrong.jsonl"  # each text asks for another one: the longer it learns that, the less it finds
    rows = [{"query": text, "positive": CORPUS[i - 27]} for i, text in enumerate(CORPUS)]
    wrong.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [word for folder in folders for word in ("--evaluate", folder)]
    options += ["--learning-rate", "1e-2", "--setting", "false_negative_threshold=None", "--json"]
    result = run("train", wrong, "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT, *options)
    assert result.exit_code == 0, result.stderr
    log = [json.loads(line) for line in (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()]
    before, first, last = (entry["eval_ndcg@10"] for entry in log if "eval_ndcg@10" in entry)
    assert before > first > last
    assert "warning: the trained model finds less than it did before training" in result.stderr

    found = json.loads(result.stdout)["ndcg_at_10"]
    assert sum(each["after"] for each in found.values()) / 2 == pytest.approx(first)
    encoders = {
        "before": encoder_to_train(biencoder_folder, device="cpu", dtype="float32"),
        "after": ContextualEncoder.from_pretrained(tmp_path / "out" / "model", "cpu", "float32"),
    }
    for folder in folders:
        for moment, encoder in encoders.items():
            assert found[folder.name][moment] == pytest.approx(
                ndcg_at_10(Contextual(encoder), RetrievalDataset.read(folder)), abs=1e-6
            )


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_resume_ends_with_the_same_weights(
    run, answer, pairs, biencoder_folder, tmp_path, monkeypatch
):
    command = ["train", pairs, "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT]
    interrupt_at(monkeypatch, step=5)
    result = run(*command)
    assert (result.exit_code, result.stdout) == (130, "")
    said = result.stderr.splitlines()
    assert "interrupted: a checkpoint is written after this step; Ctrl-C again stops at once" in said
    assert f"{tmp_path / 'out' / 'checkpoint-5'} is kept; give the same command with --resume" in said[-1]
    assert not (tmp_path / "out" / "model").exists()
    monkeypatch.undo()
    assert_refused(run(*command), "already holds checkpoint-5", "--resume continues from a checkpoint")
    resumed = answer(*command, "--resume")
    through = answer("train", pairs, "--out", tmp_path / "through", "--model", biencoder_folder, *SHORT)
    assert fingerprint(resumed["model"]) == fingerprint(through["model"])
    assert {**resumed, "seconds": 0, "model": ""} == {**through, "seconds": 0, "model": ""}


@pytest.mark.parametrize("moment", ["twice", "before training"])
def test_ctrl_c_stops_at_once_where_that_is_asked_for(run, pairs, biencoder_folder, tmp_path, monkeypatch, moment):
    if moment == "twice":
        interrupt_at(monkeypatch, step=5, times=2)
    else:
        monkeypatch.setattr("cde_retrievers.training.run.prepare", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    result = run("train", pairs, "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == ("interrupted. No checkpoint exists yet; give the same command again.")
    assert newest_complete(tmp_path / "out") is None


@pytest.mark.parametrize(
    ("content", "options", "parts"),
    [
        (None, [], ["does not exist", "give a file of pairs"]),
        ('{"text": "a document, not a pair"}\n', [], ["has no column for the query", "add --from-documents"]),
        ("no json\n", [], ["pairs.jsonl:1 is not valid JSON"]),
        ('{"query": "a cat", "positive": ""}\n', [], ["the positive is empty"]),
        ('{"query": "a cat", "positive": "the cat"}\n', [], ["a batch takes 64 distinct pairs"]),
        (
            "".join(f'{{"query": "cat {i}", "positive": "the cat"}}\n' for i in range(9)),
            ["--batch-size", 4],
            ["all pairs have the same document"],
        ),
    ],
    ids=["missing", "documents", "broken", "empty", "few", "one document"],
)
def test_bad_pairs_are_refused_before_a_model_is_loaded(run, tmp_path, content, options, parts):
    path = tmp_path / "pairs.jsonl"
    if content is not None:
        path.write_text(content)
    result = run("train", path, "--out", tmp_path / "out", "--model", tmp_path / "no model", *options)
    assert_refused(result, "error: ", *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--setting", "learning_rte=1"], ["'learning_rte' is unknown", "learning_rate"]),
        (["--setting", "num_train_epochs=many"], ["num_train_epochs is 'many'", "valid number"]),
        (["--setting", "max_steps=2.5"], ["max_steps is 2.5", "fractional part"]),
        (["--setting", "temperature=warm"], ["temperature is 'warm'"]),
        (["--setting", "cluster_size=1"], ["cluster_size is 1"]),
        (["--batch-size", 1], ["per_device_train_batch_size is 1"]),
        (["--evaluate", "nowhere"], ["evaluation folder nowhere does not exist"]),
        (["--setting", "eval_strategy=epoch"], ["name BEIR folders"]),
    ],
)
def test_impossible_settings_are_refused(run, pairs, tmp_path, options, parts):
    result = run("train", pairs, "--out", tmp_path / "out", "--model", tmp_path / "no model", *options)
    assert_refused(result, "error: ", *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--setting", "seed"], ["'seed' is not NAME=VALUE"]),
        (["--setting", "seed=1", "--setting", "seed=2"], ["seed is given twice"]),
        (["--setting", "learning_rate=1", "--learning-rate", 1], ["learning_rate is also set by --learning-rate"]),
        (["--setting", "output_dir=there"], ["output_dir is also set by --out"]),
        (["--setting", "use_cpu=false"], ["use_cpu is also set by --device"]),
        (["--text", "body"], ["--text says how documents are read", "add --from-documents"]),
        (["--ids-as-text"], ["--ids-as-text says how documents are read"]),
    ],
)
def test_options_that_contradict_each_other_are_not_understood(run, pairs, tmp_path, options, parts):
    assert_refused(run("train", pairs, "--out", tmp_path / "out", *options), *parts, exit_code=2)


def test_documents_without_anything_to_ask_are_refused_with_the_reasons(run, tmp_path):
    source = tmp_path / "docs.jsonl"
    source.write_text('{"text": "word"}\n{"text": "another"}\n')
    result = run("train", source, "--from-documents", "--out", tmp_path / "out")
    assert_refused(result, "no pair could be made of 2 documents", "give documents with titles")


def test_a_model_that_is_there_is_never_overwritten(run, pairs, model_folder, biencoder_folder, tmp_path):
    saved = shutil.copytree(model_folder, tmp_path / "saved")
    trained = tmp_path / "trained"
    shutil.copytree(model_folder, trained / "model")
    (tmp_path / "file").write_text("")
    for out, part in (
        (saved, "holds a saved model"),
        (trained, "is an already trained model"),
        (tmp_path / "file", "is a file"),
    ):
        assert_refused(run("train", pairs, "--out", out, "--model", biencoder_folder, *SHORT), part, "--out")
    assert fingerprint(saved) == fingerprint(trained / "model") == fingerprint(model_folder)


def test_a_run_of_another_model_is_not_resumed(run, answer, pairs, biencoder_folder, other_folder, tmp_path):
    answer("train", pairs, "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT)
    before = fingerprint(tmp_path / "out" / "model")
    result = run("train", pairs, "--out", tmp_path / "out", "--model", other_folder, *SHORT, "--resume")
    assert_refused(result, "belongs to another run (model was", "another --out starts over")
    assert fingerprint(tmp_path / "out" / "model") == before


def test_without_a_checkpoint_there_is_nothing_to_resume(run, pairs, biencoder_folder, tmp_path):
    result = run("train", pairs, "--out", tmp_path / "out", "--model", biencoder_folder, *SHORT, "--resume")
    assert_refused(result, "has no complete checkpoint to resume from")


def test_the_run_may_not_be_written_into_the_source(run, tmp_path):
    folder = write_beir(tmp_path / "beir")
    assert_refused(run("train", folder, "--out", folder / "out"), "is inside the source", exit_code=2)


def test_what_can_be_chosen_and_is_said_to_be_default_is_what_the_library_has():
    assert set(get_args(training_options.ConditioningName)) == set(_BY_KIND)
    assert training_options.Batching == get_type_hints(TrainingConfig)["batching"]
    fresh = TrainingConfig(output_dir="x", use_cpu=True)
    hints = get_type_hints(training_options.TrainingOptions, include_extras=True)
    for option, value in (
        ("epochs", f"{fresh.num_train_epochs:g}"),
        ("batch_size", str(fresh.per_device_train_batch_size)),
        ("learning_rate", "2e-5" if fresh.learning_rate == 2e-5 else str(fresh.learning_rate)),
        ("batching", f"'{fresh.batching}',"),
    ):
        assert f"{value} if left out" in hints[option].__metadata__[0].help
