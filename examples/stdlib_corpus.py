"""The corpus of the examples: functions and classes of the Python standard library that runs them.

Nothing is shipped or downloaded; the text is read from the library's own source files, with their docstrings.
"""

import argparse
import ast
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

QUESTIONS = [
    "how do I walk a directory tree?",
    "remove the common indentation from a text",
    "run a shell command and get its output",
    "copy a file together with its permissions",
    "which day of the week is a date?",
    "compare two files and show the differences",
    "wait until a thread has finished",
    "decompress a gzip file",
]
# Jokes, tests, programs, what newer Pythons no longer have, and large packages that few questions are about.
_LEFT_OUT = {
    *("antigravity", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "this", "turtledemo"),
    *("distutils", "imaplib", "mailbox", "nntplib", "tkinter", "turtle"),
    *("asyncio", "email", "importlib", "logging", "multiprocessing", "pydoc", "unittest", "wsgiref", "xml", "xmlrpc"),
}
_MIN_WORDS, _MAX_WORDS = 4, 40
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Entry:
    """One function, method or class.

    Attributes:
        name: dotted, such as "os.walk".
        module: top-level module, the sub-corpus it belongs to.
        summary: first sentence or line of its docstring.
        text: signature and docstring, what the quickstarts search.
        code: signature and body without the docstring, what summaries are matched against.
    """

    name: str
    module: str
    summary: str
    text: str
    code: str


def stdlib_entries(modules: set[str] | None = None) -> list[Entry]:
    """Every documented public definition in most of the standard library's Python sources, or in the modules named."""
    root = Path(sysconfig.get_path("stdlib"))
    wanted = sorted(modules if modules is not None else set(sys.stdlib_module_names) - _LEFT_OUT)
    entries: dict[str, Entry] = {}
    for module in wanted:
        if module.startswith("_"):
            continue
        for path in _sources(root, module):
            for entry in _entries_of(path, root, module):
                entries.setdefault(entry.text, entry)
    return list(entries.values())


def _sources(root: Path, module: str) -> list[Path]:
    single = root / f"{module}.py"
    if single.is_file():
        return [single]
    inside = sorted((root / module).rglob("*.py"))
    return [path for path in inside if not {"test", "tests"} & set(path.relative_to(root).parts)]


def _entries_of(path: Path, root: Path, module: str) -> Iterator[Entry]:
    source = path.read_text(encoding="utf-8")
    dotted = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for scope, node in _definitions(ast.parse(source), dotted):
        docstring = ast.get_docstring(node)
        if docstring is None or len(docstring.split()) < _MIN_WORDS:
            continue
        paragraph = docstring.split("\n\n")[0]
        name = f"{scope}.{node.name}"
        yield Entry(
            name=name,
            module=module,
            summary=" ".join(paragraph.split()),
            text=f"{name}{_signature(node)}\n{_shortened(docstring)}",
            code=_code_without_docstring(source, node),
        )


def _definitions(tree: ast.AST, scope: str) -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield scope, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node, f"{scope}.{node.name}")


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return ""
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return f"({', '.join(argument.arg for argument in named if argument.arg not in ('self', 'cls'))})"


def _shortened(docstring: str) -> str:
    return " ".join(docstring.split()[:_MAX_WORDS])


def _code_without_docstring(source: str, node: Definition) -> str:
    first = node.body[0]
    lines = source.splitlines()
    head = lines[node.lineno - 1 : first.lineno - 1]
    body = lines[first.end_lineno : node.end_lineno]
    return textwrap.dedent("\n".join([*head, *body])).strip()


def chosen_entries(description: str | None) -> list[Entry]:
    """The entries a quickstart should search: all, or the modules named on its command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", help="only these modules of the standard library")
    modules = parser.parse_args().modules
    return stdlib_entries(set(modules) if modules else None)
