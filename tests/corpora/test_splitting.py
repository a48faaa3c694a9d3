"""Parts of long documents: below their headings, as long as a model reads, and called by what they are."""

import itertools
import sys

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.splitting import text_below_path
from cde_retrievers.corpora.token_count import token_count
from cde_retrievers.errors import ConfigurationError

LONG = "Tea is brewed with hot water from dried leaves, and it is drunk from small cups all over the world. " * 3
GUIDE = f"""# URL

{LONG}

## Class: URL

{LONG}

### `url.hash`

{LONG}

### `url.host`

{LONG}

## Empty

### Notes

{LONG}
"""


def parts(folder, text=None, name="a.md", tokens=None, **reading):
    if text is not None:
        (folder / name).write_text(text)
    return list(Corpus(folder, ReadOptions(split="headings", **reading), tokens=tokens).check())


def words(text):
    return token_count(None).size(text)


def test_a_part_stands_below_its_headings_in_text_and_metadata(tmp_path):
    found = parts(tmp_path, GUIDE)
    assert [(d.metadata["heading"], d.metadata["heading_path"]) for d in found] == [
        ("URL", "URL"),
        ("Class: URL", "URL > Class: URL"),
        ("url.hash", "URL > Class: URL > url.hash"),
        ("url.host", "URL > Class: URL > url.host"),
        ("Notes", "URL > Empty > Notes"),
    ]
    assert all(d.text == f"{d.metadata['heading_path']}\n\n{LONG.strip()}" for d in found)
    assert all(text_below_path(d) == LONG.strip() for d in found)
    assert {d.metadata["part_of"] for d in found} == {"a.md"}


def test_a_text_without_headings_that_fits_stays_as_it_is(tmp_path):
    [document] = parts(tmp_path, "Tea is hot.\n")
    assert (document.id, document.text) == ("a.md", "Tea is hot.")
    assert "heading" not in document.metadata


# Ids


def test_ids_are_called_by_headings_and_an_insertion_above_leaves_them_alone(tmp_path):
    before = parts(tmp_path, GUIDE)
    assert [d.id for d in before][:3] == ["a.md#URL", "a.md#URL/Class: URL", "a.md#URL/Class: URL/url.hash"]
    after = parts(tmp_path, f"New at the top.\n\n# Changes\n\n{LONG}\n\n" + GUIDE)
    assert after[2:] == before


def test_parts_of_one_long_section_are_told_apart_by_their_text(tmp_path):
    sentences = [f"This is sentence number {number} of a long text." for number in range(60)]
    before = parts(tmp_path, "# A\n\n" + "\n\n".join(sentences))
    assert len(before) > 2
    assert all(d.id.startswith("a.md#A#") for d in before)
    after = parts(tmp_path, "# A\n\n" + "\n\n".join([*sentences, "And one more."]))
    assert after[: len(before) - 2] == before[:-2]


def test_repeated_headings_and_texts_have_ids_of_their_own(tmp_path):
    found = parts(tmp_path, f"# A\n\n## Notes\n\n{LONG}\n\n## Notes\n\n{LONG}\n\n## Notes\n\nOther. {LONG}")
    assert len({d.id for d in found}) == len(found) == 3
    assert found[1].id == found[0].id + "#2"


def test_an_id_does_not_grow_with_its_headings(tmp_path):
    found = parts(tmp_path, "".join(f"{'#' * (n + 1)} {'long ' * 150}{n}\n\n{LONG}\n\n" for n in range(6)))
    assert len({d.id for d in found}) == len(found)
    assert max(len(d.id) for d in found) < 300


# Headings and small sections


@pytest.mark.parametrize(
    "text",
    [
        "# A\n\n## B\n\n## C\n\n" + LONG,
        "# A\n\n" + LONG + "\n\n## B\n",
        "# A\n## B\n### C\n" + LONG + "\n## D\n### E\n",
        "# A\n\n" + LONG + "\n# B\n\n" + LONG + "\n# C\n",
    ],
)
def test_no_part_is_a_heading_alone_and_none_is_lost(tmp_path, text):
    found = parts(tmp_path, text)
    assert all("Tea is brewed" in d.text for d in found)
    titles = {line.strip("# ") for line in text.splitlines() if line.startswith("#")}
    assert all(any(title in d.text.partition("Tea")[0] or f"# {title}" in d.text for d in found) for title in titles)


def test_no_chunk_ends_with_a_heading(tmp_path):
    text = "# A\n\n" + "\n\n".join(f"## Title {n}\n\n## Alias {n}\n\n{LONG * (1 + n % 3)}" for n in range(12))
    for document in parts(tmp_path, text, chunk_tokens=90):
        assert not document.text.rstrip().splitlines()[-1].startswith("#")


def test_a_document_of_nothing_but_a_heading_is_still_a_document(tmp_path):
    [document] = parts(tmp_path, "# A title\n")
    assert document.text == "# A title"


def test_small_neighbours_below_one_heading_are_put_together(tmp_path):
    options = "\n\n".join(f"### {name}\n\nTurns it {name}." for name in ("on", "off", "up"))
    [first, second] = parts(tmp_path, f"# Guide\n\n{LONG}\n\n## Options\n\n{options}\n")
    assert first.metadata["heading"] == "Guide"
    assert second.metadata["heading_path"] == "Guide > Options"
    assert second.text.startswith("Guide > Options\n\n### on\n\nTurns it on.\n\n### off")


def test_small_sections_of_different_headings_stay_apart(tmp_path):
    found = parts(tmp_path, "# A\nOne.\n# B\nTwo.\n# C\n## D\nThree.\n# E\n## F\nFour.\n")
    assert [d.metadata["heading_path"] for d in found] == ["A", "B", "C > D", "E > F"]


# Lengths


BLOCKS = f"""# Guide

{LONG * 4}

```py
{"".join(f"value_{n} = function({n})" + chr(10) for n in range(40))}```

| name | meaning |
|------|---------|
{"".join(f"| name {n} | meaning of {n} |" + chr(10) for n in range(40))}
* {LONG}
* item

  ```sh
  make test
  ```

{"x" * 3_000}

{"漢字かな。" * 300}
"""


@pytest.mark.parametrize("chunk_tokens", [20, 50, 150, 400])
@pytest.mark.parametrize("overlap", [0, 10])
def test_no_part_is_longer_than_allowed(tmp_path, make_encoder, chunk_tokens, overlap):
    for tokens in (make_encoder(), lambda text: len(text.split()) + len(text) // 20, None):
        count = token_count(tokens)
        for document in parts(tmp_path, BLOCKS, tokens=tokens, chunk_tokens=chunk_tokens, overlap=overlap):
            assert count.size(document.text) <= chunk_tokens


def test_a_run_of_letters_is_not_one_word_however_long(tmp_path):
    assert len(parts(tmp_path, "x" * 100_000)) > 20


def test_a_last_part_is_evened_out_only_where_both_fit(tmp_path):
    sized = [" ".join(["word"] * size) for size in (10, 85, 20)]
    found = parts(tmp_path, "\n\n".join(sized), chunk_tokens=100)
    assert [words(d.text) for d in found] == [95, 20]
    sized = [" ".join(["word"] * size) for size in (40, 50, 20)]
    found = parts(tmp_path, "\n\n".join(sized), chunk_tokens=100)
    assert [words(d.text) for d in found] == [40, 70]


def test_parts_are_as_long_as_the_model_reads_with_its_prompt(tmp_path, make_encoder):
    encoder = make_encoder(document_prompt="read: ")
    found = parts(tmp_path, "# Guide\n\n" + "the cat sleeps. " * 200, tokens=encoder)
    lengths = [encoder.tokenize([encoder.config.document_prompt + d.text])[1].sum().item() for d in found]
    assert max(lengths) <= encoder.config.max_length
    assert len(found) > 1
    assert min(lengths) > encoder.config.max_length // 2
    whole = token_count(encoder)
    assert all(whole.size(d.text) + encoder.config.max_length - whole.room <= encoder.config.max_length for d in found)


def test_fences_and_tables_stay_whole_where_they_fit(tmp_path):
    fence = "```py\n# no heading\n\nx = 1\n```"
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | two |" for n in range(5))
    found = parts(tmp_path, f"# A\n\n{LONG}\n\n{fence}\n\n{LONG}\n\n{table}\n\n{LONG}\n", chunk_tokens=90)
    assert len(found) > 3
    assert sum(fence in d.text for d in found) == sum(table in d.text for d in found) == 1


def test_code_and_tables_that_are_cut_begin_and_end_as_such(tmp_path):
    found = [text_below_path(d) for d in parts(tmp_path, BLOCKS, chunk_tokens=100)]
    code = [text for text in found if "value_" in text]
    assert len(code) > 2
    assert all(text.count("```py\n") == 1 and text.count("```") == 2 for text in code)
    rows = [text for text in found if "| name " in text]
    assert len(rows) > 2
    assert all(text.count("| name | meaning |\n|------|---------|\n") == 1 for text in rows)


def test_cuts_are_between_blocks_then_sentences_then_words(tmp_path):
    (tmp_path / "a.txt").write_text("one two three\n\nfour five six\n \nseven")
    (tmp_path / "b.txt").write_text("One two. Three four five. Six.")
    (tmp_path / "c.txt").write_text("one two three four five six seven eight nine ten eleven twelve thirteen")
    found = list(Corpus(tmp_path, ReadOptions(split="paragraphs", max_words=6)))
    texts = {name: [d.text for d in found if d.metadata["file"] == name] for name in ("a.txt", "b.txt", "c.txt")}
    assert texts["a.txt"] == ["one two three", "four five six\n\nseven"]
    assert texts["b.txt"] == ["One two.", "Three four five. Six."]
    assert " ".join(texts["c.txt"]) == (tmp_path / "c.txt").read_text()


@pytest.mark.parametrize("chunk_tokens", [20, 60, 200])
def test_nothing_is_lost_or_repeated_without_an_overlap(tmp_path, chunk_tokens):
    text = BLOCKS.partition("```py")[0] + "x" * 3_000 + "\n\n" + "漢字かな。" * 300
    found = parts(tmp_path, text, chunk_tokens=chunk_tokens)
    assert "".join("".join(text_below_path(d) for d in found).split()) == "".join(text.removeprefix("# Guide").split())


def test_an_overlap_repeats_the_end_of_the_part_before(tmp_path):
    text = "# A\n\n" + " ".join(f"Sentence {n} ends." for n in range(100)) + "\n\n# B\n\nThe end of it."
    found = [text_below_path(d) for d in parts(tmp_path, text, chunk_tokens=60, overlap=12)]
    of_a, of_b = found[:-1], found[-1]
    for before, after in itertools.pairwise(of_a):
        repeated = after.partition("Sentence")[1] + after.partition("Sentence")[2].partition(" Sentence")[0]
        assert repeated in before
    assert of_b == "The end of it."


def test_what_does_not_go_together_is_refused(tmp_path):
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(ConfigurationError, match=r"overlap of 80 tokens is more than half of a part of 100"):
        Corpus(tmp_path, ReadOptions(split="headings", chunk_tokens=100, overlap=80))
    with pytest.raises(ConfigurationError, match=r"cannot be told from a function that counts them; give chunk_tokens"):
        Corpus(tmp_path, ReadOptions(split="headings"), tokens=len)
    with pytest.raises(ConfigurationError, match=r"counted by an encoder or a function, found a int"):
        Corpus(tmp_path, ReadOptions(split="headings"), tokens=5)


# Rows, and other splitters


def test_rows_are_split_as_files_are(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"id": "x", "text": "one two\\n\\nthree four", "k": 1}\n{"id": "y", "text": "z"}\n'
    )
    found = list(Corpus(tmp_path / "a.jsonl", ReadOptions(split="paragraphs", max_words=2)))
    assert [(d.text, d.metadata["k"]) for d in found[:2]] == [("one two", 1), ("three four", 1)]
    assert [d.metadata["part_of"] for d in found] == ["x", "x", "y"]
    assert found[2].id == "y"


def test_a_document_without_text_is_still_noticed_when_splitting(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text(" ")
    (tmp_path / "c.md").write_text("<!-- nothing -->\n\n[a]: http://example.org\n")
    checked = Corpus(tmp_path, ReadOptions(split="headings", skip_empty=True)).check()
    assert (len(checked), checked.left_out) == (1, 2)


def langchain_splitters():
    splitters = pytest.importorskip("langchain_text_splitters")
    yield splitters.RecursiveCharacterTextSplitter(chunk_size=120, chunk_overlap=0)
    yield splitters.MarkdownHeaderTextSplitter([("#", "h1"), ("##", "h2")])


def llama_index_parsers():
    parsers = pytest.importorskip("llama_index.core.node_parser")
    yield parsers.MarkdownNodeParser()
    yield parsers.SentenceSplitter(chunk_size=60, chunk_overlap=0, tokenizer=str.split)


@pytest.mark.parametrize("made", [langchain_splitters, llama_index_parsers, lambda: [str.splitlines]])
def test_any_splitter_will_do(tmp_path, made):
    (tmp_path / "a.md").write_text(GUIDE)
    (tmp_path / "b.md").write_text(" ")
    for splitter in made():
        corpus = Corpus(tmp_path, ReadOptions(skip_empty=True), splitter=splitter).check()
        found = list(corpus)
        assert len(found) > 2
        assert corpus.left_out == 1
        assert len({d.id for d in found}) == len(found)
        assert "".join("".join(d.text for d in found).split()).count("Teaisbrewed") == GUIDE.count("Tea is brewed")


def test_a_splitter_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(ConfigurationError, match=r"splitter must split a text, found a int"):
        Corpus(tmp_path, splitter=5)
    with pytest.raises(ConfigurationError, match=r"have a splitter, and options for splitting besides"):
        Corpus(tmp_path, ReadOptions(split="headings"), splitter=str.split)
    with pytest.raises(ConfigurationError, match=r"must return a list of texts, found a str"):
        list(Corpus(tmp_path, splitter=lambda text: text))
    with pytest.raises(ConfigurationError, match=r"must return texts, documents or nodes, found a int"):
        list(Corpus(tmp_path, splitter=lambda text: [1]))


# Plain text

MANUAL = f"""brew(1)
=======

NAME
----
brew - make tea

# Not a title

Run this:
----
$ brew
# a comment
----

[NOTE]
------
{LONG}

--hot::

  {LONG}
OPTIONS
-------
{LONG}

------
brew 1
------

=====
Again
=====

* a
# b
---

{LONG}
"""


def test_plain_text_has_no_headings_but_titles_underlined_from_end_to_end(tmp_path):
    found = parts(tmp_path, MANUAL, "a.txt")
    assert list(dict.fromkeys(d.metadata["heading_path"] for d in found)) == [
        "brew(1) > NAME",
        "brew(1) > NAME > Again",
    ]
    whole = "".join("".join(text_below_path(d) for d in found).split())
    below = MANUAL.replace("brew(1)\n=======", "").replace("NAME\n----", "").replace("=====\nAgain\n=====", "")
    assert whole == "".join(below.split())
    assert parts(tmp_path, MANUAL.replace("\n", "\r\n"), "a.txt") == found
    assert all("heading" not in d.metadata for d in parts(tmp_path, "# Tea\n\ntext\n\n## Hot\n", "a.txt"))


def test_what_announces_the_next_paragraph_stays_with_it(tmp_path):
    for name, lead in (("a.txt", "--hot::"), ("a.md", "Like this:"), ("a.md", "- item\n\n  So:")):
        for path in tmp_path.iterdir():
            path.unlink()
        follow = "  indented\n  text" if name == "a.txt" else "  ```\n  brew\n  ```"
        found = parts(
            tmp_path, f"{LONG}\n\n{lead}\n\n{follow}\n\n{LONG}", name, chunk_tokens=words(LONG) + words(lead) + 1
        )
        assert sum(lead in d.text for d in found) == 1
        assert all(d.text.rstrip()[-1] != ":" for d in found)


def test_an_item_that_is_cut_begins_again_as_it_began(tmp_path):
    nested = (
        f"* `hot` {{boolean}}\n  * `a` {LONG}\n  * `b` {LONG}\n* `cold`\n\n  {LONG}{LONG}\n\n  ```sh\n  brew\n  ```\n"
    )
    found = [d.text for d in parts(tmp_path, nested, chunk_tokens=80)]
    assert len(found) > 3
    assert all(text.startswith("* `hot`") for text in found if "* `a`" in text or "* `b`" in text)
    assert all("* `cold`" in text for text in found if "brew\n" in text)
    [long] = {text for text in found if text.count("Tea is") and "`a`" in text}
    assert "* `a`" in long


def test_the_sources_of_a_sphinx_page_are_what_they_are(tmp_path):
    found = parts(tmp_path, f"Tea\n===\n\n.. note:: {LONG}\n", "a.rst.txt")
    assert [d.metadata["heading"] for d in found] == ["Tea"]
    assert ".. note" not in found[0].text
    found = parts(tmp_path, f"# Milk\n\n{LONG}\n", "b.md.txt")
    assert [d.metadata["heading"] for d in found] == ["Tea", "Milk"]


def calls_in(run):
    """The number of functions called meanwhile, steps of generators included."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("chunk_tokens", [100, 1_000_000])
def test_repeated_headings_take_work_in_proportion_to_their_number(tmp_path, chunk_tokens):
    def work(number):
        (tmp_path / "a.md").write_text("## Notes\nA text.\n\n" * number)
        corpus = Corpus(tmp_path / "a.md", ReadOptions(split="headings", chunk_tokens=chunk_tokens))
        return calls_in(lambda: list(corpus))

    work(10)  # what is imported and compiled once
    assert work(400) < 2.5 * work(200)


@pytest.mark.parametrize("share", [0, 0.5])
def test_pieces_longer_together_than_apart_are_counted_in_proportion_to_their_number(tmp_path, share):
    def counted(number):
        sizes = []

        def length(text):
            sizes.append(len(text))
            return len(text)

        text = "# A\n\n" + "word\n\n" * number
        parts(tmp_path, text, tokens=length, chunk_tokens=number * 3, overlap=int(number * 3 * share))
        return sum(sizes)

    assert counted(800) < 2.6 * counted(400)
