"""Pages of HTML keep their subject and lose what is around their text; a question stays with its answer."""

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.literal import restored
from cde_retrievers.corpora.readers.html import html_as_markdown

pytest.importorskip("selectolax")
TEXT = "<p>Tea is brewed from leaves.</p>"
TWO = "<h1>1. Leaves</h1><p>Green.</p><h2>1.1. Size</h2><p>Small.</p><h1>2. Water</h1><p>Hot.</p>"
BELOW = "## 1. Leaves\n\nGreen.\n\n### 1.1. Size\n\nSmall.\n\n## 2. Water\n\nHot.\n"


def shown(page):
    return restored(html_as_markdown(page))


def head(title, body):
    return shown(f"<title>{title}</title><body>{body}</body>").split("\n\n")[:2]


@pytest.mark.parametrize(
    "body",
    [
        TWO,
        f"<div>Brewing Tea</div>{TWO}",
        f"<h1>Brewing Tea</h1>{TWO}",
        f'<a name="top"></a><h1>Brewing  tea</h1>{TWO}',
    ],
)
def test_a_title_heads_the_sections_of_its_page(body):
    assert shown(f"<title>Brewing Tea</title><body>{body}</body>").casefold() == f"# brewing tea\n\n{BELOW}".casefold()


def test_a_heading_that_says_the_title_is_the_pages():
    assert head("Tea \u2014 The Kitchen 2.1", f"<h1>Tea</h1>{TWO}") == ["# Tea", "## 1. Leaves"]
    assert head("The Kitchen: Tea", f"<h1>Tea</h1>{TWO}") == ["# Tea", "## 1. Leaves"]
    assert head("Man page of TEA", f"<h1>TEA</h1>{TEXT}")[0] == "# TEA"
    assert head("tea(1)", f"<h1>tea(1) Manual Page</h1>{TEXT}")[0] == "# tea(1) Manual Page"
    assert head("Tea", f"Edition 2<h1>Tea</h1>{TEXT}") == ["# Tea", "Edition 2"]
    assert head("Tea", f"<h2>Kitchen</h2><h2>Tea.</h2>{TEXT}") == ["## Kitchen", "# Tea."]
    assert head("Tease", f"<h2>Tea</h2>{TEXT}") == ["# Tease", "## Tea"]
    # The first of several may be the first topic only.
    assert head("Water for tea", f"<h1>Water</h1>{TEXT}<h1>Tea</h1>") == ["# Water for tea", "## Water"]
    assert head("Tea", f"<h1>Hot tea</h1>{TEXT}<h1>Cold tea</h1>") == ["# Tea", "## Hot tea"]


@pytest.mark.parametrize(
    "page",
    [
        '<title>The Kitchen</title><meta property="og:site_name" content="The Kitchen">',
        '<title>The Kitchen</title><body><p><a href="/">The Kitchen</a></p>',
        '<title>The Kitchen</title><body><p><a href="../index.html">The kitchen</a></p>',
        "<title>Untitled</title>",
        "<title> </title>",
        "<svg><title>A cup</title></svg>",
    ],
)
def test_the_name_of_the_site_is_not_a_subject(page):
    assert "# Making\n" in shown(f"{page}<h1>Making</h1>{TEXT}").replace("## ", "not ")


def test_parts_are_found_below_the_title(tmp_path):
    (tmp_path / "a.html").write_text(f"<title>Brewing Tea</title>{TWO}")
    paths = [part.metadata["heading_path"] for part in Corpus(tmp_path, ReadOptions(split="headings", chunk_tokens=12))]
    assert paths == ["Brewing Tea > 1. Leaves", "Brewing Tea > 1. Leaves > 1.1. Size", "Brewing Tea > 2. Water"]


HIDDEN = [
    "<p hidden>Not shown.</p>", '<p hidden="">Not shown.</p>', '<div style="DISPLAY : none;"><p>Not shown.</div>',
    '<p style="color:red;display:none!important">Not shown.</p>', '<p style="visibility: hidden">Not shown.</p>',
    '<p aria-hidden="true">Not shown.</p>', "<template><p>Not shown.</p></template>",
    "<noscript><p>Not shown.</p></noscript>", "<datalist><option>Not shown.</datalist>", "<video>Not shown.</video>",
    "<canvas>Not shown.</canvas>", "<h1 hidden>Not shown.</h1>", '<ul><li style="display:none">Not shown.</ul>',
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_a_browser_does_not_show_is_not_read(hidden):
    assert shown(f"<body><h1>Tea</h1>{TEXT}{hidden}</body>") == "# Tea\n\nTea is brewed from leaves.\n"


def test_what_can_be_unfolded_or_looks_like_hiding_is_read():
    kept = (
        '<p hidden="until-found">a</p><p aria-hidden="false">b</p><p style="display:nonesuch">c</p><details>d</details>'
    )
    assert shown(kept) == "a\n\nb\n\nc\n\nd\n"
    assert shown('<pre>x <span style="display:none">y</span>= 1<button>Copy</button></pre>') == "```\nx = 1\n```\n"
    source = '<semantics><mi>x</mi><annotation encoding="application/x-tex">x^2</annotation></semantics>'
    assert shown(f"<math><mi>y</mi></math> = <math>{source}</math>") == "y = x^2\n"


LINKS = "".join(f'<div><a href="#{n}">{n}. Chapter {n}</a></div>' for n in range(5))
MENU = '<ul><li><a href="a">Home</a><li><a href="b">Cups</a><li><a href="c">Pots</a></ul>'
AROUND = {
    "contents of boxes": f"<div>{LINKS}</div>",
    "contents with a label": f'<div><a onclick="f()">\u25ba Table Of Contents</a><div>{LINKS}</div></div>',
    "contents below a heading": f"<h2>Contents</h2><div>{LINKS}</div>",
    "contents below a paragraph": f"<div><p><b>On this page:</b></p>\n<ul>{MENU}</ul></div>",
    "contents in lines": '<a href="#a">One</a><br><a href="#b">Two</a><br><a href="#c">Three</a><hr>',
    "letters": '<table><tr><th>Jump to: &nbsp; </th><td><a href="#A"><b>A</b></a> <a href="#B">B</a> <a href="#C">C</a>'
    "</td></tr></table>",
    "neighbours": '<p>Next: <a href="b">Cups</a>, Up: <a href="a">Tea</a> \u00a0 [<a href="c">Index</a>]</p>',
    "neighbours in lines": 'Previous: <a href="b">Cups</a>, Up: <a href="a">Tea</a><hr>',
    "related": '<div><h3>See also</h3><a href="b">Cups</a>, <a href="c">Pots</a></div>',
    "date": "<p><small>This page last modified on <a href='x'>2022-04-18 02:55:50</a> UTC</small></p>",
    "date in a foot": "<div>Last updated 2022-04-18</div>",
    "skip": '<a href="#main">Skip to content</a>',
    "slogan": '<p class="tagline">Hot. Strong. Sweet.</p>',
    "foot": '<div id="footer">Made of leaves.</div>',
}


@pytest.mark.parametrize("kind", AROUND)
def test_what_stands_around_a_text_is_left_out(kind):
    assert shown(f"<body><div><h1>Tea</h1>{AROUND[kind]}{TEXT}{AROUND[kind]}</div></body>") == (
        "# Tea\n\nTea is brewed from leaves.\n"
    )


@pytest.mark.parametrize("chapter", ['<a href="a.html"><h2>Kitchen</h2></a>', '<h2><a href="a.html">Kitchen</a></h2>'])
def test_a_linked_heading_with_nothing_below_it_is_left_out(chapter):
    assert shown(f"<body>{chapter} <h2>Tea</h2>{TEXT}</body>") == "## Tea\n\nTea is brewed from leaves.\n"
    for below in (f"<h3>Tea</h3>{TEXT}", TEXT, f"Hot.<h2>Tea</h2>{TEXT}", "<img><h2>Tea</h2>", ""):
        assert "## Kitchen" in shown(f"<body>{chapter}{below}</body>")
    assert "## Kitchen" in shown(f"<body>{chapter.replace('a.html', '#a')}<h2>Tea</h2>{TEXT}</body>")


@pytest.mark.parametrize(
    "masthead",
    [
        f'<div><img src="x"><div>Small. Fast. Reliable.<br>Choose any three.</div>{MENU}</div>',
        "<div><p>Hot, strong and sweet.<form><input><input type=submit></form></div>",
        "<header><span>Hot, strong and sweet.</span><nav>Menu</nav></header>",
    ],
)
def test_a_masthead_is_left_out(masthead):
    for page in (f"{masthead}<h1>Tea</h1>{TEXT}", f"<div><div>{masthead}</div><h1>Tea</h1>{TEXT}</div>"):
        assert shown(page) == "# Tea\n\nTea is brewed from leaves.\n"


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (
            f"<div><p>Tea comes from Asia and is drunk everywhere in the world, mostly hot.</p>{MENU}</div>",
            "mostly hot.",
        ),
        (
            '<p>See <a href="a">cups</a>, <a href="b">pots</a> and <a href="c">kettles</a> to brew it well.</p>',
            "kettles",
        ),
        ("<p>It was last updated in the spring of 2020 by the growers.</p>", "last updated in the spring"),
        ('<p>See also <a href="a">cups</a> for how to wash them.</p>', "See also cups"),
        (
            '<ul><li><a href="a">int</a> | <a href="b">str</a> | <a href="c">list</a>: types</li></ul>',
            "int | str | list",
        ),
        ('<h2><a href="a">std</a>::<a href="b">vec</a>::<a href="c">Vec</a></h2>', "## std::vec::Vec"),
        ("<h2>Contents</h2><p>A cup holds two decilitres.</p>", "## Contents\n\nA cup"),
        ("<p>Next, rinse the pot.</p>", "Next, rinse"),
        (
            f"<table><tr><td>pour</td><td>{MENU.replace('ul>', 'div>').replace('<li>', ' ')}</td></tr></table>",
            "| Home Cups Pots |",
        ),
        (
            f"<section><p>These are the cups that may be put into hot water without any harm, and at any time:</p>"
            f"<ul>{''.join(f'<li><a href={n}>The cup of the {n}th of all potters</a>' for n in range(30))}</ul>"
            "</section>",
            "without any harm",
        ),
    ],
)
def test_texts_with_links_and_such_words_are_kept(kept, words):
    assert words in shown(f"<h1>Tea</h1>{kept}")


# Questions


LONG = "Brew it hot and drink it slowly from a small cup. " * 12
QUESTIONS = {
    "bold.html": "<h2>Questions</h2><p><b>(1) Is tea hot?</b></p><blockquote><p>{}</p></blockquote>",
    "target.html": '<h2>Questions</h2><p><a name="q1"></a><strong>Is tea hot?</strong></p>{}',
    "box.html": "<h2>Questions</h2><div><b>Q1: Say whether tea is hot</b></div>{}",
    "term.html": "<h2>Questions</h2><dl><dt>Is tea hot?</dt><dd><p>{}</p></dd></dl>",
    "item.html": "<h2>Questions</h2><ul><li><p>Is tea hot?</p><p>{}</p></li></ul>",
    "list.html": "<h2>Questions</h2><ul><li>Is tea hot?</li></ul><p>{}</p>",
    "small.html": "<h2>Questions</h2><dl><dt>Tea</dt><dd><h4>Is tea hot?</h4><p>{}</p></dd></dl>",
    "heading.html": "<h2>Questions</h2><h5>Is tea hot?</h5><p>{}</p>",
    "plain.html": "<h2>Questions</h2><p>Is tea hot?</p><p>{}</p>",
    "bold.md": "## Questions\n\n**Say whether tea is hot**\n\n{}",
    "item.md": "## Questions\n\n* Is tea hot?\n\n{}",
    "plain.txt": "Questions\n=========\n\nQ: Is tea hot?\n\nA: {}",
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_stays_with_its_answer(tmp_path, name):
    before = f"<p>{LONG}</p>" if name.endswith("html") else f"{LONG}\n\n"
    (tmp_path / name).write_text(QUESTIONS[name].replace("uestions</h2>", f"uestions</h2>{before}").format(LONG))
    for chunk_tokens in (60, 100, 140, 150, 160, 170):
        parts = list(Corpus(tmp_path, ReadOptions(split="headings", chunk_tokens=chunk_tokens)))
        texts = [part.text for part in parts if "ea is hot" in part.text or "s tea hot?" in part.text]
        assert texts
        for text in texts:
            assert "Brew it" in text.partition("tea")[2]


def test_a_bold_question_is_a_heading_and_another_bold_paragraph_is_not():
    faq = "<h2>Questions</h2><p><b>(1) Hot?</b></p><p>Yes.<p><b>(2) Sweet?</b></p><p>No.<h2>Notes</h2>None."
    assert shown(faq) == "## Questions\n\n### (1) Hot?\n\nYes.\n\n### (2) Sweet?\n\nNo.\n\n## Notes\n\nNone.\n"
    assert shown(f"<h2>Tea</h2><p><b>Table 1. Leaves</b></p>{TEXT}") == (
        "## Tea\n\nTable 1. Leaves:\n\nTea is brewed from leaves.\n"
    )
    assert shown("<p><b>Is it hot?</b> Yes.</p>") == "Is it hot? Yes.\n"
    assert shown("<ul><li><p><b>Is it hot?</b></p>Yes.</ul>") == "* Is it hot?\n\n   Yes.\n"


# Few words


@pytest.mark.parametrize(
    "stub", ["See also [cups](cups.md).", "* [Cups](cups.md)\n* Pots", "Part of the kitchen suite"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_section_of_few_words_ends_the_part_before_it(tmp_path, stub, times):
    (tmp_path / "a.md").write_text(f"# Tea\n\n## Brewing\n\n{LONG * times}\n\n## More\n\n{stub}\n")
    reading = ReadOptions(split="headings", chunk_tokens=220)
    parts = list(Corpus(tmp_path, reading))
    assert {part.metadata["heading_path"] for part in parts} == {"Tea > Brewing"}
    assert parts[-1].text.endswith(f"## More\n\n{stub}")
    assert min(len(part.text.split()) for part in parts) > 20


def test_a_short_section_that_says_something_is_a_part(tmp_path):
    others = f"\n\n## Water\n\n{LONG}\n\n## A\n\nport 1\n\n## B\n\nport 2\n\n## C\n\nport 3\n"
    (tmp_path / "a.md").write_text(f"# Tea\n\n## Brewing\n\n{LONG}\n\n## Sweet\n\nIt never is.{others}")
    paths = [part.metadata["heading"] for part in Corpus(tmp_path, ReadOptions(split="headings", chunk_tokens=220))]
    assert paths == ["Brewing", "Sweet", "Water", "Tea"]


def test_a_few_lines_of_code_stay_in_their_cell_and_more_are_a_block():
    cell = "<table><tr><th>call</th></tr><tr><td><p>split(x) gives</p>{}<p>as rows</p></td></tr></table>"
    assert shown(cell.format("<pre> a\n|b\n</pre>")) == "| call |\n|---|\n| split(x) gives a |b as rows |\n"
    code = "\n".join("abcde")
    assert shown(cell.format(f"<pre>{code}</pre>")).startswith(f"```\n{code}\n```\n")
    assert shown("<table><tr><td><pre>a\nb</pre></td></tr></table>").startswith("```\na\nb\n```\n")
