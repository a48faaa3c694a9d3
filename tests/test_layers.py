"""Imports only go down: the picture in CONTRIBUTING.md, enforced."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

import cde_retrievers

PACKAGE = Path(cde_retrievers.__file__).parent
# Low to high. A module may import from its own layer and from those below.
LAYERS = [
    {"errors"},
    {"util", "validation", "storage"},
    {"sparse"},
    {"context"},
    {"model"},
    {"encoder"},
    {"retrieval", "external", "binding", "drift"},
    {"index", "stores"},
    {"corpora"},
    {"evaluation"},
    {"training"},
    {"report"},
    {"langchain", "llama_index", "mteb", "st"},
    {"bulk", "serving"},
    {"cli"},
]
# The same within training, the largest part.
TRAINING_ROOMS = [
    {"array_cache", "distributed"},
    {"data"},
    {"batches"},
    {"losses"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
TRAINING_RANK = {name: rank for rank, room in enumerate(TRAINING_ROOMS) for name in room}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported_modules(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("cde_retrievers.")}


def imported_parts(source: str) -> set[str]:
    """`cde_retrievers.model.joint_conditioning` belongs to `model`."""
    return {name.split(".")[1] for name in imported_modules(source)}


def upward(part: str, source: str) -> list[str]:
    """What `source`, a module in `part`, imports from above it or from a framework that is not its own."""
    return sorted(other for other in imported_parts(source) if RANK[other] > RANK[part])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in RANK, f"give {part} a place in LAYERS and in CONTRIBUTING.md"
    assert upward(part, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "training").rglob("*.py")), ids=lambda path: path.stem)
def test_imports_within_training_go_down(path):
    part = path.relative_to(PACKAGE / "training").parts[0].removesuffix(".py")
    within = [name for name in imported_modules(path.read_text(encoding="utf-8")) if ".training." in name]
    above = len(TRAINING_ROOMS)  # every other module puts the rooms together
    ranks = {name: TRAINING_RANK.get(name.split(".")[2], above) for name in within}
    assert [name for name, rank in ranks.items() if rank > TRAINING_RANK.get(part, above)] == []


def test_adapters_do_not_import_each_other():
    adapters = next(layer for layer in LAYERS if "langchain" in layer)
    for path in MODULES:
        part = path.relative_to(PACKAGE).parts[0]
        if part in adapters:
            assert imported_parts(path.read_text(encoding="utf-8")).isdisjoint(adapters - {part})


@pytest.mark.parametrize(
    "source",
    [
        "from cde_retrievers.encoder.encoder import ContextualEncoder",
        "import cde_retrievers.encoder.encoder",
        "def f():\n    from cde_retrievers.langchain import ContextualEmbeddings",
    ],
)
def test_an_upward_import_is_found(source):
    assert upward("model", source) != []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_no_module_hides_a_public_name_of_its_package(path):
    package = ".".join(("cde_retrievers", *path.parent.relative_to(PACKAGE).parts))
    modules = {module.stem for module in path.parent.glob("*.py")}
    assert modules.isdisjoint(getattr(importlib.import_module(package), "__all__", []))


def test_no_module_imports_what_mypy_does_not_read():
    """Its types would be Any, and nothing that it returns would be checked."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    rules = [rule for rule in project["tool"]["mypy"]["overrides"] if rule.get("follow_imports") == "skip"]
    unread = {name.removesuffix(".*") for rule in rules for name in rule["module"]} - {"faiss"}  # its stubs lack much
    assert {"onnx", "transformers.models"} <= unread
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert [name for name in sorted(imported) for other in unread if f"{name}.".startswith(f"{other}.")] == []
