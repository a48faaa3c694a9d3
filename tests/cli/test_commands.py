"""Each command does what the library does, and says so to people and to programs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from approximate import approximate_from
from exchanged import killed_between_renames
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.index import ContextualIndex
from cde_retrievers.retrieval.document import Document


@pytest.fixture
def context(answer, source, model_folder, tmp_path):
    answer("fit", source, "--out", tmp_path / "context", "--model", model_folder)
    return tmp_path / "context"


@pytest.fixture
def indexed_without_words(answer, context, source, tmp_path):
    """An index as earlier releases made them."""
    replace(CorpusContext.load(context), terms=None).save(tmp_path / "old_context")
    answer("index", source, "--out", tmp_path / "old", "--context", tmp_path / "old_context")
    return tmp_path / "old"


def write_rows(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def interrupt_the_second_batch(monkeypatch) -> None:
    """As Ctrl-C does, at a moment that is known."""
    encode = ContextualEncoder.encode_documents
    calls = []

    def interrupted(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, *arguments, **options)

    monkeypatch.setattr(ContextualEncoder, "encode_documents", interrupted)


def test_fit_saves_the_context_that_the_library_fits(answer, source, model_folder, tmp_path):
    options = ["--model", model_folder, "--size", 8, "--strategy", "kmeans", "--seed", 3]
    found = answer("fit", source, "--out", tmp_path / "context", *options)
    encoder = ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")
    expected = encoder.fit_context(CORPUS, 8, "kmeans", 3)
    assert CorpusContext.load(tmp_path / "context") == expected
    assert (found["fingerprint"], found["documents"], found["context_documents"]) == (expected.fingerprint, 54, 8)


def test_fit_replaces_a_context_only_on_request(run, answer, context, source, model_folder):
    again = ["fit", source, "--out", context, "--model", model_folder, "--seed", 1]
    before = CorpusContext.load(context)
    result = run(*again)
    assert (result.exit_code, CorpusContext.load(context)) == (1, before)
    assert "--replace" in result.stderr
    answer(*again, "--replace")
    assert CorpusContext.load(context) != before


def test_index_builds_what_the_library_builds(indexed, source, model_folder):
    index = ContextualIndex.open(indexed)
    encoder = ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")
    assert index.context == encoder.fit_context(CORPUS)
    assert list(index.documents())[7] == Document(
        CORPUS[7], "d7", {"file": source.name, "row": 8, "n": 7, "topic": CORPUS[7].split()[1]}
    )
    assert [hit.id for hit in index.search(QUERIES[0], k=5)]


def test_index_uses_a_context_and_its_model_if_given(answer, context, more, tmp_path):
    found = answer("index", more, "--out", tmp_path / "other", "--context", context)
    assert found["context"] == CorpusContext.load(context).fingerprint
    assert found["documents"] == 2


def test_a_model_in_a_folder_is_found_from_another_directory(run, answer, source, model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(model_folder.parent)
    answer("index", source, "--out", tmp_path / "index", "--model", model_folder.name)
    monkeypatch.chdir(tmp_path)
    assert len(answer("search", "index", "red cat")["hits"]) == 10


def test_index_goes_on_where_it_was_interrupted_and_says_so(run, source, model_folder, tmp_path, monkeypatch):
    command = ["index", source, "--out", tmp_path / "index", "--model", model_folder, "--batch-size", 20]
    interrupt_the_second_batch(monkeypatch)
    result = run(*command)
    assert result.exit_code == 130
    assert "interrupted. 20 documents are done and kept" in result.stderr
    assert "give the same command again" in result.stderr
    monkeypatch.undo()
    unfinished = run("search", tmp_path / "index", "cat")
    assert unfinished.exit_code == 1
    assert "is not finished" in unfinished.stderr
    result = run(*command, "--json")
    assert "continuing where it was interrupted, with 20 documents done" in result.stderr
    assert (json.loads(result.stdout)["documents"], json.loads(result.stdout)["embedded"]) == (54, 34)
    assert sorted(ContextualIndex.open(tmp_path / "index").ids()) == sorted(f"d{i}" for i in range(54))


@pytest.mark.parametrize("options", [[], ["--no-progress"], ["--json"]])
def test_without_a_terminal_lines_say_how_far_it_is(run, source, model_folder, tmp_path, monkeypatch, options):
    monkeypatch.setattr("cde_retrievers.util.progress._BETWEEN_LINES", 0.0)
    result = run("index", source, "--out", tmp_path / "index", "--model", model_folder, *options)
    assert ("Indexing: 54 of 54 documents" in result.stderr.splitlines()) is (options != ["--no-progress"])
    assert "Indexing" not in result.stdout


def test_index_goes_on_after_its_documents_were_changed(run, source, model_folder, tmp_path, monkeypatch):
    command = ["index", source, "--out", tmp_path / "index", "--model", model_folder, "--batch-size", 20]
    interrupt_the_second_batch(monkeypatch)
    assert run(*command).exit_code == 130
    monkeypatch.undo()
    rows = source.read_text().splitlines(keepends=True)
    source.write_text("".join(['{"id": "new", "text": "a purple whale"}\n', *rows[5:]]))
    result = run(*command, "--json")
    assert result.exit_code == 0, result.stderr
    assert "with 20 documents done" in result.stderr
    assert "15 of them have a vector already" in " ".join(result.stderr.split())
    assert json.loads(result.stdout)["embedded"] == 50 - 15
    assert list(ContextualIndex.open(tmp_path / "index").ids()) == ["new", *(f"d{i}" for i in range(5, 54))]


def test_add_goes_on_where_it_was_interrupted(run, answer, indexed, source, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.contextual_index.BATCH", 20)
    source.write_text(source.read_text().replace('"text": "', '"text": "again '))
    command = ["add", indexed, source, "--id-prefix", "new/"]
    interrupt_the_second_batch(monkeypatch)
    result = run(*command)
    assert result.exit_code == 130
    assert "The index is whole and has 20 documents more than before" in result.stderr
    assert "--upsert" in result.stderr
    monkeypatch.undo()
    found = answer(*command, "--upsert")
    assert (found["added"], found["unchanged"], found["documents"]) == (34, 20, 108)


def test_refit_goes_on_where_it_was_interrupted(run, answer, indexed, monkeypatch):
    command = ["refit", indexed, "--seed", 4, "--batch-size", 20]
    interrupt_the_second_batch(monkeypatch)
    result = run(*command)
    assert result.exit_code == 130
    assert "The index serves as before; 20 documents are embedded again and kept" in result.stderr
    monkeypatch.undo()
    assert ContextualIndex.open(indexed).context.seed == 0
    assert answer("info", indexed)["refit_interrupted_at"] == 20
    found = answer(*command)
    assert (found["documents"], found["embedded"]) == (54, 34)
    assert ContextualIndex.open(indexed).context.seed == 4


def test_an_interruption_before_anything_is_done_is_no_resumption(run, source, model_folder, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(ContextualEncoder, "fit_context", interrupted)
    result = run("index", source, "--out", tmp_path / "index", "--model", model_folder)
    assert result.exit_code == 130
    assert "No document was embedded yet" in result.stderr


def test_documents_longer_than_the_model_reads_are_counted_once(run, answer, source, model_folder, tmp_path):
    rows = [{"id": f"long{i}", "text": "the cat sleeps " * 30} for i in range(3)]
    with source.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    result = run("index", source, "--out", tmp_path / "index", "--model", model_folder, "--batch-size", 10, "--json")
    assert (json.loads(result.stdout)["cut"], json.loads(result.stdout)["embedded"]) == (3, 57)
    (warning,) = (line for line in result.stderr.splitlines() if "longer than the" in line)
    assert "3 of 57 texts are longer than the 32 tokens that the model reads" in warning
    assert "--split headings" in warning
    split = ["--split", "paragraphs", "--max-words", 20]
    found = answer("index", source, "--out", tmp_path / "parts", "--model", model_folder, *split)
    assert (found["cut"], found["documents"]) == (0, 54 + 3 * 6)


def test_the_remedy_for_long_texts_is_one_that_was_not_taken(run, source, model_folder, tmp_path, indexed):
    long = write_rows(tmp_path / "long.jsonl", [{"id": "long", "text": "the cat sleeps " * 30}])
    for command, remedy in [
        (["add", indexed, long], "Split long texts with --split headings or --split paragraphs."),
        (["add", indexed, long, "--split", "paragraphs", "--max-words", 60, "--as-given"], "Leave --max-words out"),
        (["refit", indexed, "--seed", 3], "Index the documents again in smaller parts"),
    ]:
        said = [line for line in run(*command).stderr.splitlines() if "longer than the 32 tokens" in line]
        assert len(said) == 1
        assert remedy in said[0]


def test_search_gives_the_hits_of_the_library(answer, indexed, model_folder):
    index = ContextualIndex.open(indexed, ContextualEncoder.from_pretrained(model_folder, "cpu", "float32"))
    wanted = {"n": {"$gte": 10}, "topic": "cat"}
    found = answer("search", indexed, QUERIES[1], "-k", 4, "--filter", json.dumps(wanted))
    expected = index.search(QUERIES[1], k=4, filter=wanted)
    assert [(hit["id"], hit["text"], hit["metadata"]) for hit in found["hits"]] == [
        (hit.id, hit.text, hit.metadata) for hit in expected
    ]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([hit.score for hit in expected], abs=1e-5)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_search_takes_a_mode_and_shows_what_each_part_gave(answer, run, indexed, model_folder, mode):
    index = ContextualIndex.open(indexed, ContextualEncoder.from_pretrained(model_folder, "cpu", "float32"))
    found = answer("search", indexed, QUERIES[1], "-k", 4, "--mode", mode)
    assert found["mode"] == mode
    expected = index.search(QUERIES[1], k=4, mode=mode)
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
    for part in ("score", "dense", "lexical"):
        there, theirs = [hit[part] for hit in found["hits"]], [getattr(hit, part) for hit in expected]
        assert there == (theirs if None in theirs else pytest.approx(theirs, abs=1e-5))
    first = run("search", indexed, QUERIES[1], "--mode", mode).stdout.splitlines()[0]
    assert ("cosine" in first, "BM25" in first) == (mode != "lexical", mode != "dense")


def test_search_is_in_the_mode_of_the_index_by_default(answer, indexed):
    by_default, hybrid = (answer("search", indexed, QUERIES[1], *mode) for mode in ([], ["--mode", "hybrid"]))
    assert by_default == hybrid


def test_an_index_without_words_says_how_to_get_them(run, answer, indexed_without_words):
    assert answer("search", indexed_without_words, QUERIES[1])["mode"] == "dense"
    result = run("search", indexed_without_words, QUERIES[1], "--mode", "lexical")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "this index holds vectors alone" in result.stderr
    assert f"; `cde-retrievers refit {indexed_without_words}` adds the words" in result.stderr
    assert "refit()" not in result.stderr
    about = answer("info", indexed_without_words)
    assert (about["mode"], about["language"], about["terms"], about["mean_length"]) == ("dense", None, None, None)
    shown = run("info", indexed_without_words)
    assert "terms" not in shown.stdout
    assert f"`cde-retrievers refit {indexed_without_words}` adds them" in shown.stderr
    answer("refit", indexed_without_words)
    assert answer("info", indexed_without_words)["mode"] == "hybrid"
    assert answer("search", indexed_without_words, QUERIES[1], "--mode", "lexical")["hits"]


def test_by_words_alone_nothing_may_be_found(run, indexed):
    for options, said in (
        ([], "no document shares a word with the query"),
        (["--filter", '{"n": 3}'], "no document that passes the filter shares a word with the query"),
        (["--filter", '{"n": 1000}'], "no document passes the filter"),
    ):
        result = run("search", indexed, "xylophone", "--mode", "lexical", *options)
        assert (result.exit_code, result.stdout, result.stderr.strip()) == (0, "", said)


def test_search_shows_rank_score_id_source_parts_and_the_first_words(run, indexed):
    hit = ContextualIndex.open(indexed).search(CORPUS[3], k=1)[0]
    result = run("search", indexed, CORPUS[3], "-k", 2)
    first, text, blank, second = result.stdout.splitlines()[:4]
    assert first.split("(")[0].split() == [
        *("1.", f"{hit.score:.3f}", "d3", "corpus.jsonl:4"),
        *("cosine", "1.000,", "BM25", f"{hit.lexical:.2f}"),
    ]
    assert first.endswith(f"({', '.join(word for word in CORPUS[3].split() if word not in {'a', 'in', 'the'})})")
    assert (text.strip(), blank.strip()) == (CORPUS[3], "")
    assert second.startswith(" 2. ")


def test_search_shows_whole_texts_on_request(run, answer, model_folder, tmp_path):
    long = write_rows(tmp_path / "long.jsonl", [{"id": i, "text": f"{i} x " * 99 + f"end {i}"} for i in "ab"])
    answer("index", long, "--out", tmp_path / "long", "--model", model_folder)
    assert "end a" not in run("search", tmp_path / "long", "x").stdout
    shown = run("search", tmp_path / "long", "x", "--full").stdout
    assert "end a" in shown
    assert '"file": "long.jsonl"' in shown


def test_documents_cannot_steer_the_terminal(run, answer, model_folder, tmp_path):
    evil = "\x1b[2J\x1b]0;title\x07[bold red]red[/] :smile:"
    rows = write_rows(tmp_path / "evil.jsonl", [{"id": f"\x1b[1m{i}", "text": f"{evil} {i}"} for i in "ab"])
    answer("index", rows, "--out", tmp_path / "evil", "--model", model_folder)
    for option in ([], ["--full"]):
        shown = run("search", tmp_path / "evil", "red", *option).stdout
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "[bold red]red[/] :smile:" in shown


def test_search_says_when_there_is_nothing_to_find(run, indexed):
    result = run("search", indexed, "cat", "--filter", '{"n": 1000}')
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no document passes the filter" in result.stderr


def test_add_brings_in_new_documents(answer, indexed, more):
    found = answer("add", indexed, more)
    assert (found["added"], found["documents"], found["generation"]) == (2, 56, 2)
    assert answer("search", indexed, "a red whale swims", "-k", 1)["hits"][0]["id"] == "m0"


def test_add_refuses_what_is_there_and_upsert_embeds_only_what_changed(run, answer, indexed, source):
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    rows[3]["text"] = "a purple snail"
    write_rows(source, [*rows, {"id": "new", "text": "an orange fox"}])
    result = run("add", indexed, source)
    assert result.exit_code == 1
    assert "has the id 'd0', which is already in the index" in result.stderr
    assert "--upsert" in result.stderr
    assert len(ContextualIndex.open(indexed)) == 54
    found = answer("add", indexed, source, "--upsert")
    assert (found["added"], found["replaced"], found["unchanged"], found["documents"]) == (1, 1, 53, 55)
    assert answer("search", indexed, "a purple snail", "-k", 1)["hits"][0]["id"] == "d3"
    assert answer("add", indexed, source, "--upsert")["unchanged"] == 55


def test_an_id_prefix_tells_sources_apart(answer, indexed, source):
    assert answer("add", indexed, source, "--id-prefix", "second/")["added"] == 54
    assert "second/d0" in ContextualIndex.open(indexed)


def test_prune_removes_what_vanished_from_the_source(run, answer, indexed, source):
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join(lines[:-3]))
    assert answer("add", indexed, source, "--upsert")["removed"] == 0
    assert len(ContextualIndex.open(indexed)) == len(CORPUS)
    result = run("add", indexed, source, "--prune")
    assert result.exit_code == 2
    assert "--upsert" in result.stderr
    found = answer("add", indexed, source, "--upsert", "--prune")
    assert (found["removed"], found["unchanged"], found["documents"]) == (3, len(CORPUS) - 3, len(CORPUS) - 3)
    assert ContextualIndex.open(indexed).ids() == [f"d{i}" for i in range(len(CORPUS) - 3)]
    assert "unchanged, 0 removed; 51 in all" in run("add", indexed, source, "--upsert", "--prune").stdout


def test_prune_leaves_other_sources_alone_where_there_is_a_prefix(answer, indexed, more, tmp_path):
    answer("add", indexed, more, "--id-prefix", "more/")
    more.write_text(more.read_text().splitlines(keepends=True)[0])
    found = answer("add", indexed, more, "--id-prefix", "more/", "--upsert", "--prune")
    assert (found["removed"], found["unchanged"], found["documents"]) == (1, 1, len(CORPUS) + 1)


def test_check_compares_contexts(run, answer, indexed, context, source, model_folder):
    assert answer("check", indexed)["verdict"] is None
    assert answer("check", indexed, "--context", context)["verdict"] == "same context"
    answer("fit", source, "--out", context, "--model", model_folder, "--seed", 9, "--replace")
    found = answer("check", indexed, "--context", context, exit_code=3)
    assert (found["verdict"], found["yours"]) == ("another context", CorpusContext.load(context).fingerprint)
    assert (
        f"another context ({found['context']}, yours is {found['yours']})"
        in run("check", indexed, "--context", context).stdout
    )


def test_an_index_of_vectors_in_fewer_bytes_keeps_them_so(answer, source, more, model_folder, tmp_path):
    index = tmp_path / "signs"
    assert answer("index", source, "--out", index, "--model", model_folder, "--vectors", "binary")["dtype"] == "binary"
    answer("add", index, more)
    answer("refit", index, "--seed", "1")
    about = answer("info", index)
    assert (about["dtype"], about["bytes_per_vector"]) == ("binary", -(-about["width"] // 8))
    assert answer("search", index, "cat")["hits"]


def test_check_names_a_damaged_accelerator_and_search_does_without_it(
    run, answer, source, model_folder, tmp_path, monkeypatch
):
    approximate_from(10, monkeypatch)
    index = tmp_path / "hnsw"
    answer("index", source, "--out", index, "--model", model_folder, "--kind", "hnsw")
    before = answer("search", index, "cat")
    (accelerator,) = index.glob("accelerator-*")
    accelerator.write_bytes(b"")
    found = answer("check", index, exit_code=1)
    assert found["intact"] is False
    assert str(accelerator) in found["problem"]
    assert [hit["id"] for hit in answer("search", index, "cat")["hits"]] == [hit["id"] for hit in before["hits"]]
    assert "until optimize() rebuilds it" in run("search", index, "cat").stderr


def test_check_names_a_damaged_file(run, answer, indexed):
    vectors = next(indexed.glob("segments/*/vectors.safetensors"))
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"x")
    found = answer("check", indexed, exit_code=1)
    assert found["intact"] is False
    assert str(vectors) in found["problem"]
    assert str(vectors) in run("check", indexed).stderr


def test_refit_changes_the_context_and_reports(run, answer, indexed, tmp_path):
    before = ContextualIndex.open(indexed).context
    found = answer("refit", indexed, "--seed", 5)
    after = ContextualIndex.open(indexed)
    assert (found["old_context"], found["new_context"]) == (before.fingerprint, after.context.fingerprint)
    assert (found["documents"], found["embedded"], after.context.seed) == (54, 54, 5)
    assert "nothing was embedded" in run("refit", indexed, "--seed", 5).stdout


def test_refit_judges_with_a_beir_folder(answer, run, indexed, tmp_path):
    (tmp_path / "set" / "qrels").mkdir(parents=True)
    write_rows(tmp_path / "set" / "queries.jsonl", [{"_id": "q", "text": CORPUS[4]}])
    (tmp_path / "set" / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td4\t1\nq\tgone\t1\n")
    pytest.importorskip("ir_measures")
    found = answer("refit", indexed, "--seed", 1, "--judged", tmp_path / "set", "--judged-split", "dev")
    assert (found["ndcg_before"], found["ndcg_after"]) == (1.0, 1.0)
    result = run("refit", indexed, "--seed", 2, "--judged", tmp_path / "set")
    assert "no judgements qrels/test.tsv, only ['dev']" in result.stderr


def test_refit_changes_to_another_model(answer, indexed, other_folder, tmp_path):
    other = ContextualEncoder.from_biencoder(other_folder, "whitening", device="cpu", dtype="float32", context_size=16)
    other.save(tmp_path / "other_model")
    answer("refit", indexed, "--model", tmp_path / "other_model")
    assert ContextualIndex.open(indexed).context.model_fingerprint == other.fingerprint
    assert answer("search", indexed, CORPUS[9], "-k", 1)["hits"][0]["id"] == "d9"


def test_refit_uses_a_context_if_given(answer, indexed, more, model_folder, tmp_path):
    fitted = answer("fit", more, "--out", tmp_path / "newer", "--model", model_folder)
    assert answer("refit", indexed, "--context", tmp_path / "newer")["new_context"] == fitted["fingerprint"]


def test_info_tells_an_index_from_a_context(answer, run, indexed, context):
    about = answer("info", indexed)
    index = ContextualIndex.open(indexed)
    assert (about["what"], about["documents"], about["context"]) == ("index", 54, index.context.fingerprint)
    assert about["metadata_fields"] == ["file", "n", "row", "topic"]
    assert (about["dtype"], about["bytes_per_vector"]) == ("float32", 4 * about["width"])
    assert about["dimensions"] == about["width"]
    assert answer("info", context)["what"] == "context"
    assert index.context.fingerprint in run("info", indexed).stdout


def test_info_shows_the_mode_and_the_terms(answer, run, indexed, context, tmp_path):
    terms = ContextualIndex.open(indexed).context.terms
    expected = ("english", len(terms), terms.mean_length)
    for path in (indexed, context):
        about = answer("info", path)
        assert (about["language"], about["terms"], about["mean_length"]) == expected
    assert answer("info", indexed)["mode"] == "hybrid"
    assert "mode" not in answer("info", context)
    shown = run("info", indexed)
    assert [line.split()[-1] for line in shown.stdout.splitlines() if line.startswith(("mean", "terms", "lang"))] == [
        "english",
        f"{len(terms):,}",
        f"{terms.mean_length:.1f}",
    ]
    assert shown.stderr == ""


def test_info_says_how_a_context_gets_terms(answer, run, context, tmp_path):
    replace(CorpusContext.load(context), terms=None).save(tmp_path / "old")
    assert answer("info", tmp_path / "old")["terms"] is None
    assert "fit it again with `cde-retrievers fit`" in run("info", tmp_path / "old").stderr


def test_info_tells_a_language_of_none_from_no_terms(answer, model_folder, tmp_path):
    encoder = ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")
    encoder.fit_context(CORPUS, language=None).save(tmp_path / "any")
    assert answer("info", tmp_path / "any")["language"] == "none"


def test_answers_for_people_say_what_was_done(run, source, more, model_folder, tmp_path):
    made = run("index", source, "--out", tmp_path / "index", "--model", model_folder)
    assert "54 documents under context" in made.stdout
    assert f"cde-retrievers search {tmp_path / 'index'}" in made.stdout
    assert f"{source}: 54 documents in 1 file (jsonl)" in made.stderr
    assert "2 documents added, 0 replaced, 0 unchanged; 56 in all" in run("add", tmp_path / "index", more).stdout
    assert "16 of 54 documents" in run("fit", source, "--out", tmp_path / "c", "--model", model_folder).stdout


def test_copies_in_a_source_are_told(run, source, model_folder, tmp_path):
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("a", "b"):
        (copies / f"{name}.txt").write_text("one text, twice")
    (copies / "c.txt").write_text("another text")
    told = f"{copies}: the text of an earlier document comes again in 1 of 3 documents, and all are found"
    assert told in run("index", copies, "--out", tmp_path / "index", "--model", model_folder).stderr
    assert "comes again" not in run("fit", source, "--out", tmp_path / "context", "--model", model_folder).stderr


def test_progress_is_on_stderr_and_only_on_request(run, source, model_folder, tmp_path):
    quiet = run("index", source, "--out", tmp_path / "a", "--model", model_folder, "--no-progress")
    loud = run("index", source, "--out", tmp_path / "b", "--model", model_folder, "--progress", "--json")
    assert "Indexing" not in quiet.stderr
    assert "Indexing: 100%" in loud.stderr
    json.loads(loud.stdout)


@pytest.mark.slow
def test_an_index_in_int8_is_searched_in_int8_alone(run, answer, source, tmp_path, model_folder, monkeypatch):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index, int8 = tmp_path / "index", ("--backend", "onnx", "--precision", "int8", "--dtype", "auto")
    result = run("index", source, "--out", index, "--model", model_folder, *int8, dtype="auto")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "cache" / "cde_retrievers" / "exports").is_dir()
    found = run("search", index, CORPUS[0], "--json", *int8, dtype="auto")
    assert json.loads(found.stdout)["hits"][0]["text"] == CORPUS[0]
    refused = run("search", index, CORPUS[0])
    assert refused.exit_code == 1
    assert "with the same settings" in refused.stderr
    assert run("refit", index, "--model", model_folder, *int8, dtype="auto").exit_code == 1  # it was opened in float32
    assert run("refit", index, *int8, dtype="auto").exit_code == 0


@pytest.mark.parametrize("command", ["fit", "info"])
def test_an_interrupted_replacement_of_a_context_is_finished(run, answer, source, model_folder, tmp_path, command):
    answer("fit", source, "--out", tmp_path / "context", "--model", model_folder)
    killed_between_renames(tmp_path / "context")
    if command == "info":
        assert answer("info", tmp_path / "context")["context_documents"] > 0
        return
    found = run("fit", source, "--out", tmp_path / "context", "--model", model_folder)
    assert "already holds a context" in found.stderr


def test_what_has_no_effect_beside_a_context_is_refused(run, answer, source, indexed, model_folder, tmp_path):
    context = tmp_path / "context"
    answer("fit", source, "--out", context, "--model", model_folder)
    for command in (["index", source, "--out", tmp_path / "new"], ["refit", indexed]):
        found = run(*command, "--context", context, "--seed", "3")
        assert "is fitted already; leave out --size, --strategy, --seed and --language" in found.stderr
    assert "--as-given is for an index" in run("drift", context, source, "--as-given").stderr
