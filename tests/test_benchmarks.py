"""Benchmarks are not run by the tests; what they take from the package is there all the same."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))


def imported(script):
    """Yield the modules of the package that a script imports from, and the names."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "cde_retrievers":
            yield from ((node.module, alias.name) for alias in node.names)


def exists(module, name):
    if hasattr(import_module(module), name):
        return True
    try:
        import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_what_a_benchmark_imports_exists(script):
    missing = [f"{module}.{name}" for module, name in imported(script) if not exists(module, name)]
    assert missing == []


def test_most_benchmarks_import_something():
    assert sum(any(imported(script)) for script in SCRIPTS) > len(SCRIPTS) / 2
