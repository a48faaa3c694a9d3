"""What `import cde_retrievers` costs and offers. Each check runs in a fresh interpreter."""

import subprocess
import sys

import pytest

import cde_retrievers

FRAMEWORKS = ["langchain_core", "llama_index", "sentence_transformers"]
STORES = ["chromadb", "qdrant_client", "sqlalchemy", "langchain_chroma", "langchain_qdrant", "langchain_postgres"]


def in_fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_loads_neither_torch_nor_a_framework():
    heavy = ["torch", "transformers", "numpy", "faiss", "pydantic", *FRAMEWORKS]
    code = f"import sys, cde_retrievers; sys.stdout.write(str([m for m in {heavy} if m in sys.modules]))"
    assert in_fresh_interpreter(code) == "[]"


def test_the_encoder_loads_no_framework_and_langchain_no_store_or_cache():
    optional = [*STORES, "langchain_classic", "sentence_transformers"]
    code = (
        "import sys; from cde_retrievers import ContextualEncoder;"
        f"found = [m for m in {FRAMEWORKS} if m in sys.modules];"
        "import cde_retrievers.langchain;"
        f"sys.stdout.write(str([found, [m for m in {optional} if m in sys.modules]]))"
    )
    assert in_fresh_interpreter(code) == "[[], []]"


@pytest.mark.parametrize("name", cde_retrievers.__all__)
def test_public_names_exist(name):
    assert getattr(cde_retrievers, name).__name__ == name
    assert name in dir(cde_retrievers)


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = cde_retrievers.Nothing


@pytest.mark.parametrize(
    ("package", "framework", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index.core", "llama-index"),
        ("st", "sentence_transformers", "st"),
        ("mteb", "mteb", "mteb"),
        ("cli.app", "typer", "cli"),
    ],
)
def test_a_missing_framework_names_its_extra(package, framework, extra):
    code = (
        f"import sys; sys.modules[{framework!r}] = None\n"
        f"try:\n    import cde_retrievers.{package}\n"
        f"except ImportError as error:\n    sys.stdout.write(str(error))"
    )
    assert f"pip install 'cde-retrievers[{extra}]'" in in_fresh_interpreter(code)
