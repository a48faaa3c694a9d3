"""Exact identifiers: function names, error codes and versions, in each mode of the same index.

    python benchmarks/identifiers.py --output benchmarks/results/identifiers.json
    python benchmarks/identifiers.py --table benchmarks/results/identifiers.json

The corpus is the standard library's: one document for each public function of a list of modules (its signature and its
docstring), for each error code of the operating system and each HTTP status, and for each module that states a version.
A query names one of them in a question, and its document is the only right one. All is one index under one context.
"""

import argparse
import errno
import importlib
import inspect
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np

from cde_retrievers import ContextualEncoder
from cde_retrievers.index import ContextualIndex, Document

MODULES = (
    *("os", "os.path", "shutil", "subprocess", "socket", "ssl", "json", "csv", "re", "string", "textwrap", "math"),
    *("statistics", "random", "itertools", "functools", "operator", "collections", "heapq", "bisect", "copy", "pprint"),
    *(
        "datetime",
        "time",
        "calendar",
        "zlib",
        "gzip",
        "bz2",
        "lzma",
        "zipfile",
        "tarfile",
        "hashlib",
        "hmac",
        "secrets",
    ),
    *("logging", "getpass", "platform", "threading", "asyncio", "inspect", "ast", "dis", "tokenize", "traceback"),
    *("urllib.parse", "urllib.request", "http.client", "email.utils", "base64", "binascii", "uuid", "ipaddress"),
    *("tempfile", "glob", "fnmatch", "locale", "gettext", "unicodedata", "struct", "codecs", "contextlib", "warnings"),
)
VERSIONED = ("json", "re", "csv", "logging", "decimal", "ctypes", "optparse", "platform", "http.server", "socketserver")
DEPTH = 10
MODES = ("dense", "lexical", "hybrid")


def corpus() -> Iterator[tuple[str, str, str]]:
    """Yield the kind, the question and the text of every document."""
    for module in MODULES:
        for name, function in inspect.getmembers(importlib.import_module(module), inspect.isroutine):
            doc = inspect.getdoc(function)
            if not name.startswith("_") and doc and getattr(function, "__module__", None) in (module, f"_{module}"):
                yield "function", f"what does {module}.{name} do?", f"{module}.{name}{_signature(function)}\n{doc}"
    for code, name in sorted(errno.errorcode.items()):
        yield "error code", f"why do I get {name}?", f"{name} (errno {code}): {os.strerror(code)}."
    for status in HTTPStatus:
        yield (
            "error code",
            f"the server answers {status.value}",
            f"{status.value} {status.phrase}. {status.description}",
        )
    for module in VERSIONED:
        found = importlib.import_module(module)
        version, doc = found.__version__, inspect.getdoc(found) or ""
        yield "version", f"which module is at {version}?", f"{module} {version}. {doc.split(chr(10))[0]}"


def _signature(function: Any) -> str:
    try:
        return str(inspect.signature(function))
    except ValueError:  # some functions written in C state none
        return "(...)"


def run() -> dict[str, Any]:
    """Index everything, and search for every question in every mode."""
    kinds, questions, texts = zip(*corpus(), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        documents = [Document(text, id=str(row)) for row, text in enumerate(texts)]
        encoder = ContextualEncoder.from_pretrained("minilm", dtype="float32")
        index = ContextualIndex.build(documents, encoder, f"{folder}/index", show_progress=False)
        ranks = {mode: _ranks(index.search(list(questions), DEPTH, mode=mode)) for mode in MODES}
    rows = []
    for kind in dict.fromkeys(kinds):
        chosen = np.array([found == kind for found in kinds])
        shares = {
            mode: {f"recall@{k}": round(float((rank[chosen] < k).mean()), 4) for k in (1, DEPTH)}
            for mode, rank in ranks.items()
        }
        rows.append({"kind": kind, "documents": int(chosen.sum()), **shares})
    return {"python": platform.python_version(), "documents": len(texts), "rows": rows}


def _ranks(found: list[list[Any]]) -> np.ndarray:
    """Return the place of the right document of each query, from 0; `DEPTH` if it was not found."""
    places = ([hit.id for hit in hits] for hits in found)
    return np.array([ids.index(str(row)) if str(row) in ids else DEPTH for row, ids in enumerate(places)])


def table(result: dict[str, Any]) -> str:
    """Recall in points by kind of identifier."""
    lines = [f"| | queries | {' | '.join(f'{mode}, first hit' for mode in MODES)} | "
             f"{' | '.join(f'{mode}, first ten' for mode in MODES)} |", "|---" * 8 + "|"]  # fmt: skip
    for row in result["rows"]:
        cells = [f"{100 * row[mode][f'recall@{k}']:.1f}" for k in (1, DEPTH) for mode in MODES]
        lines.append(f"| {row['kind']} | {row['documents']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run and write the result, or print the table of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    result = {"command": f"python benchmarks/identifiers.py --output {options.output}", **run()}
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
