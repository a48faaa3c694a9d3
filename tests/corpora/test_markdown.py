"""Sections of Markdown are those that CommonMark sees; what says nothing is left out."""

import pytest

from cde_retrievers.corpora.markdown import markdown_sections

MARKDOWN = """Before the heading.

# Title #

Intro.

## Setup

```sh
# no heading
make test
```

### Details

~~~
## none either
``` still inside
~~~
The end."""


def headings(text):
    return [section.heading for section in markdown_sections(text) if section.heading]


def shown(text):
    return "\n".join(section.text for section in markdown_sections(text)).strip()


def test_sections_begin_at_headings_outside_of_code():
    sections = markdown_sections(MARKDOWN)
    assert "".join("".join(section.text for section in sections).split()) == "".join(MARKDOWN.split())
    assert [section.heading for section in sections] == [None, "Title", "Setup", "Details"]
    assert [section.path for section in sections] == [(), ("Title",), ("Title", "Setup"), ("Title", "Setup", "Details")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Learning C#\nWith F# too.\n", ["Learning C#"]),
        ("# C #\n## F#\n### A\\#\n", ["C", "F#", "A#"]),
        ("# A\n```pip install x``` does it.\n\n# B\nAll of B.\n\n# C\n", ["A", "B", "C"]),
        ("````\n# a\n```\n# b\n````\n# C\n", ["C"]),
        ("```\n# a\n``` not the end\n# b\n```\n# C\n", ["C"]),
        ("~~~\n# a\n```\n# b\n~~~\n# C\n", ["C"]),
        ("    # code\n\n# C\n", ["C"]),
        ("- a\n  ```\n  # b\n  ```\n# C\n", ["C"]),
        ("- a\n\n      # code\n\n# C\n", ["C"]),
        ("Intro\n=====\ntext\n\nUsage\n-----\nmore\n", ["Intro", "Usage"]),
        ("---\n# a comment\ntitle: x\n---\n# A\nt\n", ["A"]),
        ("+++\n# a comment\ntitle = 'x'\n+++\n# A\nt\n", ["A"]),
        ("---\n# Not: settings\n\ntext\n\n---\n# A\n", ["Not: settings", "A"]),
        ("---\n\ntext\n\n---\n# A\n", ["A"]),
        ("#hashtag\n# A\n", ["A"]),
        ("# A\r\ntext\r\n## B\r\n", ["A", "B"]),
        ("# A\rtext\r## B\r", ["A", "B"]),
        ("\ufeff# A\n", ["A"]),
        ("<!--\n# no\n-->\n# A\n", ["A"]),
        ("#\tA\tb\n", ["A b"]),
        ("> # quoted\n\n# A\n", ["A"]),
        ("# `url.hash` <a id='x'></a>\n## *The* [guide](http://x)\n", ["url.hash", "The guide"]),
        ("# A &amp; B ![logo](x.png)\n", ["A & B logo"]),
        ("a\n# A\nb\n---\n", ["A", "b"]),
        ("#\n# A\n", ["A"]),
    ],
)  # fmt: skip
def test_headings_are_those_of_commonmark(text, expected):
    assert headings(text) == expected


def test_the_title_of_front_matter_is_above_everything():
    text = '---\ntitle: "The guide"\n---\nIntro.\n\n## Install\nx\n'
    assert [section.path for section in markdown_sections(text)] == [("The guide",), ("The guide", "Install")]
    text = "---\ntitle: The guide\n---\n# The guide\nx\n"
    assert [section.path for section in markdown_sections(text)][-1] == ("The guide",)


def test_levels_that_are_left_out_do_not_nest_wrongly():
    text = "### A\n# B\n#### C\n## D\n#### E\n"
    assert [section.path for section in markdown_sections(text)][1:] == [
        ("A",), ("B",), ("B", "C"), ("B", "D"), ("B", "D", "E")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]: http://x\n[b]: <http://y> 'title'\n", ""),
        ("text\n\n[a]: http://x\n", "text"),
        ("<!-- YAML\nadded: v1\n-->\n\ntext", "text"),
        ("text <!-- not\nshown --> here", "text  here"),
        ("`<!-- a -->` and <!-- b -->``c ` <!-- d --> `` e", "`<!-- a -->` and ``c ` <!-- d --> `` e"),
        ("<!-- never closed", "<!-- never closed"),
        ("a <!-- never closed", "a <!-- never closed"),
        ('<a id="x"></a>\n\ntext', "text"),
        ('<a id="x"></a>text', "text"),
        ("```html\n<!-- kept -->\n```", "```html\n<!-- kept -->\n```"),
        ("- a\n\n  ```html\n  <!-- kept -->\n  ```\n- <!-- gone -->b", "- a\n\n  ```html\n  <!-- kept -->\n  ```\n- b"),
        ("* [A](#a)\n  * [B c](#b-c)\n", ""),
        ("* [A](#a)\n* [B](http://x)\n", "* [A](#a)\n* [B](http://x)"),
        ("a\n\n***\n\nb", "a\n\nb"),
        ("<details><summary>More &amp; more</summary>\n\ntext\n\n</details>", "More & more\n\ntext"),
        ("<script>\nalert(1)\n</script>\n\ntext", "text"),
        ("Array<string> and a < b > c", "Array<string> and a < b > c"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_left_out(text, expected):
    assert shown(text) == expected


LONG = 30_000


@pytest.mark.parametrize(
    "text",
    [
        ">" * LONG, "> " * LONG + "x",
        "- " * LONG + "x", "* a\n  ```\n" * LONG, "[" * LONG, "[a]: x\n" * LONG, "[a" * LONG,
        "|" * LONG + "\n|-|\n",
        "|a" * LONG + "\n" + "|-" * LONG + "|\n" + "|b\n" * LONG, "<!-- " * LONG, "`<!--" * LONG,
        "`" * LONG, "".join("`" * (n % 500) + "x" for n in range(2_000)), "<a " * LONG, "<a\n" * LONG, "<div>\n" * LONG,
        "# h\n" * LONG, "a\n---\n" * LONG, "1. " * LONG, "---\n" + "a: b\n" * LONG, ("# " + "[" * 998 + "\n") * 20,
        "# " + "*a" * 490, "- " + "x\n\n  " * LONG, "<![CDATA[" * LONG, "<?" * LONG, "x\r" * LONG, "\0" * LONG,
    ],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_texts_of_one_kind_of_mark_are_read_in_linear_time(text):
    markdown_sections(text)
