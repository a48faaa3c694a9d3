"""How a source is read for an index that has sources: as before, and options that differ are refused with both."""

from dataclasses import fields

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.recorded_source import changed_files, options_like_before, recorded_source
from cde_retrievers.errors import ConfigurationError

# Two values of every option, the second its default where it can be given as such.
VALUES = {
    "format": ("csv", "jsonl"),
    "encoding": ("latin-1", "utf-8"),
    "endings": ((".log",), (".txt",)),
    "text": (("a", "b"), ("text",)),
    "id": ("number", "id"),
    "metadata": (("a",), ("b",)),
    "numbers": (("n",), ("m",)),
    "delimiter": (";", ","),
    "ids_as_text": (True, False),
    "id_prefix": ("x/", ""),
    "skip_empty": (True, False),
    "skip_errors": (True, False),
    "split": ("headings", "paragraphs"),
    "chunk_tokens": (100, 50),
    "overlap": (20, 0),
    "max_words": (60, 50),
    "max_characters": (1_000, 2_000),
    "follow_links": (True, False),
}
NEEDED = {name: {"split": "headings"} for name in ("chunk_tokens", "overlap", "max_words")}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.md").write_text("tea")
    return tmp_path


def record(folder, **reading):
    read = Corpus(folder).check()
    found = recorded_source(read.corpus, read.read)
    known = {name: list(value) if isinstance(value, tuple) else value for name, value in reading.items()}
    return found.model_copy(update={"reading": {**found.reading, **known}})


def test_every_option_is_tried():
    assert set(VALUES) == {field.name for field in fields(ReadOptions)}


@pytest.mark.parametrize("name", VALUES)
def test_an_option_of_the_same_source_is_kept_and_another_value_is_refused(folder, name):
    one, other = VALUES[name]
    needed = NEEDED.get(name, {})
    known = [record(folder, **needed, **{name: one})]
    assert getattr(options_like_before(folder, {}, known), name) == one
    assert getattr(options_like_before(folder, {name: one}, known), name) == one
    with pytest.raises(ConfigurationError) as caught:
        options_like_before(folder, {name: other}, known)
    for value in (one, other):
        assert f"{name}={list(value) if isinstance(value, tuple) else value!r}" in str(caught.value)
    assert "--as-given" in str(caught.value)
    with pytest.raises(ConfigurationError, match=f"{name}=.*{name}="):  # it was left out before
        options_like_before(folder, {name: one}, [record(folder, **needed)])


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"id_prefix"}))
def test_a_new_source_is_read_as_the_others_and_another_value_is_refused(folder, name):
    one, other = VALUES[name]
    needed = NEEDED.get(name, {})
    known = [record(folder, **needed, **{name: one})]
    new = folder / "new"
    assert getattr(options_like_before(new, {}, known), name) == one
    assert getattr(options_like_before(new, {name: one}, known), name) == one
    with pytest.raises(ConfigurationError, match=f"{name}=.*{name}="):
        options_like_before(new, {name: other}, known)
    assert getattr(options_like_before(new, {name: one}, [record(folder, **needed)]), name) == one


def test_a_prefix_is_of_one_source(folder):
    known = [record(folder, id_prefix="x/")]
    assert options_like_before(folder / "new", {}, known).id_prefix == ""
    assert options_like_before(folder / "new", {"id_prefix": "y/"}, known).id_prefix == "y/"


@pytest.mark.parametrize(("name", "rival"), [("chunk_tokens", "max_words"), ("max_words", "chunk_tokens")])
def test_the_two_ways_to_say_how_long_a_part_is_are_one_option(folder, name, rival):
    known = [record(folder, split="headings", **{name: 100})]
    for path in (folder, folder / "new"):
        with pytest.raises(ConfigurationError, match=f"{name}=100.*{rival}=50"):
            options_like_before(path, {rival: 50}, known)


def test_values_that_mean_the_same_are_the_same(folder):
    known = [record(folder)]
    assert options_like_before(folder, {"encoding": "UTF8"}, known).encoding == "UTF8"
    assert options_like_before(folder, {"format": "text"}, known).format == "text"
    with pytest.raises(ConfigurationError, match="format=None, but format='csv'"):
        options_like_before(folder, {"format": "csv"}, known)


def test_files_can_be_compared_without_the_model_that_counted_the_tokens(folder):
    known = record(folder, split="headings", overlap=200)  # more than half of a part that is counted without a model
    assert changed_files(known) == []
    (folder / "a.md").write_text("coffee")
    assert changed_files(known) == ["a.md"]
