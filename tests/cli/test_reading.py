"""How a source is read, from the message to the command that works."""

import json
import re
import shlex

import pytest

from cde_retrievers.index import ContextualIndex


@pytest.fixture
def build(run, model_folder, tmp_path):
    """Index a source, and return the result and the texts of the index."""

    def invoke(source, *options):
        out = tmp_path / f"index{len(list(tmp_path.glob('index*')))}"
        result = run("index", source, "--out", out, "--model", model_folder, *options)
        texts = [d.text for d in ContextualIndex.open(out, read_only=True).documents()] if not result.exit_code else []
        return result, texts

    return invoke


def test_rows_that_a_spreadsheet_leaves_empty_are_passed_over(build, tmp_path):
    (tmp_path / "a.csv").write_text("id,text,,\na,the red cat,,\n,,,\nb,a green dog,,\n")
    result, texts = build(tmp_path / "a.csv")
    assert (result.exit_code, texts) == (0, ["the red cat", "a green dog"])


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_another_delimiter_is_named_as_it_is_to_be_typed(build, tmp_path, delimiter):
    (tmp_path / "a.csv").write_text(f"id{delimiter}text\na{delimiter}the red cat\nb{delimiter}a green dog\n")
    result, _ = build(tmp_path / "a.csv")
    assert result.exit_code == 1
    remedy = re.search(r"\((--delimiter .*?)\)", result.stderr)[1]
    typed = [argument.replace("$\\t", "\t") for argument in shlex.split(remedy)]
    result, texts = build(tmp_path / "a.csv", *typed)
    assert (result.exit_code, texts) == (0, ["the red cat", "a green dog"])


def test_an_id_that_is_missing_is_not_called_a_number(build, tmp_path):
    (tmp_path / "a.csv").write_text("id,key,text\n,a,the red cat\n,b,a green dog\n")
    result, _ = build(tmp_path / "a.csv")
    assert result.exit_code == 1
    assert "--ids-as-text" not in result.stderr
    assert "another column with --id" in result.stderr
    result, texts = build(tmp_path / "a.csv", "--id", "key")
    assert (result.exit_code, texts) == (0, ["the red cat", "a green dog"])


def test_files_that_cannot_be_read_are_counted_at_the_end(build, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, content in {"a.md": b"the red cat", "b.md": b"a green dog", "c.md": b"\xff", "d.ipynb": b"{"}.items():
        (folder / name).write_bytes(content)
    result, _ = build(folder)
    assert result.exit_code == 1
    assert "c.md is not utf-8 text" in result.stderr
    assert "--skip-errors" in result.stderr
    result, texts = build(folder, "--skip-errors")
    assert (result.exit_code, texts) == (0, ["the red cat", "a green dog"])
    assert "c.md is not utf-8 text" in result.stderr
    assert "d.ipynb cannot be read as a notebook" in result.stderr
    assert "2 of 4 files cannot be read and are left out" in result.stderr


def test_parts_are_as_long_as_is_said(answer, model_folder, tmp_path):
    source = tmp_path / "docs"
    source.mkdir()
    (source / "a.md").write_text("# Cats\n\n" + "the cat sleeps in the tree. " * 30)
    model = ["--model", model_folder]
    whole = answer("index", source, "--out", tmp_path / "whole", *model, "--split", "headings")
    options = ["--split", "headings", "--chunk-tokens", 20, "--overlap", 7]
    short = answer("index", source, "--out", tmp_path / "short", *model, *options)
    assert whole["cut"] == short["cut"] == 0
    assert short["documents"] > whole["documents"] > 4
    found = answer("search", tmp_path / "short", "cat", "-k", 1)
    assert found["hits"][0]["metadata"]["heading_path"] == "Cats"
    assert json.dumps(found).count("a.md#Cats#") == 1
    added = answer("add", tmp_path / "short", source, "--upsert", *options)
    assert (added["added"], added["replaced"], added["unchanged"]) == (0, 0, short["documents"])
