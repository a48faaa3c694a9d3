"""Parts of long texts: short enough, in order, and nothing is lost."""

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.splitting import markdown_sections, parts_of

TEXT = """First paragraph. It has two sentences, one of which is longer!

Second paragraph
with two lines

- item one (of many)
- item_two, x = f(y)

""" + " ".join(f"word{i}" for i in range(40))

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


@pytest.mark.parametrize("max_words", [1, 2, 5, 12, 30, 1_000])
def test_nothing_is_lost_or_doubled(max_words):
    parts = list(parts_of(TEXT, max_words))
    assert "".join("".join(parts).split()) == "".join(TEXT.split())
    assert all(part in TEXT and part == part.strip() for part in parts)
    if max_words == 1_000:
        assert parts == [TEXT]


@pytest.mark.parametrize("max_words", [12, 30])
def test_no_part_is_too_long_and_neighbours_would_be(max_words):
    parts = list(parts_of("a b c. d e f. " * 20, max_words))
    assert all(len(part.replace(".", " .").split()) <= max_words for part in parts)
    assert len(parts) == -(-20 * 8 // (max_words // 4 * 4))


def test_cuts_are_between_paragraphs_where_that_is_possible():
    assert list(parts_of("one two three\n\nfour five six\n \nseven", 4)) == ["one two three", "four five six\n \nseven"]
    assert list(parts_of("One two. Three four five. Six.", 4)) == ["One two.", "Three four five.", "Six."]


def test_blank_texts_have_no_parts():
    assert list(parts_of(" \n\n ", 5)) == []


def test_sections_begin_at_headings_outside_of_code():
    sections = markdown_sections(MARKDOWN)
    assert "".join(section.text for section in sections) == MARKDOWN
    assert [section.heading for section in sections] == [None, "Title", "Setup", "Details"]


def test_parts_are_documents_that_know_where_they_are_from(tmp_path):
    (tmp_path / "a.md").write_text(MARKDOWN)
    (tmp_path / "b.md").write_text("short")
    documents = list(Corpus(tmp_path, ReadOptions(split="headings", max_words=40)).check())
    assert [(d.id, d.metadata.get("heading"), d.metadata["part"]) for d in documents] == [
        ("a.md#1", None, 1),
        ("a.md#2", "Title", 2),
        ("a.md#3", "Setup", 3),
        ("a.md#4", "Details", 4),
        ("b.md#1", None, 1),
    ]
    assert documents[1].text == "# Title #\n\nIntro."


def test_rows_are_split_as_files_are(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "x", "text": "one two\\n\\nthree four", "k": 1}\n')
    documents = list(Corpus(tmp_path / "a.jsonl", ReadOptions(split="paragraphs", max_words=2)))
    assert [(d.id, d.text, d.metadata["k"], d.metadata["part"]) for d in documents] == [
        ("x#1", "one two", 1, 1),
        ("x#2", "three four", 1, 2),
    ]


def test_a_document_without_text_is_still_noticed_when_splitting(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text(" ")
    checked = Corpus(tmp_path, ReadOptions(split="paragraphs", skip_empty=True)).check()
    assert (len(checked), checked.left_out) == (1, 1)
