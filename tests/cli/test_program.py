"""The program as it is started: quick, with a name, and in order when it is interrupted."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from cde_retrievers.index import ContextualIndex

PROGRAM = [sys.executable, "-m", "cde_retrievers.cli"]
INTERRUPTED = Path(__file__).parents[1] / "helpers" / "interrupted.py"


@pytest.mark.parametrize("arguments", [["--help"], ["index", "--help"], ["search"]])
def test_help_needs_neither_torch_nor_a_model(arguments):
    heavy = ["torch", "transformers", "numpy", "faiss", "pyarrow"]
    code = (
        f"import sys; from cde_retrievers.cli import main; sys.argv = ['x', *{arguments}]\n"
        f"try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(str([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: cde-retrievers" in done.stdout + done.stderr
    assert done.stderr.endswith("[]")


def test_every_command_has_help_with_an_example():
    from typer.testing import CliRunner

    from cde_retrievers.cli.app import app

    names = {command.callback.__name__ for command in app.registered_commands}
    assert names == {
        "fit",
        "index",
        "search",
        "add",
        "sync",
        "check",
        "drift",
        "refit",
        "info",
        "train",
        "eval",
        "report",
    }
    for name in names:
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [name, "--help"]).stdout
        assert f"Example: cde-retrievers {name} " in shown
        assert "--json" in shown


def test_what_can_be_chosen_is_what_the_library_offers():
    from cde_retrievers.cli.options import common as options
    from cde_retrievers.cli.options import evaluation as evaluation_options
    from cde_retrievers.context.selection import STRATEGIES
    from cde_retrievers.corpora import read_options as reading
    from cde_retrievers.index.manifest import Kind

    assert options.Format == reading.Format
    assert options.Split == reading.Split
    assert set(get_args(options.Kind)) == set(get_args(Kind))
    assert set(get_args(options.Strategy)) == set(STRATEGIES) == set(evaluation_options.StrategyName)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_package_names_the_extra(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from cde_retrievers.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"error: the command line needs {missing}: pip install 'cde-retrievers[cli]'"
    ]


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, model_folder):
    count = 150
    rows = ({"id": f"d{i}", "text": f"the cat {i} sleeps in tree {i % 7}"} for i in range(count))
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = tmp_path / "index"
    command = ["index", str(tmp_path / "corpus.jsonl"), "--out", str(index), "--model", str(model_folder)]
    command += ["--batch-size", "20", "--device", "cpu", "--dtype", "float32", "--json"]
    # A suite that was started in the background ignores Ctrl-C, and its children would do so too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = subprocess.run([sys.executable, INTERRUPTED, "4", *command], capture_output=True, text=True, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "60 documents are done and kept" in done.stderr.splitlines()[-1]
    again = subprocess.run([*PROGRAM, *command], capture_output=True, text=True, check=True)
    assert "continuing where it was interrupted" in again.stderr
    answer = json.loads(again.stdout)
    assert answer["documents"] == count
    assert answer["embedded"] == count - 60
    assert sorted(ContextualIndex.open(index).ids()) == sorted(f"d{i}" for i in range(count))
