"""`search`: one query or many, what matched, and the part of a text that is shown."""

import json
import sys

import pytest

pytest.importorskip("typer")
from rich.console import Console
from typer.testing import CliRunner

from cde_retrievers import ContextualEncoder
from cde_retrievers.cli.app import app
from cde_retrievers.cli.hits import excerpt, heading_of, lines_of
from cde_retrievers.cli.matches import QueryWords
from cde_retrievers.index import Hit
from cde_retrievers.sparse import Analyzer, TermStatistics

GUIDE = "# Grinder\n\nBurr grinders cut.\n\n    set(size=3)\n\nBlades chop and hack."
STATISTICS = TermStatistics.of([GUIDE, "Tea is steeped."], Analyzer("english"))


def piped(text, *arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["search", *map(str, arguments)], input=text)


def shown(hit, query, *, full=False):
    console = Console(width=120, record=True, color_system=None)
    with console.capture() as capture:
        for line in lines_of([hit], QueryWords.of(query, STATISTICS) if query else None, full=full):
            console.print(line)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_queries_on_standard_input_are_answered_one_by_one(indexed, dash):
    result = piped("\ufeffcat\n\n  dog \r\n", indexed, *dash, "--mode", "lexical", "-k", "1", "--json")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [answer["query"] for answer in answers] == ["cat", "dog"]
    assert [answer["hits"][0]["matched"] for answer in answers] == [["cat"], ["dog"]]
    read = piped("cat\ndog\n", indexed, *dash, "--mode", "lexical", "-k", "1").stdout.splitlines()
    assert [line for line in read if line.startswith(">")] == ["> cat", "> dog"]


def test_the_model_is_loaded_once_for_many_queries_and_never_for_words(indexed, monkeypatch):
    loaded = []
    original = ContextualEncoder.from_pretrained.__func__
    monkeypatch.setattr(
        ContextualEncoder,
        "from_pretrained",
        classmethod(lambda *given, **how: loaded.append(given) or original(*given, **how)),
    )
    assert piped("cat\ndog\n", indexed, "--mode", "lexical").exit_code == 0
    assert loaded == []
    assert piped("cat\ndog\n", indexed).exit_code == 0
    assert len(loaded) == 1


@pytest.mark.parametrize("query", ["", " \t"])
def test_an_empty_query_is_refused(indexed, query):
    result = piped("", indexed, query)
    assert result.exit_code == 2
    assert "the query is empty" in result.stderr


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_no_query_at_all_is_refused(indexed, text):
    result = piped(text, indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "queries on standard input" in result.stderr


def test_bytes_that_are_no_text_are_refused_after_the_answers_before_them(indexed):
    result = piped(b"cat\n\xff\n", indexed, "--mode", "lexical", "--json")
    assert result.exit_code == 1
    assert "error: " in result.stderr
    assert "unexpected" not in result.stderr


def test_a_hit_shows_its_headings_its_lines_and_what_matched():
    hit = Hit("guide.md#2", GUIDE, {"file": "guide.md", "heading_path": ["Guide", "Grinder"]}, 1.5, 0.5, 3.25)
    assert shown(hit, "the grinder, or set.size?") == [
        " 1. 1.500  guide.md#2  cosine 0.500, BM25 3.25 (grinder, set.size)",
        "    Guide > Grinder",
        "    Burr grinders cut.",
        "        set(size=3)",
        "    Blades chop and hack.",
        "",
    ]
    assert "    # Grinder" in shown(hit, None, full=True)


def test_a_whole_text_that_begins_with_its_headings_shows_them_once():
    hit = Hit("guide.md#2", f"Guide > Grinder\n\n{GUIDE}", {"heading_path": "Guide > Grinder"}, 1.5, 0.5)
    found = shown(hit, None, full=True)
    assert [line for line in found if "Guide > Grinder" in line and "heading_path" not in line] == [found[1]]
    assert found[1:4] == ["    Guide > Grinder", "", "    # Grinder"]
    assert found[-2].endswith('{"heading_path": "Guide > Grinder"}')


@pytest.mark.parametrize("query", ["->>", "--", "unheardof", "?!"])
def test_a_query_without_a_known_word_is_told(indexed, query):
    told = "no document shares a word with the query"
    lexical = CliRunner().invoke(app, ["search", str(indexed), "--mode", "lexical", "--json", "--", query])
    assert json.loads(lexical.stdout)["hits"] == []
    assert lexical.stderr.count(told) == 1
    hybrid = CliRunner().invoke(app, ["search", str(indexed), "--", query])
    assert hybrid.stdout
    assert " ".join(hybrid.stderr.split()).count(f"{told}; what is found is found by the vectors alone") == 1
    dense = CliRunner().invoke(app, ["search", str(indexed), "--mode", "dense", "--", query])
    assert told not in dense.stderr


def test_a_known_word_that_no_hit_has_is_not_called_unknown(indexed):
    result = CliRunner().invoke(app, ["search", str(indexed), "-k", "1", "cat"])
    assert "shares a word" not in result.stderr
    filtered = CliRunner().invoke(app, ["search", str(indexed), "--filter", '{"topic": "dog"}', "cat"])
    assert "no document that passes the filter shares a word" in " ".join(filtered.stderr.split())


@pytest.mark.parametrize("query", ["-readonly", "->>", "--force"])
def test_a_query_that_looks_like_an_option_is_told_how_to_be_one(indexed, query):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["search", str(indexed), query])
    assert result.exit_code == 2
    assert "No such option" in result.stderr
    assert "put it last, after --, as in: search INDEX -- '-x is set'" in result.stderr
    other = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["info", str(indexed), query])
    assert "INDEX -- " not in other.stderr


@pytest.mark.parametrize(
    ("metadata", "heading"),
    [
        ({}, ""),
        ({"heading": "Use"}, "Use"),
        ({"heading": "Use", "heading_path": "A > Use"}, "A > Use"),
        ({"heading_path": ["A", "Use"]}, "A > Use"),
        ({"heading": None}, ""),
    ],
)
def test_headings_come_from_the_metadata(metadata, heading):
    assert heading_of(metadata) == heading


def test_a_source_that_the_id_names_is_not_repeated():
    assert "a.md#3" in shown(Hit("a.md#3", "x", {"file": "a.md"}, 0.5, 0.5), None)[0]
    assert shown(Hit("a.md#3", "x", {"file": "a.md"}, 0.5, 0.5), None)[0].count("a.md") == 1
    assert "a.csv:4" in shown(Hit("d3", "x", {"file": "a.csv", "row": 4}, 0.5, 0.5), None)[0]


@pytest.mark.parametrize("word", ["\n", " "])
def test_an_excerpt_begins_near_the_first_match(word):
    text = word.join(["filler"] * 200 + ["grinders"] + ["more"] * 200)
    words = QueryWords.of("grinder", STATISTICS)
    found = excerpt(text, words)
    assert found.startswith("... filler")
    assert found.endswith(" ...")
    assert "grinders" in found
    assert excerpt(text).startswith("filler")
    assert excerpt("grinders  grind\n\n\n  beans", words) == "grinders  grind\n  beans"


@pytest.mark.parametrize("lines", [" ", "\n", "\n    "])
def test_an_excerpt_shows_where_most_of_the_words_stand(lines):
    filler = f"steeped tea.{lines}" * 20
    text = f"# Tea{lines}{filler}Blades hack.{lines}{filler}Burr grinders set the size.{lines}{filler}Burr."
    found = excerpt(text, QueryWords.of("which size do burr grinders set when tea is steeped", STATISTICS))
    assert "Burr grinders set the size." in found
    assert len(found) <= 320 + 8
    assert len(found.splitlines()) <= 8
    assert excerpt(text, QueryWords.of("steeped tea", STATISTICS)).startswith("# Tea")


def test_output_that_a_program_reads_is_not_broken_into_lines(run, answer, tmp_path, model_folder):
    name = "a-very-long-name-of-a-document-" * 9
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"id": f"{name}{i}", "text": f"cat {i} " * 80}) + "\n" for i in range(3))
    )
    answer("index", tmp_path / "rows.jsonl", "--out", tmp_path / "index", "--model", model_folder)
    for options in ([], ["--full"]):
        printed = run("search", tmp_path / "index", "cat", *options).stdout.splitlines()
        assert sum(name in line for line in printed) == 3
        assert printed == [line.rstrip() for line in printed]
    printed = run("info", tmp_path / "index").stdout.splitlines()
    assert any(line.startswith("sources ") and line.endswith("rows.jsonl") for line in printed)
    assert printed == [line.rstrip() for line in printed]


def test_places_are_those_of_words_in_any_form():
    words = QueryWords.of("Ever grinders?", STATISTICS)
    text = "A grinder and Grinding, what-ever."
    assert [text[start:stop] for start, stop in words.places_in(text)] == ["grinder", "what-ever."]
    assert words.shared_with("Grinder") == ["grinders"]
    assert QueryWords.of("the of ?!", STATISTICS).shared_with(text) == []


def test_the_language_of_words_is_chosen_and_kept(answer, source, model_folder, tmp_path):
    index = tmp_path / "german"
    answer("index", source, "--out", index, "--model", model_folder, "--language", "german")
    assert answer("info", index)["language"] == "german"
    answer("refit", index, "--seed", 3)
    assert answer("info", index)["language"] == "german"
    answer("refit", index, "--language", "none")
    assert answer("info", index)["language"] == "none"


def test_errors_speak_of_the_command_line_alone(run, source, indexed, tmp_path):
    for arguments, expected, python in [
        (["info", tmp_path], "`cde-retrievers index` makes an index", "ContextualIndex.build"),
        (["index", source, "--out", tmp_path / "new", "--ending", ".txt"], "--ending selects files", "endings="),
        (["add", indexed, source], "--upsert", "upsert()"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 1
        assert expected in result.stderr
        assert python not in result.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("command", ["index", "fit"])
def test_a_place_where_nothing_can_be_made_is_named(run, source, model_folder, command):
    result = run(command, source, "--out", "/proc/new", "--model", model_folder)
    assert result.exit_code == 1
    assert "cannot write to /proc/new: no directory can be made there; use another place" in result.stderr


def test_words_that_stand_in_most_documents_are_not_shown_as_matched_beside_rare_ones():
    rare = [f"A valve number{row} from the plant" for row in range(30)]
    statistics = TermStatistics.of([*rare, "Oil the hinge."], Analyzer("english"))
    words = QueryWords.of("oil from the hinge", statistics)
    text = "Oil from the hinge of a valve from-the-plant"
    assert words.shared_with(text) == ["oil", "hinge"]
    assert [text[start:stop] for start, stop in words.places_in(text)] == ["Oil", "hinge"]
    assert words.shared_with("from a plant") == []
    assert QueryWords.of("a plant valve", statistics).shared_with(text) == ["plant", "valve"], "there is nothing rarer"
    assert QueryWords.of("oil at a plant", statistics).shared_with(text) == ["oil"]
    assert QueryWords.of("", statistics).shared_with(text) == []


def test_words_that_only_join_others_are_not_shown_as_matched():
    statistics = TermStatistics.of(["How do I oil it?", "A CAN bus", "It can do", "Steam"], Analyzer("english"))
    text = "How can I oil the CAN bus from above? Do it."
    assert QueryWords.of("How do I oil a hinge from above?", statistics).shared_with(text) == ["oil", "above"]
    assert QueryWords.of("Which CAN bus?", statistics).shared_with(text) == ["CAN", "bus"]
    assert QueryWords.of("How can I?", statistics).shared_with(text) == ["How", "can", "I"], "there is nothing else"
    german = TermStatistics.of(["can", "bus", "oil"], Analyzer("german"))
    assert QueryWords.of("can steam", german).shared_with("can") == ["can"]
