"""The program as it is started: quick, with a name, and in order when it is interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import cde_retrievers
from cde_retrievers.index import ContextualIndex

PROGRAM = [sys.executable, "-m", "cde_retrievers.cli"]
INTERRUPTED = Path(__file__).parents[1] / "helpers" / "interrupted.py"


HEAVY = ["torch", "transformers", "tokenizers", "scipy", "faiss", "pyarrow", "pandas", "sklearn", "tqdm"]

# What takes a tenth of a second, and is needed neither to look at an index nor to say that there is none.
UNNEEDED = [
    *HEAVY,
    "filelock",
    *("markdown_it", "pygments", "jinja2", "matplotlib", "huggingface_hub"),
    *(
        "selectolax",
        "pypdf",
        "mammoth",
        "bm25s",
        "asyncio",
        "multiprocessing",
        "ssl",
        "http.client",
        "sqlite3",
        "unittest",
    ),
]


def output_and_imports(arguments, modules):
    """What the command says, and which of the modules it has imported."""
    code = (
        f"import sys; from cde_retrievers.cli import main; sys.argv = ['x', *{list(map(str, arguments))}]\n"
        f"try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write('\\n' + str([m for m in {modules} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *said, imports = done.stderr.splitlines()
    return done.stdout + "\n".join(said), imports


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["index", "--help"], ["search"], ["nonsense"]])
def test_help_needs_neither_numpy_nor_a_model(arguments):
    said, imports = output_and_imports(arguments, [*HEAVY, "numpy"])
    assert "cde-retrievers" in said
    assert imports == "[]"


def test_a_look_at_an_index_imports_nothing_else(indexed, tmp_path):
    for arguments in (["info", indexed], ["check", indexed], ["info", tmp_path], ["check", tmp_path / "gone"]):
        _, imports = output_and_imports(arguments, UNNEEDED)
        assert (arguments, imports) == (arguments, "[]")


def test_what_needs_no_model_answers_before_torch_is_imported(indexed, source, tmp_path):
    (context,) = (indexed / "contexts").iterdir()
    gone = tmp_path / "gone"
    for arguments, expected in [
        (["info", indexed], "documents"),
        (["check", indexed], "intact"),
        (["check", indexed, "--context", context], "same context"),
        (["search", indexed, "cat", "--mode", "lexical"], "BM25"),
        (["info", gone], f"error: {gone} does not exist"),
        (["search", gone, "cat"], f"error: {gone} does not exist"),
        (["add", gone, source], f"error: {gone} does not exist"),
        (["drift", gone, source], f"error: {gone} does not exist"),
        (["refit", gone], f"error: {gone} does not exist"),
        (["index", gone, "--out", tmp_path / "new"], f"error: {gone} does not exist"),
        (["index", source, "--out", indexed], "already holds an index"),
        (["fit", gone, "--out", tmp_path / "new"], f"error: {gone} does not exist"),
    ]:
        said, imports = output_and_imports(arguments, [m for m in HEAVY if m != "scipy" or arguments[0] != "search"])
        assert (arguments, imports) == (arguments, "[]")
        assert expected in said


def test_every_command_has_help_with_an_example():
    from typer.testing import CliRunner

    from cde_retrievers.cli.app import app, bulk_app

    names = {command.callback.__name__ for command in app.registered_commands}
    assert names == {
        "fit",
        "index",
        "search",
        "add",
        "sync",
        "check",
        "drift",
        "refit",
        "info",
        "train",
        "eval",
        "report",
        "serve",
    }
    assert {command.callback.__name__ for command in bulk_app.registered_commands} == {"plan", "run", "collect"}
    for name in [*names, "bulk plan", "bulk run", "bulk collect"]:
        shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*name.split(), "--help"]).stdout
        assert f"Example: cde-retrievers {name} " in shown
        assert "--json" in shown


def test_what_can_be_chosen_is_what_the_library_offers():
    from cde_retrievers.cli.options import common as options
    from cde_retrievers.cli.options import evaluation as evaluation_options
    from cde_retrievers.cli.options import reading as reading_options
    from cde_retrievers.context.selection import STRATEGIES
    from cde_retrievers.corpora import read_options as reading
    from cde_retrievers.index.manifest import Kind
    from cde_retrievers.index.vector_format import Dtype

    assert reading_options.Format == reading.Format
    assert set(get_args(reading_options.Split)) == {*get_args(reading.Split), "none"}
    assert set(get_args(options.Kind)) == set(get_args(Kind))
    assert options.StoredAs == Dtype
    assert set(get_args(options.Strategy)) == set(STRATEGIES) == set(evaluation_options.StrategyName)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_package_names_the_extra(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from cde_retrievers.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"error: the command line needs {missing}: pip install 'cde-retrievers[cli]'"
    ]


def test_the_version_is_the_package_s():
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"cde-retrievers {cde_retrievers.__version__}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
@pytest.mark.parametrize("arguments", ["--help", "info INDEX", "info INDEX --json", "search INDEX cat --mode lexical"])
def test_a_reader_that_has_seen_enough_ends_the_program_quietly(indexed, arguments):
    given = [str(indexed) if word == "INDEX" else word for word in arguments.split()]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*PROGRAM, *given], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
def test_a_closed_stderr_does_not_stop_the_work(source, model_folder, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PROGRAM, "index", str(source), "--out", str(tmp_path / "index"), "--model", str(model_folder), "--json"]
    done = subprocess.run([*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == 0
    assert json.loads(done.stdout)["documents"] == 54


ENCODINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
    {"LC_ALL": "C"},
]


@pytest.mark.parametrize("environment", ENCODINGS, ids=str)
def test_every_character_can_be_shown_in_any_encoding(answer, model_folder, tmp_path, environment):
    folder, index = tmp_path / "漢字", tmp_path / "索引"
    folder.mkdir()
    for name, text in {"茶.txt": "Tea \U0001f375 is hot, é", "b.txt": "Coffee is black."}.items():
        (folder / name).write_text(text, encoding="utf-8")
    answer("index", folder, "--out", index, "--model", model_folder)

    def said(*arguments: object, expected: int = 0) -> tuple[bytes, bytes]:
        command = [*PROGRAM, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)
        assert done.returncode == expected, done.stderr
        return done.stdout, done.stderr

    search = ["search", index, "tea \U0001f375", "--mode", "lexical"]
    shown, _ = said(*search)
    assert b"Tea" in shown
    assert b"hot" in shown
    hits = json.loads(said(*search, "--json")[0].decode(environment.get("PYTHONIOENCODING", "utf-8")))
    assert (hits["query"], hits["hits"][0]["text"]) == ("tea \U0001f375", "Tea \U0001f375 is hot, é")
    assert b"documents" in said("info", index)[0]
    assert b"holds no index" in said("info", folder, expected=1)[1]
    _, complaint = said("search", index, "x", "--mode", "漢字", expected=2)
    assert b"--mode" in complaint


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_is_asked_for_queries(indexed):
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*PROGRAM, "search", str(indexed), "--mode", "lexical", "-k", "1"])

    def read_until(end: bytes) -> bytes:
        read = b""
        while not read.endswith(end):
            try:
                read += os.read(terminal, 1024)
            except OSError:  # it has ended
                break
        return read

    assert b"54 documents; an empty line ends" in read_until(b"query> ")
    for query, expected in ((b"cat", b"BM25"), (b"xylophone", b"no document shares a word with the query")):
        os.write(terminal, query + b"\n")
        assert expected in read_until(b"query> ")
    os.write(terminal, b"\n")
    read_until(b"never")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, model_folder):
    count = 150
    rows = ({"id": f"d{i}", "text": f"the cat {i} sleeps in tree {i % 7}"} for i in range(count))
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = tmp_path / "index"
    command = ["index", str(tmp_path / "corpus.jsonl"), "--out", str(index), "--model", str(model_folder)]
    command += ["--batch-size", "20", "--device", "cpu", "--dtype", "float32", "--json"]
    # A suite that was started in the background ignores Ctrl-C, and its children would do so too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = subprocess.run([sys.executable, INTERRUPTED, "4", *command], capture_output=True, text=True, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "60 documents are done and kept" in done.stderr.splitlines()[-1]
    again = subprocess.run([*PROGRAM, *command], capture_output=True, text=True, check=True)
    assert "continuing where it was interrupted" in again.stderr
    answer = json.loads(again.stdout)
    assert answer["documents"] == count
    assert answer["embedded"] == count - 60
    assert sorted(ContextualIndex.open(index).ids()) == sorted(f"d{i}" for i in range(count))
