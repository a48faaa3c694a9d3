"""A run described by a TOML file."""

import json
import os
import subprocess
import sys

import pytest
from runs import PAIRS, same_weights, small_config

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, TrainingError
from cde_retrievers.training.__main__ import main
from cde_retrievers.training.run import train
from cde_retrievers.training.run_file import read_run_file, train_from_file

RUN = """
[model]
name = "{model}"
conditioning = "cached"
context_size = 16

[data]
path = ["{folder}/one.jsonl", "{folder}/two.jsonl"]
domain = "animals"

[training]
output_dir = "{folder}/run"
per_device_train_batch_size = 9
num_train_epochs = 1
learning_rate = 1e-3
chunk_size = 4
save_strategy = "no"
use_cpu = true
"""


@pytest.fixture
def run_file(tmp_path, biencoder_folder):
    for name, pairs in (("one", PAIRS[:30]), ("two", PAIRS[30:])):
        rows = [json.dumps({"query": pair.query, "positive": pair.positive}) for pair in pairs]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    path = tmp_path / "config.toml"
    path.write_text(RUN.format(model=biencoder_folder, folder=tmp_path))
    return path


def test_a_file_is_the_run_that_its_settings_make(run_file, biencoder_folder, tmp_path):
    result = train_from_file(run_file)
    rows = [{"query": pair.query, "positive": pair.positive, "domain": "animals"} for pair in PAIRS]
    by_hand = train(
        biencoder_folder,
        rows,
        small_config(tmp_path / "by_hand", num_train_epochs=1),
        conditioning="cached",
        context_size=16,
    )
    assert same_weights(result.encoder, by_hand.encoder)
    assert result.model_path == tmp_path / "run" / "model"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[model]", "[modell]"), r"table 'modell' is unknown; similar ones are model"),
        (("name =", "nam ="), r"needs a table \[model\] with a value for name"),
        (("domain =", "domains ="), r"\[data\] 'domains' is unknown; similar ones are domain"),
        (("chunk_size", "chunksize"), r"'chunksize' is unknown; similar ones are chunk_size"),
        (("[data]", "[data"), r"not a readable TOML file"),
        (('"cached"', '"cache"'), r"conditioning 'cache' is unknown"),
        (("context_size", "contextsize"), r"contextsize"),
        (("path = [", "path = 3 # ["), r"path in \[data\] must be a text, found \[3\]"),
        (("path = [", "path = [] # ["), r"path in \[data\] must be a text, found \[\]"),
        (("name =", "name = 3 #"), r"name in \[model\] must be a text, found \[3\]"),
    ],
)
def test_a_wrong_name_is_refused(run_file, change, message):
    run_file.write_text(run_file.read_text().replace(*change))
    with pytest.raises(ConfigurationError, match=message):
        train_from_file(run_file)


def test_a_file_may_begin_with_a_byte_order_mark(run_file):
    run_file.write_text(run_file.read_text(), encoding="utf-8-sig")
    assert read_run_file(run_file)["model"]["conditioning"] == "cached"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere.toml is not a readable TOML file"):
        read_run_file(tmp_path / "nowhere.toml")


@pytest.mark.slow
def test_it_runs_from_the_command_line_and_errors_are_one_line(run_file, tmp_path):
    def run(*arguments):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "cde_retrievers.training", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run(str(run_file))
    assert done.returncode == 0, done.stderr
    assert f"the trained model is in {tmp_path / 'run' / 'model'}" in done.stderr
    ContextualEncoder.from_pretrained(tmp_path / "run" / "model", device="cpu")
    failed = run(str(run_file), "--resume")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: ")
    assert "no complete checkpoint to resume from" in failed.stderr


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (TrainingError("of\nours"), 1, "error: of ours"),
        (PermissionError(13, "Permission denied", "run"), 1, "error: [Errno 13] Permission denied: 'run'"),
        (RuntimeError("a\nbug"), 1, "error: unexpected RuntimeError: a bug (--verbose shows"),
        (KeyboardInterrupt(), 130, "interrupted; --resume continues from"),
    ],
)
def test_every_error_ends_in_one_line(raised, code, line, monkeypatch, caplog, capsys):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr("cde_retrievers.training.run_file.train_from_file", fail)
    assert main(["run.toml"]) == code
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(line)
    assert "Traceback" not in capsys.readouterr().err
    main(["run.toml", "--verbose"])
    assert ("Traceback" in capsys.readouterr().err) == (code == 1)
