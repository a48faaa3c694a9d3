"""Texts, names and fields from anywhere: nothing in them steers a terminal, and JSON has them exactly."""

import json
import os

import pytest

pytest.importorskip("typer")
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tiny import CORPUS

from cde_retrievers.cli.printing import Printable, printable, printable_json

# Clears the screen, sets the title, the same in one character, reverses the direction, and is no text.
EVIL = "a\x1b[2Jb\x1b]0;titlec\x9b2Jd\u202egnp.exe\u2066e\x7f[bold]f[/] :smile:"
SEEN = r"a\x1b[2Jb\x1b]0;titlec\x9b2Jd\u202egnp.exe\u2066e\x7f[bold]f[/] :smile:"


def assert_harmless(*shown: str) -> None:
    for text in shown:
        assert all(character.isprintable() or character == "\n" for character in text), text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (EVIL, SEEN),
        ("caf\udce9", r"caf\udce9"),
        ("one\ttwo\nthree", "one\ttwo\nthree"),
        ("one\r\ntwo\u2028three\x0bfour\xa0five", "one \ntwo three four five"),
        ("\U0001f469\u200d\U0001f680 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 漢字 é", None),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_does_something_is_seen_and_words_stay_as_they_are(text, shown):
    assert printable(text) == (text if shown is None else shown)
    assert printable(printable(text)) == printable(text)


def test_json_gives_back_exactly_what_went_in():
    data = {EVIL: ["caf\udce9", "\U000e0041", "漢字 é", "\u2028", *map(chr, range(0x300))], "n": [1, 2.5, None, True]}
    line = printable_json(data)
    assert line.isprintable()
    assert "漢字 é" in line
    assert json.loads(line) == data


def test_styles_and_tables_stay(capsys):
    table = Table("name", EVIL)
    table.add_row(EVIL, "x")
    for shown in (Text(EVIL, style="bold red"), table, EVIL):
        Console(width=300, force_terminal=True, highlight=False, markup=False, emoji=False).print(Printable(shown))
    written = capsys.readouterr().out
    assert written.count(SEEN) == 4
    assert "\x1b[1;31m" in written
    assert "\x1b[2J" not in written


@pytest.fixture
def evil(run, tmp_path, model_folder):
    """An index of documents whose ids, texts, fields and values are hostile."""
    texts = (f"{text} {EVIL}" for text in CORPUS[:6])
    rows = [{"id": f"{EVIL}{i}", "text": text, f"field{EVIL}": EVIL} for i, text in enumerate(texts)]
    (tmp_path / "evil.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("index", tmp_path / "evil.jsonl", "--out", tmp_path / f"index{EVIL[:5]}", "--model", model_folder)
    assert_harmless(result.stdout, result.stderr)
    assert result.exit_code == 0, result.stderr
    return tmp_path / f"index{EVIL[:5]}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["check"],
        ["search", "number"],
        ["search", "number", "--full"],
        ["search", "x", "--filter", '{"n": 1}'],
    ],
    ids=" ".join,
)
def test_an_index_cannot_steer_the_terminal(run, evil, arguments):
    command, *more = arguments
    result = run(command, evil, *more)
    assert_harmless(result.stdout, result.stderr)
    assert r"\x1b[2" in result.stdout + result.stderr
    answered = run(command, evil, *more, "--json")
    assert_harmless(answered.stdout, answered.stderr)
    if answered.exit_code == 0:
        assert "\x1b[2" in json.dumps(json.loads(answered.stdout), ensure_ascii=False).replace(r"\u001b", "\x1b")
    if command == "search" and answered.exit_code == 0:
        assert json.loads(answered.stdout)["hits"][0]["metadata"][f"field{EVIL}"] == EVIL


@pytest.mark.parametrize(
    "content", [None, "", "{broken", '{"id": "a"}', '{"id": 5, "text": "x"}', '{"id": "\\u001b[2J", "text": null}']
)
def test_names_of_files_cannot_steer_the_terminal(run, tmp_path, model_folder, content):
    name = os.fsdecode(b"evil\x1b[2J\xff\xe2\x80\xae.jsonl")
    if content is not None:
        with open(tmp_path / name, "w") as file:
            file.write(content)
    result = run("fit", tmp_path / name, "--out", tmp_path / "out", "--model", model_folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert_harmless(result.stderr)
    assert r"evil\x1b[2J\udcff\u202e.jsonl" in result.stderr


def test_warnings_of_the_library_cannot_steer_the_terminal(run, tmp_path, source, model_folder):
    (tmp_path / "docs").mkdir()
    source.rename(tmp_path / "docs" / "a.jsonl")
    os.mkfifo(tmp_path / "docs" / "\x1b[2J.jsonl")
    result = run("fit", tmp_path / "docs", "--out", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 0
    assert_harmless(result.stderr, result.stdout)
    assert r"warning: " in result.stderr
    assert r"a named pipe: 1, such as \x1b[2J.jsonl" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "docs\x1b[2J", "--out", "docs\x1b[2J/out"],
        ["fit", "docs", "--\x1b[2J"],
        ["\x1b[2J"],
        ["index", "docs", "--out", "out", "--kind", "\x1b[2J"],
    ],
)
def test_what_is_said_of_wrong_usage_cannot_steer_the_terminal(arguments):
    from typer.testing import CliRunner

    from cde_retrievers.cli.app import app

    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 2
    assert_harmless(result.stderr)
    assert r"\x1b[2J" in result.stderr


@pytest.mark.parametrize("depth", [101, 900, 100_000])
def test_a_filter_that_is_nested_too_deep_is_wrong_usage(run, indexed, depth):
    result = run("search", indexed, "cat", "--filter", '{"n":' * depth + "1" + "}" * depth)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nested more than 100 levels deep" in " ".join(result.stderr.replace("│", " ").split())
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("logging_steps=1e400", 1),
        ("logging_steps=nan", 1),
        ("seed=" + "1" * 5_000, 1),
        ("lora_target_modules=" + "[" * 5_000 + "]" * 5_000, 1),
        ("warmup_steps=inf", 1),
    ],
    ids=lambda value: str(value)[:24],
)
def test_settings_that_nothing_can_be_trained_with(run, tmp_path, setting, code):
    (tmp_path / "pairs.jsonl").write_text('{"query": "q", "positive": "p"}\n')
    result = run("train", tmp_path / "pairs.jsonl", "--out", tmp_path / "run", "--setting", setting)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert setting.partition("=")[0] in result.stderr
    assert "unexpected" not in result.stderr
