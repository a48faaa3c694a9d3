"""The titles of an outline on the pages of a PDF."""

import pytest

from cde_retrievers.corpora.literal import restored
from cde_retrievers.corpora.readers.pdf_headings import with_headings


def shown(text, *titles):
    page = with_headings("\n".join(text), [(1, title) if isinstance(title, str) else title for title in titles])
    return [line for line in restored(page).split("\n") if line]


@pytest.mark.parametrize(
    ("line", "title", "heading"),
    [
        ("Green tea", "Green tea", "# Green tea"),
        ("1.2 Green tea", "Green tea", "# 1.2 Green tea"),
        ("A.1.  Green  tea", "Green tea", "# A.1. Green tea"),
        ("Chapter 3. Green tea", "Green tea", "# Chapter 3. Green tea"),
        ("1 Green tea", "1 Green tea", "# 1 Green tea"),
        ("Chapter 1 Green tea", "1 Green tea", "# 1 Green tea"),
        ("A tea", "A tea", "# A tea"),
        ("GREEN TEA", "Green Tea", "# Green Tea"),
        ("Greentea", "Green tea", "# Green tea"),
        ("The tea\u2019s \u201cleaf\u201d", 'The tea\'s "leaf"', '# The tea\'s "leaf"'),
    ],
)
def test_a_line_is_a_title_whatever_its_number_case_and_spaces(line, title, heading):
    assert shown(["Above.", line, "Below."], title) == ["Above.", heading, "Below."]


@pytest.mark.parametrize(
    "line", ["Green teas", "in Green tea", "1.2 in Green tea", "Green tea is hot.", "12345 Green tea"]
)
def test_other_lines_are_none(line):
    assert shown(["Above.", line], "Green tea") == ["# Green tea", "Above.", line]


def test_a_title_may_go_over_three_lines():
    page = ["Above.", "5.9 Moving, remov-", "ing and renaming", "packages", "Below."]
    title = "Moving, removing and renaming packages"
    assert shown(page, title) == ["Above.", f"# 5.9 {title}", "Below."]


def test_lines_that_count_the_chapter_are_left_out():
    assert shown(["CHAPTER", "ONE", "TEA", "Hot."], "Tea") == ["# Tea", "Hot."]
    assert shown(["Above.", "Chapter 12", "Tea", "Hot."], "Tea") == ["Above.", "# Tea", "Hot."]
    assert shown(["Of this chapter", "one", "Tea"], "Tea") == ["Of this chapter", "one", "# Tea"]


def test_titles_stand_in_their_order():
    page = ["Notes", "Tea", "Notes", "Coffee", "Notes"]
    titles = ["Tea", (2, "Notes"), "Coffee", (2, "Notes")]
    assert shown(page, *titles) == ["Notes", "# Tea", "## Notes", "# Coffee", "## Notes"]
    assert shown(["Coffee", "Tea"], "Tea", "Coffee") == ["# Coffee", "# Tea"]


def test_a_title_that_is_not_there_stands_beside_its_neighbours():
    page = ["Above.", "Tea", "Hot.", "Coffee", "Strong."]
    expected = ["# Lost", "Above.", "# Tea", "Hot.", "# Gone", "# Coffee", "Strong.", "# Last"]
    assert shown(page, "Lost", "Tea", "Gone", "Coffee", "Last") == expected


def test_text_stays_text_and_hostile_outlines_end():
    assert shown(["# 5", "Tea", "*a*"], "Tea") == ["# 5", "# Tea", "*a*"]
    many = shown(["Tea"] * 20_000, *["Tea"] * 20_000)
    assert len(many) == 40_000 - 16
