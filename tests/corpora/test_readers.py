"""Documents of every kind become text and headings, without tags; damaged ones are named, and left out on request."""

import json
import logging
import sys
import zipfile
from html import escape

import pytest
from opened_files import counted_opens

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.literal import restored
from cde_retrievers.corpora.readers.html import html_as_markdown
from cde_retrievers.corpora.readers.pdf_margins import without_margins
from cde_retrievers.corpora.readers.restructured_text import rst_as_markdown
from cde_retrievers.errors import CorpusFileError, MissingDependencyError
from cde_retrievers.storage.hashing import sha256_of_file

pytest.importorskip("selectolax")
pytest.importorskip("pypdf")
pytest.importorskip("mammoth")

PAGE = """<!DOCTYPE html><html><head><title>Tea &amp; more</title><style>p{}</style></head><body>
<nav><a href="/">menu</a></nav><script>alert(1)</script>
<main><h1>Tea<a class="headerlink" href="#tea">¶</a></h1><p>Tea is <b>brewed</b> with <code>hot</code> water.</p>
<h2>Green</h2><div>From <i>leaves</i>.</div><ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul>
<pre class="language-py"># no heading
x = 1</pre><table><tr><th>a</th><th>b</th></tr><tr><td>1|2</td><td><p>x</p><p>y</p></td></tr></table>
<p># 5 is no heading</p></main><footer>imprint</footer></body></html>"""


def write_docx(path, body=None):
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading{}"/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'.format
    paragraph = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>".format
    body = body or heading(1, "Tea") + paragraph("Tea is brewed.") + heading(2, "Green") + paragraph("From leaves.")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" '
            'ContentType="application/xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r" '
            'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
        )
        archive.writestr(
            "word/styles.xml",
            '<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
            + "".join(
                f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/></w:style>'
                for n in (1, 2)
            )
            + "</w:styles>",
        )
        archive.writestr(
            "word/document.xml",
            '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
            f"{body}</w:body></w:document>",
        )


def write_epub(path, contents=""):
    chapter = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><h1>{}</h1><p>{}</p></body></html>'
    shown = '<itemref idref="n"/>' if contents else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="OPS/book.opf"/></container>')
        archive.writestr(
            "OPS/book.opf",
            f'<package><metadata/><manifest>{contents}<item id="b" href="two%20b.xhtml"/>'
            f'<item id="a" href="one.xhtml"/></manifest><spine>{shown}<itemref idref="a"/><itemref idref="b"/></spine>'
            "</package>",
        )
        archive.writestr("OPS/nav.xhtml", chapter.format("Contents", "1 Tea 2 Green"))
        archive.writestr("OPS/one.xhtml", chapter.format("Tea", "Tea is brewed."))
        archive.writestr("OPS/two b.xhtml", chapter.format("Green", "From leaves."))


def write_pdf(
    path, lines=("Tea", "Tea is brewed.", "# 5", "Green", "From leaves."), outline=(("Tea", 0), ("Green", 1))
):
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    page = writer.add_blank_page(300, 300)
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    font = DictionaryObject({NameObject(key): NameObject(value) for key, value in font.items()})
    fonts = DictionaryObject({NameObject("/F1"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    stream = DecodedStreamObject()
    shown = "".join(f"1 0 0 1 20 {280 - 20 * n} Tm ({line}) Tj " for n, line in enumerate(lines))
    stream.set_data(f"BT /F1 12 Tf {shown}ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    above = None
    for title, level in outline:
        entry = writer.add_outline_item(title=title, page_number=0, parent=above if level else None)
        above = entry if not level else above
    writer.write(path)


def write_notebook(path):
    cells = [
        {"cell_type": "markdown", "source": ["# Tea\n", "Tea is brewed."]},
        {"cell_type": "code", "source": "# no heading\nx = 1", "outputs": [{"text": "printed"}]},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "markdown", "source": "## Green\nFrom leaves."},
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


RST = """\
.. _tea:

Tea
===

Tea is brewed.

.. a comment
   that goes on

.. toctree::
   :maxdepth: 2

   menu

.. code-block:: py

   # no heading

Green
-----

From leaves.
"""

WRITE = {
    "a.html": lambda path: path.write_text(PAGE),
    "a.docx": write_docx,
    "a.epub": write_epub,
    "a.pdf": write_pdf,
    "a.ipynb": write_notebook,
    "a.rst": lambda path: path.write_text(RST),
    "a.md": lambda path: path.write_text("# Tea\nTea is brewed.\n\n## Green\nFrom leaves.\n"),
}


@pytest.mark.parametrize("name", WRITE)
def test_every_kind_of_document_is_split_at_its_headings(tmp_path, name):
    WRITE[name](tmp_path / name)
    [whole] = Corpus(tmp_path).check()
    assert (whole.id, whole.metadata) == (name, {"file": name})
    long = ReadOptions(split="headings", chunk_tokens=12)
    parts = list(Corpus(tmp_path, long).check())
    headings = list(dict.fromkeys(part.metadata["heading"] for part in parts))
    assert headings == ["Tea", "Green"]
    assert any("Tea is brewed" in part.text or "brewed with hot water" in part.text for part in parts)
    unwanted = ("<", "menu", "alert", "imprint", "¶", "printed", "raw", "comment", "maxdepth", "_tea", "p{}")
    assert not [word for word in unwanted for part in parts if word in part.text]


def shown(page):
    return restored(html_as_markdown(page))


def test_a_page_as_markdown():
    assert shown(PAGE) == (
        "# Tea\n\nTea is brewed with hot water.\n\n## Green\n\nFrom leaves.\n\n* one\n\n   * inner\n\n* two\n\n"
        "```py\n# no heading\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1|2 | x y |\n\n# 5 is no heading\n"
    )
    assert shown("<title>Tea</title><h2>Green</h2>x") == "# Tea\n\n## Green\n\nx\n"
    assert shown("<title>Tea | The site</title><h2>Tea</h2>x") == "# Tea\n\nx\n"
    assert shown("") == ""
    assert shown("<p>a<br>b</p>") == "a\nb\n"
    assert shown("a < b &lt;c&gt;") == "a < b <c>\n"


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 100_000 + "x", "<table><tr><td>" * 20_000, "<" * 200_000, "<p>x" * 50_000, "<ul><li>" * 400,
        "<div><a href=x>" * 4_000 + "y", "<div><b>" * 2_400 + "z" * 100_000,
        "<title>" + "x " * 50_000 + "</title>" + "<h1>x</h1>" * 2_000,
    ],
)  # fmt: skip
def test_pages_that_nest_without_end_take_no_longer_than_others(tmp_path, page):
    (tmp_path / "a.html").write_text(page)
    try:
        Corpus(tmp_path, ReadOptions(split="headings", skip_empty=True)).check()
    except CorpusFileError as error:
        assert "nested more than 5,000 levels deep" in str(error) or "holds no documents" in str(error)  # noqa: PT017


OPTIONS = """<title>brew</title><h2>Options</h2><dl>
<dt>--hot</dt><dt>--no-hot</dt><dd><p>{long}</p><pre>brew --hot</pre><p>{long}</p></dd>
<dt><div>--cups</div></dt><dd>How many:<ul><li>one</li><li>two</li></ul></dd>
<dt>--leaf <i>name</i></dt><dd>Which.<dl><dt>green</dt><dd>{long}{long}</dd><dt>black</dt><dd>Strong.</dd></dl></dd>
<dt>--version</dt></dl>after"""


def test_a_definition_is_an_item_that_begins_with_its_terms():
    assert shown(OPTIONS.format(long="Hot.")) == (
        "# brew\n\n## Options\n\n* --hot\n   --no-hot\n\n   Hot.\n\n   ```\n   brew --hot\n   ```\n\n   Hot.\n\n"
        "* --cups\n\n   How many:\n\n   * one\n\n   * two\n\n* --leaf name\n\n   Which.\n\n"
        "   * green\n\n      Hot.Hot.\n\n   * black\n\n      Strong.\n\n* --version\n\nafter\n"
    )


@pytest.mark.parametrize("chunk_tokens", [40, 60, 100])
def test_no_part_ends_with_a_term_and_what_continues_repeats_it(tmp_path, chunk_tokens):
    (tmp_path / "a.html").write_text(OPTIONS.format(long="It is drunk hot from small cups in winter. " * 5))
    parts = list(Corpus(tmp_path, ReadOptions(split="headings", chunk_tokens=chunk_tokens)).check())
    assert len(parts) > 2
    for part in parts:
        assert part.text.split("\n")[-1].strip("* ") not in ("--hot", "--no-hot", "--cups", "--leaf name", "green")
        assert "It is drunk" not in part.text or "--hot\n   --no-hot" in part.text or "* green" in part.text
        assert "* green" not in part.text or "* --leaf name" in part.text


def test_texts_of_pages_are_not_taken_for_markdown(tmp_path):
    texts = [
        "<upstream> is a name",
        "36. ECPG",
        "- minus",
        "[a]: http://x",
        "use <a href> and <!-- --> and &amp;",
        "|a|b|",
    ]
    texts += ["***", "---", "#", "1) x", "```", "    x", "a\n=", "> x", "*a* _b_ [c](d) \\* `e", "snake_case_name"]
    page = "".join(f"<p>{escape(text)}</p>" for text in texts) + "<p>a<br># b<br>===</p>"
    title = "The `*args` of list<str> & \\d_x_ [a](b)"
    (tmp_path / "a.html").write_text(
        f"<h1>{escape(title)}</h1>{page}<table><tr><th>a|b</th></tr><tr><td>c</td></tr></table>"
    )
    lines = [" ".join(text.split()) for text in texts] + ["a\n# b\n==="]
    expected = "\n\n".join([*lines, "| a|b |\n|---|\n| c |"])
    [part] = Corpus(tmp_path, ReadOptions(split="headings", chunk_tokens=500)).check()
    assert part.metadata["heading_path"] == title
    assert part.text == f"{title}\n\n{expected}"
    [whole] = Corpus(tmp_path).check()
    assert whole.text == f"# {title}\n\n{expected}\n"


def test_a_heading_or_code_within_lists_leaves_the_rest_as_it_is():
    item = "<ol start=9>" + "<li>x</li>" * 9 + "<li>ten<p>more</p><ul><li>a<pre>b\n\nc</pre>d</li></ul></li></ol>"
    assert shown(item).endswith(
        "10. ten\n\n    more\n\n    * a\n\n       ```\n       b\n\n       c\n       ```\n\n       d\n"
    )
    assert shown("<ul><li><ul><li>a<h2>B</h2><p>c</p></li></ul></li></ul><p>d") == "   * a\n\n## B\n\nc\n\nd\n"


def test_a_page_without_a_first_heading_is_called_by_its_title(tmp_path):
    (tmp_path / "a.html").write_text("<title>brew \u2014 make tea</title><h2>brew</h2>Makes tea.<h2>Notes</h2>None.")
    (tmp_path / "b.html").write_text("<title>Tea</title><pre># no heading</pre><h2>Notes</h2>None.")
    found = [part.metadata["heading_path"] for part in Corpus(tmp_path, ReadOptions(split="headings", max_words=9))]
    assert found == ["brew", "brew > Notes", "Tea", "Tea > Notes"]


def test_the_title_of_a_note_is_of_the_note_alone():
    note = '<div class="note"><h3 class="title">Note</h3><p>Hot.</p></div>'
    assert shown(f"<h1>Tea</h1>{note}<p>More.") == "# Tea\n\nNote:\n\nHot.\n\nMore.\n"
    definitions = "<dl><dt>a<dd>A.<h4>See?</h4>B.<dt>b<dd>C.</dl>"
    assert shown(f"<h1>Tea</h1>{definitions}") == "# Tea\n\n* a\n\n   A.\n\n   See?\n\n   B.\n\n* b\n\n   C.\n"
    assert shown("<dl><dd><h1>Tea</h1>Hot.</dl>") == "# Tea\n\nHot.\n"


TEXT = "<p>Tea is brewed from leaves.</p>"
LINKS = "".join(f'<li><a href="{n}.html">Page {n}</a></li>' for n in range(5))
CHROME = {
    "a picture in words": '<div class="longdesc-link">[<a href="x">D</a>]</div>',
    "DocBook": '<div class="navheader"><table><tr><td><a href="x">Prev</a></td><th>Up</th></tr></table></div>',
    "DocBook's contents": '<div class="toc"><p>Contents</p><dl><dt><a href="x">x</a></dt></dl></div>',
    "Sphinx": '<div class="related"><h3>Navigation</h3><ul><li><a href="x">index</a></li></ul></div>',
    "role": '<div role="navigation"><h2>Menu</h2><p>Menu</p></div>',
    "Texinfo": '<div><p>Next: <a href="b" rel="next">B</a>, Up: <a href="a" rel="up">A</a> [x]</p></div>',
    "links to neighbours": '<table><tr><td><a rel="prev" href="x">Before</a></td><td>|</td></tr></table>',
    "a link to a neighbour": '<div><a rel="next" href="x">Next</a> | </div>',
    "contents": f"<ul>{LINKS}</ul>",
    "contents in contents": f'<ol><li><a href="#x">X</a><ul>{LINKS}</ul></li></ol>',
    "letters": "<p>" + " | ".join(f'<a href="#{c}">{c}</a>' for c in "ABC") + "</p>",
    "EPUB": '<section epub:type="toc"><h2>Contents</h2><p>Tea</p></section>',
    "anchor": '<a href="#x">\u00b6</a>',
}


@pytest.mark.parametrize("kind", CHROME)
def test_what_a_page_shows_beside_its_text_is_left_out(kind):
    page = f"<body><div><h1>Tea</h1>{CHROME[kind]}{TEXT}{CHROME[kind]}</div></body>"
    assert shown(page) == "# Tea\n\nTea is brewed from leaves.\n"


@pytest.mark.parametrize(
    "kept",
    [
        LINKS.replace('href="', 'href="https://example.org/'),
        LINKS.replace("</li>", ": a page about tea</li>"),
        "<li><a href='a'>One</a></li><li><a href='b'>Two</a></li>",
    ],
)
def test_lists_that_say_more_than_the_pages_they_lead_to_are_kept(kept):
    assert shown(f"<h1>Tea</h1><ul>{kept}</ul>").count("\n* ") == kept.count("<li>")


def test_a_page_of_nothing_but_links_is_its_title_or_else_its_links():
    assert shown(f"<title>Index</title><ul>{LINKS}</ul>") == "# Index\n"
    assert shown(f"<ul>{LINKS}</ul>").startswith("* Page 0\n")


PAGES = [
    "CONTENTS\n1 Tea . . . . . . . . . . 3\n1.1 Green . . . . . . . ii\nText...\nwith dots .... 5 times\ni",
    "The Tea Book, Release 4\nTea is brewed.\n2 Chapter 1. Tea",
    "The Tea Book, Release 4\nStep 1\nTea is hot.\nItem 7\n1.1. Green 3",
    "The Tea Book, Release 4\nStep 2\nTea is hot.\nItem 7\n4 Chapter 1. Tea",
    "The Tea Book, Release 4\nStep 2\nTea is cold.\n1.1. Green 5",
    "The Tea Book, Release 4\nTea is cold.\nSo it is.\n6 Chapter 1. Tea",
    "The Tea Book, Release 4\n\nThe end.\n1.1. Green 7",
]


def test_pages_lose_what_only_says_where_one_is():
    shown = [page.strip().split("\n") for page in without_margins(PAGES)]
    assert shown == [
        ["CONTENTS", "Text...", "with dots .... 5 times", "i"],
        ["The Tea Book, Release 4", "Tea is brewed."],
        ["Step 1", "Tea is hot.", "Item 7"],
        ["Step 2", "Tea is hot.", "Item 7"],
        ["Step 2", "Tea is cold."],
        ["Tea is cold.", "So it is."],
        ["The end."],
    ]
    assert without_margins(PAGES[:2])[1] == PAGES[1]
    assert without_margins(["Page 1 of 3", "Page 2 of 3", "Page 3 of 3"]) == [
        "Page 1 of 3",
        "Page 2 of 3",
        "Page 3 of 3",
    ]
    slides = [f"Step {n}\n\nDo {n * n}." if n < 4 else f"Done {n * n}.\nAt last {n * n}." for n in range(1, 9)]
    assert without_margins(slides) == slides
    assert without_margins(["." * 200_000 + "x", ". " * 100_000])


def test_running_heads_that_name_their_section_are_left_out_by_their_shape():
    names = ["Tea", "Tea", "Green", "Black", "Milk", "Sugar"]
    pages = [f"{name} {n}\nIt is {'hot ' * n}.\nSo it is." for n, name in enumerate(names, 11)]
    shown = [page.split("\n")[0][:9] for page in without_margins(pages)]
    assert shown == ["It is hot"] * 6
    feet = [f"It is {'hot ' * n}.\n{f'{n} {name}' if n % 2 else f'{name} {n}'}" for n, name in enumerate(names, 11)]
    assert not any("\n" in page for page in without_margins(feet))
    chapter = [*pages, "17 Cups of tea\nHot.\nCold.", "Milk\nSee page 7.\nIn a cup of 17"]
    assert without_margins(chapter)[6:] == chapter[6:]
    assert without_margins(pages[:1] + ["Tea is hot.\nSo it is."] * 9)[0] == pages[0]


def test_page_numbers_that_stand_alone_are_left_out():
    numbers = ["i", "- ii -", "iii", "1", "Page 2 of 3", "3"]
    pages = [f"Tea\n\nIt is {'hot ' * n}.\n{number}" for n, number in enumerate(numbers)]
    for labels in (["i", "ii", "iii", "1", "2", "3"], ()):
        kept = [page.strip().split("\n")[-1][:6] for page in without_margins(pages, labels)]
        assert kept == ["It is "] * 6
    labelled = without_margins(pages[:2] + pages[4:], ["i", "ii", "2", "3"])
    assert [page.strip().split("\n")[-1][:6] for page in labelled] == ["It is "] * 4
    two = ["Tea is hot.\n1", "2\nTea is cold.", "4\nTea is gone."]
    assert without_margins(two, ["1", "2", "3"]) == ["Tea is hot.", "Tea is cold.", "4\nTea is gone."]
    assert without_margins(two[:1], ["1"]) == two[:1]
    assert without_margins(two, ["a", "b", "c"]) == two


def test_a_pdf_is_read_without_its_contents_and_as_it_is(tmp_path):
    lines = ("Tea", "Green . . . . . . . . 4", "36. ECPG", "<div> is a tag", "[a]: b", "Green", "a *b* c")
    write_pdf(tmp_path / "a.pdf", lines)
    found = [part.text for part in Corpus(tmp_path, ReadOptions(split="headings")).check()]
    assert found == ["Tea\n\n36. ECPG\n<div> is a tag\n[a]: b\n\n## Green\n\na *b* c"]


def test_a_book_is_read_without_its_table_of_contents(tmp_path):
    write_epub(tmp_path / "a.epub", contents='<item id="n" href="nav.xhtml" properties="nav"/>')
    [book] = Corpus(tmp_path).check()
    assert book.text == "# Tea\n\nTea is brewed.\n\n\n# Green\n\nFrom leaves.\n"


def test_titles_of_restructured_text():
    text = "====\nBook\n====\n\nPart\n====\n\nA::\n\n  # code\n\nChapter\n-------\n\n"
    text += ".. note:: Take care.\n   Now.\n\n# five\n"
    shown = [line for line in restored(rst_as_markdown(text)).split("\n") if line]
    assert shown == [
        *("# Book", "## Part", "A:", "```", "# code", "```", "### Chapter", "Take care.", "Now.", "# five")
    ]


GRID = """\
+-----+-----------+
| a   | testing   |
+=====+===========+
| tea | 1; needs: |
|     | cup|2     |
+-----+-----------+
|     | 2         |
+-----+-----------+"""


def test_grids_of_restructured_text_are_tables():
    expected = ["| a | testing |", "|---|---|", "| tea | 1; needs: cup|2 |", "|  | 2 |"]
    shown = restored(rst_as_markdown(f"Text\n\n{GRID}\n\nafter")).split("\n")
    assert [line for line in shown if line] == ["Text", *expected, "after"]
    nested = "\n".join(f"  {line}" for line in GRID.split("\n"))
    assert [line for line in restored(rst_as_markdown(nested)).split("\n") if line] == [f"  {row}" for row in expected]


@pytest.mark.parametrize(
    "other",
    [
        GRID.replace("|     | 2         |", "| spans both      |"),
        GRID.replace("+-----+-----------+\n|     | 2", "|     +-----------+\n|     | 2"),
        GRID.rsplit("\n", 1)[0],
        GRID.replace("testing   |", "testing |"),
        "+---+",
        "+---+\n+---+",
        "|a|\n+-+",
    ],
)
def test_other_drawings_stay_as_they_are(other):
    shown = restored(rst_as_markdown(f"Text\n\n{other}\n\nafter"))
    assert other in shown or other == "+---+\n+---+"


def test_source_code_is_read_by_itself_and_has_no_headings(tmp_path):
    (tmp_path / "a.py").write_text("# a comment\nx = 1\n\n\nclass A:\n    y = 1\n\n    z = 2\n")
    parts = list(Corpus(tmp_path, ReadOptions(split="headings", max_words=8)).check())
    assert {part.metadata.get("heading") for part in parts} == {None}
    assert any(part.text.endswith("    z = 2") for part in parts)
    assert len(list(Corpus(tmp_path / "a.py"))) == 1
    (tmp_path / "b.md").write_text("text")
    assert [document.id for document in Corpus(tmp_path)] == ["b.md"]
    assert len(list(Corpus(tmp_path, ReadOptions(endings=(".py", ".md"))))) == 2
    assert len(list(Corpus(tmp_path, ReadOptions(endings=(".PY", ".Md"))))) == 2


def test_endings_tell_the_format(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "b.md").write_text("three")
    assert [document.text for document in Corpus(tmp_path, ReadOptions(endings=(".jsonl",)))] == ["one", "two"]


def test_a_json_array_is_rows(tmp_path):
    (tmp_path / "a.json").write_text('[{"id": "x", "text": "tea", "metadata": {"n": 1}}, {"id": "y", "text": "rail"}]')
    found = list(Corpus(tmp_path).check())
    assert [(d.id, d.text) for d in found] == [("x", "tea"), ("y", "rail")]
    assert found[0].metadata == {"file": "a.json", "row": 1, "n": 1}
    (tmp_path / "a.md").write_text("settings lie beside documents")
    assert [d.id for d in Corpus(tmp_path)] == ["a.md"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x"}', r"a\.json is a JSON dict; give an array of objects"),
        ('[{"text": "x"}, 5]', r"a\.json:2 is a JSON int"),
        ('{"text": "x"}\n{"text": "y"}', r"not valid JSON: Extra data.*--format jsonl\)"),
        ("", r"has no rows"),
        ("[" * 5_000, r"not valid JSON"),
    ],
)
def test_other_json_names_the_way_out(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(CorpusFileError, match=message):
        Corpus(tmp_path / "a.json").check()


# What cannot be read


@pytest.mark.parametrize(
    ("name", "module"), [("a.html", "selectolax"), ("a.pdf", "pypdf"), ("a.docx", "mammoth"), ("a.epub", "selectolax")]
)
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, name, module):
    WRITE[name](tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    for reading in (ReadOptions(), ReadOptions(skip_errors=True)):
        with pytest.raises(MissingDependencyError, match=r"pip install 'cde-retrievers\[docs\]'"):
            Corpus(tmp_path, reading)  # before anything is read, or a model loaded


@pytest.mark.parametrize("name", ["a.docx", "a.epub", "a.pdf", "a.ipynb"])
@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"no such file"]
)
def test_a_damaged_file_is_named_with_the_way_out(tmp_path, name, damage):
    WRITE[name](tmp_path / name)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(CorpusFileError, match=rf"{name} cannot be read as .*--skip-errors"):
        Corpus(tmp_path).check()


def test_a_word_document_that_declares_entities_is_refused(tmp_path):
    write_docx(tmp_path / "a.docx")
    with zipfile.ZipFile(tmp_path / "a.docx", "a") as archive:
        archive.writestr("word/footnotes.xml", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>')
    with pytest.raises(CorpusFileError, match=r"has a document type declaration"):
        Corpus(tmp_path).check()


@pytest.mark.parametrize("name", ["a.docx", "a.epub"])
def test_an_archive_that_unpacks_to_more_than_allowed_is_refused(tmp_path, name):
    WRITE[name](tmp_path / name)
    with zipfile.ZipFile(tmp_path / name, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/x.bin", bytes(200_000))
    with pytest.raises(CorpusFileError, match=r"unpacked, is longer than 100,000 characters"):
        Corpus(tmp_path, ReadOptions(max_characters=100_000)).check()


def test_a_protected_pdf_is_named(tmp_path):
    from pypdf import PdfReader, PdfWriter

    write_pdf(tmp_path / "a.pdf")
    writer = PdfWriter(clone_from=PdfReader(tmp_path / "a.pdf"))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "a.pdf")
    with pytest.raises(CorpusFileError, match=r"protected by a password"):
        Corpus(tmp_path).check()


def test_files_that_cannot_be_read_are_left_out_whole_on_request_and_named(tmp_path, caplog):
    (tmp_path / "a.md").write_text("tea")
    (tmp_path / "b.md").write_bytes(b"caf\xe9")
    (tmp_path / "c.pdf").write_bytes(b"no PDF")
    with pytest.raises(CorpusFileError, match=r"b\.md is not utf-8 text.*--encoding.*--skip-errors"):
        Corpus(tmp_path).check()
    with caplog.at_level(logging.WARNING):
        corpus = Corpus(tmp_path, ReadOptions(skip_errors=True)).check()
    assert [document.id for document in corpus] == ["a.md"]
    assert list(corpus.corpus.unreadable) == ["b.md", "c.pdf"]
    assert caplog.text.count("cannot be read") >= 2
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text('{"text": "kept"}\n')
    (rows / "b.jsonl").write_text('{"text": "left out with its file"}\nbroken\n')
    assert [document.text for document in Corpus(rows, ReadOptions(skip_errors=True)).check()] == ["kept"]


RUSSIAN = "<p>Чай заваривают.</p>"
NAMED = '<html><head><meta charset="{}"><title>x</title></head><body>{}</body></html>'


@pytest.mark.parametrize(
    ("written", "encoding", "expected"),
    [
        (NAMED.format("windows-1251", RUSSIAN), "cp1251", "Чай заваривают."),
        (NAMED.format("KOI8-R", RUSSIAN), "koi8-r", "Чай заваривают."),
        (NAMED.format("iso-8859-1", "“tea” 5 €"), "cp1252", "“tea” 5 €"),  # as browsers do
        (NAMED.format("gb2312", "茶朗"), "gbk", "茶朗"),
        (NAMED.format("iso-2022-jp", "お茶"), "iso-2022-jp", "お茶"),
        (NAMED.format("x-sjis", "お茶①"), "cp932", "お茶①"),
        (NAMED.format("iso-8859-1", "thé"), "utf-8", "thé"),  # the page is mistaken
        (NAMED.format("utf-8", "thé"), "utf-16", "thé"),
        (NAMED.format("utf-8", "thé"), "utf-32", "thé"),
        (NAMED.format("utf-8", "thé"), "utf-8-sig", "thé"),
        ('<?xml version="1.0" encoding="ISO-8859-2"?><html><body><p>łyk</p></body></html>', "iso-8859-2", "łyk"),
        (
            '<meta http-equiv="Content-Type" content="text/html; charset=windows-1250"><p>łyk</p>',
            "cp1250",
            "łyk",
        ),
    ],
)
def test_a_page_that_is_not_utf8_is_read_as_it_says(tmp_path, written, encoding, expected):
    (tmp_path / "a.html").write_bytes(written.encode(encoding))
    (document,) = Corpus(tmp_path)
    assert document.text.splitlines()[-1] == expected


@pytest.mark.parametrize("label", ["x-user-defined", "hex", "unicode_escape", "undefined"])
def test_a_page_in_an_encoding_that_is_unknown_is_refused(tmp_path, label):
    (tmp_path / "a.html").write_bytes(NAMED.format(label, "th\xe9").encode("latin-1"))
    with pytest.raises(CorpusFileError, match=rf"a.html is not UTF-8 text, and it names the encoding '{label}'"):
        list(Corpus(tmp_path))


def test_a_page_that_names_no_encoding_or_a_wrong_one_is_refused_and_a_given_one_holds(tmp_path):
    (tmp_path / "a.html").write_bytes("<p>th\xe9</p>".encode("latin-1"))
    with pytest.raises(CorpusFileError, match=r"a.html is not utf-8 text: byte 5"):
        list(Corpus(tmp_path))
    (tmp_path / "a.html").write_bytes(NAMED.format("shift_jis", "th\xe9").encode("latin-1"))
    with pytest.raises(CorpusFileError, match=r"a.html is not cp932 text"):
        list(Corpus(tmp_path))
    (document,) = Corpus(tmp_path, reading=ReadOptions(encoding="latin-1"))
    assert "thé" in document.text


@pytest.mark.parametrize("reading", [ReadOptions(), ReadOptions(skip_errors=True)])
def test_every_kind_of_file_is_opened_once(tmp_path, reading):
    write_docx(tmp_path / "a.docx")
    write_epub(tmp_path / "b.epub")
    write_pdf(tmp_path / "c.pdf")
    (tmp_path / "d.html").write_text("<p>tea</p>")
    (tmp_path / "e.md").write_text("tea")
    with counted_opens() as opened:
        checked = Corpus(tmp_path, reading).check()
    files = {path.name: path for path in tmp_path.iterdir()}
    assert {name: opened[str(path)] for name, path in files.items()} == dict.fromkeys(files, 1)
    assert checked.read.hashes == {name: sha256_of_file(path) for name, path in files.items()}
    assert checked.read.ids == {name: (name,) for name in files}


def test_text_far_to_the_right_is_shown_as_it_is(tmp_path):
    """Lists within empty items indent it as Markdown indents code."""
    sentence = "Set READLINE_LINE or * here and go on for a while. "
    (tmp_path / "a.html").write_text(f"<h1>T</h1><dl><dt><dd><dl>{sentence * 30}</dl></dl>")
    found = list(Corpus(tmp_path, ReadOptions(split="headings")))
    assert len(found) > 1
    for document in found:
        assert "```" not in document.text
        assert not set("\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4").intersection(document.text)
    assert "READLINE_LINE or * here" in found[0].text
