"""Whatever goes wrong: one line that says what and the way out, no traceback, the right exit code, and nothing lost."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from services import PaidService
from tiny import CORPUS

from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.segment_writer import SegmentWriter

GOOD = '{"id": "good", "text": "a good text"}\n'


def arguments_of(command: str, source: Path, tmp_path: Path, model_folder: Path) -> list[object]:
    """What each command that reads a source is called with."""
    if command in ("fit", "index"):
        return [command, source, "--out", tmp_path / "out", "--model", model_folder]
    return [command, tmp_path / "index", source]


def assert_one_line(result, *parts: str) -> None:
    assert result.exit_code == 1, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stderr.splitlines()[-1] == line
    for part in parts:
        assert part in line


@pytest.mark.parametrize("command", ["fit", "index", "add", "drift"])
@pytest.mark.parametrize(
    ("content", "options", "parts"),
    [
        (None, [], ["does not exist", "give a file or a folder"]),
        ("", [], ["has no rows"]),
        (GOOD + "{broken\n", [], ["bad.jsonl:2 is not valid JSON"]),
        (GOOD, ["--text", "body"], ["no column 'body', only ['id', 'text']", "--text"]),
        (GOOD + GOOD, [], ["bad.jsonl:2 has the id 'good', which", "bad.jsonl:1 already has"]),
        (GOOD + '{"id": 7, "text": "x"}\n', [], ["bad.jsonl:2 has the id 7", "--ids-as-text"]),
        (GOOD + '{"id": "x", "text": null}\n', [], ["bad.jsonl:2 has no text", "--skip-empty"]),
        (GOOD + '{"id": "x", "text": "\udce9"}\n', [], ["not utf-8 text: byte 59 (in line 2) is 0xe9", "--encoding"]),
        (GOOD, ["--encoding", "utf-9"], ["encoding 'utf-9' is unknown"]),
        (GOOD, ["--number", "n"], ["numbers= is for csv"]),
    ],
    ids=["missing", "empty", "broken", "column", "twice", "number", "null", "bytes", "encoding", "number-option"],
)  # fmt: skip
def test_a_bad_source_is_refused_before_anything_is_written(
    run, indexed, tmp_path, model_folder, command, content, options, parts
):
    bad = tmp_path / "bad.jsonl"
    if content is not None:
        bad.write_bytes(content.encode("utf-8", "surrogateescape"))
    result = run(*arguments_of(command, bad, tmp_path, model_folder), *options)
    assert_one_line(result, *parts)
    assert not (tmp_path / "out").exists()
    index = ContextualIndex.open(indexed)
    assert (len(index), index.generation) == (54, 1)


@pytest.mark.parametrize("command", ["fit", "index", "add", "drift"])
def test_an_unreadable_file_is_named(run, indexed, source, tmp_path, model_folder, command, monkeypatch):
    # The permissions themselves do not stop the superuser, who may be running this.
    plain = open

    def refusing(path, *arguments, **options):
        if Path(path) == tmp_path / "secret.jsonl":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path, *arguments, **options)

    (tmp_path / "secret.jsonl").write_text(GOOD)
    monkeypatch.setattr("builtins.open", refusing)
    result = run(*arguments_of(command, tmp_path / "secret.jsonl", tmp_path, model_folder))
    assert_one_line(result, "secret.jsonl cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "there is no space left on the device"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "you may not write there"),
    ],
)
@pytest.mark.parametrize("command", ["index", "add", "refit"])
def test_where_nothing_can_be_written_nothing_is_lost(
    run, indexed, source, more, tmp_path, model_folder, monkeypatch, command, code, reason
):
    calls = {
        "index": ["index", source, "--out", tmp_path / "out", "--model", model_folder, "--batch-size", 20],
        "add": ["add", indexed, more],
        "refit": ["refit", indexed, "--seed", 1, "--batch-size", 20],
    }
    write, written = SegmentWriter.write, []

    def full(self, documents, vectors):
        written.append(1)
        if len(written) == (1 if command == "add" else 2):
            raise OSError(code, "as the system says it")
        write(self, documents, vectors)

    monkeypatch.setattr(SegmentWriter, "write", full)
    assert_one_line(run(*calls[command]), f"cannot write to {tmp_path}", reason, "try again")
    monkeypatch.undo()
    assert len(ContextualIndex.open(indexed)) == 54
    assert ContextualIndex.open(indexed).search("red cat", k=3)
    result = run(*calls[command], "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    if command != "add":
        assert (answer["documents"], answer["embedded"]) == (54, 34)


def test_an_index_over_another_librarys_embedding_says_how_it_is_searched(run, more, tmp_path):
    service = PaidService()
    embedder = WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query)
    ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    for command in (["search", tmp_path / "index", "red cat"], ["add", tmp_path / "index", more]):
        assert_one_line(run(*command), "'paid-1' of another library", "WhitenedEmbeddings(base=...)")


def test_a_context_that_cannot_be_written_is_not_half_there(run, source, tmp_path, model_folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cde_retrievers.context.persistence.save_file", full)
    result = run("fit", source, "--out", tmp_path / "out", "--model", model_folder)
    assert_one_line(result, "there is no space left on the device", "no context was written")
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


@pytest.mark.parametrize("command", ["index", "add", "refit"])
def test_a_second_writer_is_refused_and_learns_who_is_first(
    run, indexed, source, more, tmp_path, model_folder, command
):
    calls = {
        "index": ["index", source, "--out", tmp_path / "out", "--model", model_folder],
        "add": ["add", indexed, more],
        "refit": ["refit", indexed],
    }
    held = tmp_path / "out" if command == "index" else indexed
    held.mkdir(exist_ok=True)
    with writer_lock(held, "testing"):
        assert_one_line(run(*calls[command]), "is being written to by process", "testing, since")
    assert run(*calls[command]).exit_code == 0


@pytest.mark.parametrize("command", ["search", "add", "check", "drift", "refit", "info"])
def test_where_there_is_no_index_that_is_said(run, source, tmp_path, command):
    more = {"search": ["cat"], "add": [source], "drift": [source]}.get(command, [])
    assert_one_line(
        run(command, tmp_path / "nowhere", *more), "holds no index", "`cde-retrievers index` makes an index"
    )


def test_an_index_is_not_overwritten(run, indexed, source, model_folder):
    result = run("index", source, "--out", indexed, "--model", model_folder)
    commands = (f"`cde-retrievers sync {indexed}`", "cde-retrievers add", "cde-retrievers refit")
    assert_one_line(result, "already holds an index", *commands)


def test_other_files_are_not_overwritten(run, source, model_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    for command in ("fit", "index"):
        result = run(command, source, "--out", tmp_path / "out", "--model", model_folder)
        assert_one_line(result, "already holds other files")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize("command", ["fit", "index"])
def test_what_is_written_cannot_be_inside_of_what_is_read(run, tmp_path, model_folder, command):
    (tmp_path / "docs").mkdir()
    result = run(command, tmp_path / "docs", "--out", tmp_path / "docs" / "index", "--model", model_folder)
    assert result.exit_code == 2
    assert "inside the source" in result.stderr


def test_a_filter_on_a_missing_field_names_those_there_are(run, indexed):
    result = run("search", indexed, "cat", "--filter", '{"year": 2020}')
    assert_one_line(result, "no document has the metadata field 'year'", "['file', 'n', 'row', 'topic']")


def test_a_misspelt_field_of_a_filter_is_answered_with_its_name_and_an_example_that_works(run, indexed):
    result = run("search", indexed, "cat", "--filter", '{"topik": "cat"}')
    assert_one_line(result, "'topik'; did you mean 'topic'?")
    example = result.stderr.partition("in JSON ")[2].rpartition(" (")[0]
    assert json.loads(example) == {"topik": {"$eq": "me", "$exists": True}}
    assert run("search", indexed, "cat", "--filter", example).exit_code == 0


@pytest.mark.parametrize(("text", "code"), [("{year: 2020}", 2), ('{"n": {"$near": 3}}', 1), ("[1]", 1)])
def test_a_filter_that_is_none_is_refused(run, indexed, text, code):
    result = run("search", indexed, "cat", "--filter", text)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("wrong", [["-k", "0"], ["--kind", "tree"], ["--nonsense"]])
def test_wrong_usage_has_its_own_exit_code(run, indexed, wrong):
    assert run("search", indexed, "cat", *wrong).exit_code == 2


def test_a_context_of_another_model_is_refused(run, indexed, source, other_folder, tmp_path):
    from cde_retrievers import ContextualEncoder

    other = ContextualEncoder.from_biencoder(other_folder, "whitening", device="cpu", dtype="float32", context_size=16)
    other.save(tmp_path / "model")
    assert_one_line(run("search", indexed, "cat", "--model", tmp_path / "model"), "was fitted by model")
    assert run("fit", source, "--out", tmp_path / "context", "--model", tmp_path / "model").exit_code == 0
    assert_one_line(run("refit", indexed, "--context", tmp_path / "context"), "was fitted by model")
    assert len(ContextualIndex.open(indexed)) == 54


def test_a_model_that_was_moved_can_be_named(run, answer, source, model_folder, tmp_path):
    moved = tmp_path / "model"
    shutil.copytree(model_folder, moved)
    answer("index", source, "--out", tmp_path / "index", "--model", moved)
    moved.rename(tmp_path / "elsewhere")
    assert_one_line(run("search", tmp_path / "index", "cat"), "was not found", "say where it is with --model")
    assert answer("search", tmp_path / "index", "cat", "--model", tmp_path / "elsewhere")["hits"]


def test_a_device_that_is_not_there_is_refused(run, source, tmp_path, model_folder):
    arguments = ["index", source, "--out", tmp_path / "out", "--model", model_folder]
    assert_one_line(run(*arguments, device="cuda:99"), "use one of")
    assert_one_line(run(*arguments, dtype="int4"), "dtype 'int4' is unknown")
    assert_one_line(run(*arguments, "--precision", "int8", dtype="auto"), "the torch backend has no int8; use backend=")
    assert_one_line(run(*arguments, "--backend", "onnx"), "dtype is a setting of the torch backend")
    assert not (tmp_path / "out").exists()


def test_an_unexpected_error_of_the_system_is_one_line_too(run, indexed, monkeypatch):
    def failing(*arguments, **options):
        raise OSError(errno.EIO, "Input/output error", "somewhere")

    monkeypatch.setattr(ContextualIndex, "open", failing)
    assert_one_line(run("info", indexed), "Input/output error")


def test_a_mistake_of_ours_does_not_look_like_one_of_theirs(run, indexed, monkeypatch):
    def failing(*arguments, **options):
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(ContextualIndex, "open", failing)
    assert_one_line(run("info", indexed), "unexpected ZeroDivisionError: division by zero", "--verbose shows where")
    shown = run("info", indexed, "--verbose")
    assert shown.exit_code == 1
    assert "Traceback" in shown.stderr
    assert "in failing" in shown.stderr


def test_verbose_shows_where_an_error_arose(run, tmp_path):
    result = run("info", tmp_path, "--verbose")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
