"""Packages that `import cde_retrievers.langchain` does not import, checked in a fresh interpreter."""

import subprocess
import sys


def test_no_store_or_cache_is_imported():
    optional = ["chromadb", "qdrant_client", "sqlalchemy", "langchain_chroma", "langchain_qdrant", "langchain_postgres"]
    optional += ["langchain_classic", "sentence_transformers"]
    code = f"import sys, cde_retrievers.langchain; sys.stdout.write(str([m for m in {optional} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]"
