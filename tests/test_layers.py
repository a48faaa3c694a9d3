"""Imports only go down: the picture in CONTRIBUTING.md, enforced."""

import ast
from pathlib import Path

import pytest

import cde_retrievers

PACKAGE = Path(cde_retrievers.__file__).parent
# Low to high. A module may import from its own layer and from those below.
LAYERS = [
    {"errors", "data"},
    {"device", "files", "progress", "sealed"},
    {"model"},
    {"text"},
    {"batches", "publishing"},
    {"context", "context_files", "fitting", "generic", "judged", "selection", "verdict"},
    {"embedder", "kept", "plain", "prepared", "probe", "reloaded", "service", "wrapped"},
    {"bases", "drift", "encoder", "whitened"},
    {"index"},
    {"binding", "bound", "corpora"},
    {"training"},
    {"langchain", "llama_index", "st"},
    {"cli"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(module: str) -> str:
    """`cde_retrievers.model.joint` belongs to `model`."""
    return module.split(".")[1]


def imported_parts(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {part_of(name) for name in names if name.startswith("cde_retrievers.")}


def upward(part: str, source: str) -> list[str]:
    """What `source`, a module in `part`, imports from above it or from a framework that is not its own."""
    return sorted(other for other in imported_parts(source) if RANK[other] > RANK[part])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in RANK, f"give {part} a place in LAYERS and in CONTRIBUTING.md"
    assert upward(part, path.read_text(encoding="utf-8")) == []


def test_adapters_do_not_import_each_other():
    adapters = LAYERS[-2]
    for path in MODULES:
        part = path.relative_to(PACKAGE).parts[0]
        if part in adapters:
            assert imported_parts(path.read_text(encoding="utf-8")).isdisjoint(adapters - {part})


@pytest.mark.parametrize(
    "source",
    [
        "from cde_retrievers.encoder import ContextualEncoder",
        "import cde_retrievers.encoder",
        "def f():\n    from cde_retrievers.langchain import ContextualEmbeddings",
    ],
)
def test_an_upward_import_is_found(source):
    assert upward("model", source) != []
