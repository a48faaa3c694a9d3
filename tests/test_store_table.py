"""How the table of stores is read, written, and held to what tests show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_table import PAGE, differences, parsed, parts, renewed, written

CHROMA, QDRANT = ("Chroma", "LangChain"), ("Qdrant", "LlamaIndex")
KEPT = frozenset({(*CHROMA, "filter", "`filter=`"), (*CHROMA, "refit", "two renames"), (*CHROMA, "refit", "the alias")})
OTHER = frozenset({(*QDRANT, "refit", "the alias")})


def test_what_is_written_is_read_again():
    table = written(KEPT | OTHER)
    assert "| Chroma | LangChain |  |  | `filter=` |  |  | the alias, two renames |  |  |" in table.splitlines()
    assert parsed(table) == KEPT | OTHER


def test_the_table_of_the_page_is_as_it_is_written():
    table = parts(PAGE.read_text(encoding="utf-8"))[1]
    assert written(parsed(table)) == table


def test_any_run_finds_what_the_table_lacks_and_a_whole_run_also_what_it_has_too_much():
    shown = KEPT - {(*CHROMA, "refit", "the alias")}
    assert differences(KEPT | OTHER, KEPT, True) == []
    assert differences(KEPT | OTHER, shown, False) == []
    too_much = ["no test shows, but the table says: Chroma | LangChain | refit | the alias"]
    assert differences(KEPT | OTHER, shown, True) == too_much
    lacking = ["a test shows, and the table lacks: Chroma | LangChain | refit | the alias"]
    assert differences(shown, KEPT, False) == lacking


def test_a_run_renews_the_rows_of_the_stores_that_it_met():
    shown = frozenset({(*CHROMA, "filter", "none")})
    assert renewed(KEPT | OTHER, shown) == shown | OTHER


TESTS = """
class Chroma:
    framework = "LangChain"

def test_filter(shows):
    shows(Chroma, "filter", "`filter=`")

def test_refit(shows):
    shows(Chroma(), "refit", "two renames")
    assert {passes}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("passes", "said", "code", "found"),
    [
        (True, KEPT, 1, "no test shows, but the table says: Chroma | LangChain | refit | the alias"),
        (True, KEPT - {(*CHROMA, "refit", "the alias")}, 0, "2 passed"),
        (False, KEPT, 1, "no test shows, but the table says: Chroma | LangChain | refit | two renames"),
        (True, OTHER, 1, "a test shows, and the table lacks: Chroma | LangChain | filter | `filter=`"),
    ],
)
def test_reports_of_two_workers_come_together(tmp_path, passes, said, code, found):
    before, _, after = parts(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "page.md").write_text(before + written(said) + after, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        f"import pathlib, store_table\nstore_table.PAGE = pathlib.Path({str(tmp_path)!r}) / 'page.md'\n"
    )
    (tmp_path / "test_stores.py").write_text(TESTS.format(passes=passes))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "-p",
        "xdist",
        "-p",
        "store_table",
        "--whole-stores",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    # Plugins of installed packages take most of a short run's time.
    settings = {"PYTHONPATH": str(Path(__file__).parent / "helpers"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = {**os.environ, **settings}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert found in done.stdout
