"""Files of any bytes, for every reader: documents or an error of ours."""

import gzip
import json
import tempfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from fuzzed import cases, only_our_errors
from hostile import anything, mutated_bytes
from hypothesis import example, given
from hypothesis import strategies as st

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.errors import CDEError
from cde_retrievers.retrieval.document import checked_document

ROWS = [{"id": f"r{i}", "text": f"a red cat\n\n## and {i} dogs", "n": i, "metadata": {"b": [i]}} for i in range(3)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
VALID = {
    "a.txt": b"# One\n\nA red cat.\n\n## Two\n\n* a dog\n",
    "a.md": b"# One\n\n```\n# no heading\n```\n\nTwo\n---\n\nthree",
    "a.jsonl": JSONL,
    "a.csv": b'id,text,n\r\nr0,"a red ""cat""",1\r\nr1,"two\r\nlines",2.5\r\n',
    "a.tsv": b"id\ttext\tn\nr0\ta red cat\t1\n",
    "a.jsonl.gz": gzip.compress(JSONL, mtime=0),
    "a.csv.gz": gzip.compress(b"id,text\nr0,cat\n", mtime=0),
}
OPTIONS = [
    ReadOptions(),
    ReadOptions(split="headings", max_words=2),
    ReadOptions(split="paragraphs"),
    ReadOptions(skip_empty=True, ids_as_text=True),
    ReadOptions(encoding="utf-16"),
    ReadOptions(encoding="shift_jis"),
    ReadOptions(numbers=("n",)),
    ReadOptions(text=("text", "n"), id="id", metadata=()),
    ReadOptions(max_characters=20),
]


def parquet():
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file.getvalue()


def read_fully(name, content, reading):
    """Everything that can be done with a source; what it gives can be stored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        for source in (path, folder):
            with only_our_errors():
                corpus = Corpus(source, reading)
                for document in corpus:
                    with suppress(CDEError):
                        checked_document(document, 0)
                checked = corpus.check()
                assert len(list(checked)) == len(checked)


@pytest.mark.parametrize("name", VALID)
@cases(40)
@given(data=st.data())
def test_damaged_files(name, data):
    content = data.draw(mutated_bytes(VALID[name]))
    read_fully(name, content, data.draw(st.sampled_from(OPTIONS)))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
@cases(30)
@given(data=st.data())
def test_damaged_content_of_sound_archives(name, data):
    content = data.draw(mutated_bytes(VALID[name.removesuffix(".gz")]))
    read_fully(name, gzip.compress(content, mtime=0), data.draw(st.sampled_from(OPTIONS)))


@cases(75)
@given(data=st.data())
def test_damaged_parquet_files(data):
    read_fully("a.parquet", data.draw(mutated_bytes(parquet())), data.draw(st.sampled_from(OPTIONS)))


@cases(100)
@given(rows=st.lists(anything, max_size=3), data=st.data())
def test_rows_of_any_json(rows, data):
    with suppress(TypeError, ValueError, RecursionError):  # what JSON cannot write is another test's
        content = "".join(json.dumps(row, default=lambda value: type(value).__name__) + "\n" for row in rows).encode(
            "utf-8", "surrogatepass"
        )
        read_fully("a.jsonl", content, data.draw(st.sampled_from(OPTIONS)))


CHOICES = {
    "format": st.sampled_from([None, "text", "jsonl", "csv", "parquet", "beir"]),
    "encoding": st.sampled_from(["utf-8", "latin-1", "utf-16", "utf-7", "idna", "punycode", "unicode_escape", "hex"]),
    "endings": st.sampled_from([(), (".csv",), [".txt"]]),
    "text": st.sampled_from([(), ("text",), ("n", "text")]),
    "id": st.sampled_from([None, "id", "n"]),
    "metadata": st.sampled_from([None, (), ("n",)]),
    "numbers": st.sampled_from([(), ("n",)]),
    "delimiter": st.one_of(st.none(), st.characters(codec=None)),
    "ids_as_text": st.booleans(),
    "id_prefix": st.text(st.characters(codec=None), max_size=2),
    "skip_empty": st.booleans(),
    "split": st.sampled_from([None, "paragraphs", "headings"]),
    "max_words": st.sampled_from([None, 1, 2**62, 2**63, 2**70]),
    "max_characters": st.sampled_from([None, 1, 50, 2**62, 2**63 - 1, 2**63, 2**70]),
    "follow_links": st.booleans(),
}


@st.composite
def choices(draw):
    names = draw(st.sets(st.sampled_from(sorted(CHOICES)), max_size=4))
    hostile = draw(st.sets(st.sampled_from(sorted(names)), max_size=1)) if names else set()
    return {name: draw(anything if name in hostile else CHOICES[name]) for name in sorted(names)}


@cases(100)
@given(chosen=choices(), name=st.sampled_from(sorted(VALID)))
@example(chosen={"max_characters": 2**63}, name="a.txt")
@example(chosen={"max_characters": 2**62}, name="a.txt")
def test_any_choices(chosen, name):
    with only_our_errors():
        read_fully(name, VALID[name], ReadOptions(**chosen))


@cases(50)
@given(path=anything, reading=anything)
def test_what_is_no_source(path, reading):
    for given_reading in (None, reading):
        with only_our_errors():
            Corpus(path, given_reading)
