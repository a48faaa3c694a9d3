"""Commands run in this process, on a tiny model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import CORPUS

pytest.importorskip("typer")
from typer.testing import CliRunner, Result

from cde_retrievers.cli.app import app

WITH_MODEL = {"fit", "index", "search", "add", "drift", "refit", "train", "eval", "report", "serve"}


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("search", path, "cat")`: what the command answered; models compute on the CPU."""

    def invoke(command: str, *arguments: object, device: str = "cpu", dtype: str = "float32") -> Result:
        there = ["--device", device, "--dtype", dtype] if command in WITH_MODEL else []
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, *map(str, arguments), *there])

    return invoke


@pytest.fixture
def answer(run) -> Callable[..., Any]:
    """What the command answers as JSON, which must be all there is on stdout."""

    def invoke(command: str, *arguments: object, exit_code: int = 0) -> Any:
        result = run(command, *arguments, "--json")
        assert result.exit_code == exit_code, result.stderr
        return json.loads(result.stdout)

    return invoke


def write_corpus(folder: Path) -> Path:
    path = folder / "corpus.jsonl"
    rows = [{"id": f"d{i}", "text": text, "n": i, "topic": text.split()[1]} for i, text in enumerate(CORPUS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def source(tmp_path) -> Path:
    """The tiny corpus as JSONL, with a number and a topic to filter by."""
    return write_corpus(tmp_path)


@pytest.fixture
def more(tmp_path):
    """Documents that are not in the corpus."""
    path = tmp_path / "more.jsonl"
    rows = [{"id": f"m{i}", "text": f"a {color} whale swims", "n": 100 + i} for i, color in enumerate(("red", "old"))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, model_folder) -> Path:
    folder = tmp_path_factory.mktemp("made")
    options = ["--out", folder / "index", "--model", model_folder, "--device", "cpu", "--dtype", "float32"]
    result = CliRunner().invoke(app, ["index", str(write_corpus(folder)), *map(str, options)])
    assert result.exit_code == 0, result.stderr
    return folder / "index"


@pytest.fixture
def indexed(made_once, tmp_path) -> Path:
    """An index of the tiny corpus, made by the command."""
    return shutil.copytree(made_once, tmp_path / "index")
